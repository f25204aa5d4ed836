"""`POST /api/img2img/dry-run`: what would be painted, and nothing is."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting import moderation
from inpainting.api.answers import ignored
from inpainting.api.bodies import TakesBodies, body_of
from inpainting.api.documents import IMG2IMG, Foreseen, documented
from inpainting.api.requests import Incoming, read
from inpainting.core import masks
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import plan_window
from inpainting.core.picture import Picture
from inpainting.engines import registry
from inpainting.engines.painting import checked_mask
from inpainting.engines.references import checked_references
from inpainting.worker.run_time_estimates import Work, past_of


class DryRun(TakesBodies):
    """The same body as for painting; nothing of it is kept."""

    required_scope = Scope.GENERATE

    @documented("What would be painted", {200: Foreseen}, problems=(400, 413, 415, 503), request=IMG2IMG)
    def post(self, request: Request) -> Response:
        return Response(foreseen(read(body_of(request), request)))


def foreseen(incoming: Incoming) -> dict[str, Any]:
    """mask: as the house has it, grown, white = repaint. window: left, top, right, bottom of what the engine sees."""
    choice, image = registry.choose(incoming.engine, incoming.request.settings), incoming.request.image
    engine = choice.engine
    settings, safety_warnings = moderation.settled(incoming.request.settings)
    settings = engine.settled(settings)
    mask, mask_warnings = checked_mask(incoming.request, engine)
    _, unread = checked_references(replace(incoming.request, settings=settings), engine)
    window = plan_window(masks.nonempty_bounds(mask), image.size, engine.window(settings))
    box, png = window.box, encode_png(Picture(mask[:, :, None]))
    painted = int(np.count_nonzero(incoming.request.mask))
    work = Work(painted, image.size.area, len(png), settings.num_images, settings.steps or 0)
    made = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    return {
        "status": "success",
        "engine": engine.name,
        "engine_reason": choice.why,
        "width": image.size.width,
        "height": image.size.height,
        "mode": image.mode,
        "bits": image.bits,
        "mask": "data:image/png;base64," + base64.b64encode(png).decode(),
        "coverage": round(masks.coverage(mask), 6),
        "window": [box.left, box.top, box.right, box.bottom],
        "work_size": [window.work.width, window.work.height],
        "estimate_seconds": past_of(engine.name).seconds([work])[0],
        "ignored": ignored(engine.ignored(settings), made),
        "warnings": [*incoming.warnings, *safety_warnings, *mask_warnings, *unread],
    }
