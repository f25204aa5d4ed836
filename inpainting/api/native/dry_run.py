"""`POST /api/img2img/dry-run`: validate a request and show its plan, without painting."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.compat.base import Options
from inpainting.api.native.bodies import read_body
from inpainting.api.native.requests import read
from inpainting.api.native.schemas.bodies import IMG2IMG
from inpainting.api.native.schemas.dry_run import DryRunResult
from inpainting.api.openapi import READING, documented
from inpainting.api.views import AnyBodyView
from inpainting.core import masks
from inpainting.core.codecs import encode_png
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.generations.description import ignored_setting_names
from inpainting.planning import planner
from inpainting.worker.run_time_estimates import Workload, estimator_for


class DryRun(AnyBodyView):
    """Takes the body of POST /api/img2img and stores nothing."""

    required_scope = Scope.GENERATE
    takes_images = True

    @documented("Validate a request and show its plan", {200: DryRunResult}, problems=(*READING, 503), request=IMG2IMG)
    def post(self, request: Request) -> Response:
        return Response(dry_run(*read(read_body(request), request)))


def dry_run(request: InpaintRequest, options: Options) -> dict[str, Any]:
    """mask: the effective one, white = repaint. window: left, top, right, bottom of the part that the engine gets."""
    plan = planner(options.catalog).plan(request, options.engine)
    settings, image, window = plan.settings, plan.request.image, plan.window
    box, png = window.box, encode_png(CanonicalImage(plan.mask[:, :, None]))
    painted = int(np.count_nonzero(plan.request.mask))
    work = Workload(painted, image.size.area, len(png), settings.num_images, settings.steps or 0)
    values = {
        "engine": plan.engine.name,
        "engine_reason": plan.reason,
        "width": image.size.width,
        "height": image.size.height,
        **(request.placement.to_dict() if request.placement else {}),
        "mode": image.mode,
        "bits": image.bits,
        "mask": "data:image/png;base64," + base64.b64encode(png).decode(),
        "quality": settings.quality,
        "coverage": round(masks.coverage(plan.mask), 6),
        "window": [box.left, box.top, box.right, box.bottom],
        "work_size": [window.work.width, window.work.height],
        "estimate_seconds": estimator_for(plan.engine.name).seconds([work])[0],
        "ignored": ignored_setting_names(plan.ignored, settings.to_dict()),
        "warnings": [*options.warnings, *plan.warnings],
    }
    return DryRunResult.render(values)
