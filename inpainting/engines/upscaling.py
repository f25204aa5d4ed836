"""Enlarging a whole image: an operation that is planned, queued and stored as paintings are, and paints nothing.

It is no engine that a request for painting may name: it gets the canonical image, of 16 bits and with its alpha, and
its result is larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size, WindowRule
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import Sentence, sentence
from inpainting.core.setting import UPSCALE as NAME
from inpainting.core.settings_table import settings_ignored_by
from inpainting.engines.base import (
    EngineDeclaration,
    LoadingModel,
    ModelCatalog,
    OnStep,
    Plan,
    Queue,
    Resolution,
    SettingsPlan,
    Step,
)
from inpainting.engines.painting import Painting
from inpainting.keepalive import run_in_thread
from inpainting.upscalers.enlarging import Enlargement, tiles_of
from inpainting.upscalers.lanczos import NAME as LANCZOS
from inpainting.upscalers.registry import planned_tiling, upscaler_of, upscalers

READ = frozenset({"model"})
UNREAD = frozenset({"num_images", "mask_grow", "mask_blur", "include_shadow"})
"""What every engine reads, and this does not."""
LOADING_SECONDS = 600.0


def resolve(settings: PaintSettings, catalog: ModelCatalog) -> Resolution:
    """The model is that of the request, else the first installed upscaler, else Lanczos."""
    model = find_model(settings.model, catalog)
    name = model.slug if model else settings.model or LANCZOS
    return Resolution(
        settings=replace(settings, model=name, num_images=1), window_rule=WindowRule(context=0), model=model
    )


def find_model(name: str | None, catalog: ModelCatalog) -> ModelSpec | None:
    """Return the model of the upscaler of that name, for None the first installed one; None where none is needed.

    Raises InvalidRequest, see `ModelCatalog.find_upscaler`.
    """
    return None if name in upscalers() else catalog.find_upscaler(name, built_in=[*upscalers()])


def find_upscaler(name: str, catalog: ModelCatalog) -> str:
    """Return the upscaler's own name, which is a slug in the catalog. Raises what `find_model` raises."""
    model = find_model(name, catalog)
    return name if model is None else model.slug


def reason_for(name: str | None, catalog: ModelCatalog) -> Sentence:
    """Return why an image is enlarged, and by which upscaler. name: as requested. Raises what `find_model` raises."""
    model = find_model(name, catalog)
    label = upscaler_of(name or LANCZOS, model).label
    if name is not None:
        return sentence("The request asks for a larger image, and names the upscaler {label}.", label=label)
    if model is not None:
        return sentence("The request asks for a larger image; {label} is the first upscaler installed.", label=label)
    return sentence("The request asks for a larger image, and no network for that is installed.")


def count_tiles(plan: SettingsPlan, image: Size) -> int | None:
    """Return in how many tiles an image of that size is enlarged; None where that is not known before it runs."""
    tiling = planned_tiling(plan.settings.model or LANCZOS, plan.model)
    return None if tiling is None else len(tiles_of(image, tiling))


UPSCALE = EngineDeclaration(
    name=NAME,
    label="Upscale",
    queue=Queue.CPU,
    ignored_settings=(settings_ignored_by(NAME) - READ) | UNREAD,
    needs_surroundings=False,
    resolve=resolve,
)


def enlarge_each(plan: Plan, on_step: OnStep) -> Iterator[Painting]:
    """Yield the enlarged image of a plan whose request has `enlarged_to`.

    on_step: gets a step for each tile. Raises EngineFailed; Cancelled from `on_step` propagates.
    """
    upscaler, size = upscaler_of(plan.settings.model or LANCZOS, plan.model), plan.window.work
    loading = None if plan.model is None else LoadingModel(plan.model.label, plan.model.memory_bytes or 0)
    wait = partial(on_step, Step(0, 0, loading=loading))
    wait()
    run_in_thread(lambda: upscaler.tiling, wait, seconds=LOADING_SECONDS)  # which loads its network
    image = Enlargement(plan.request.image, size, upscaler).run(lambda done, count: on_step(Step(done, count)))
    yield Painting(
        image=image,
        mask=np.broadcast_to(np.uint8(255), (size.height, size.width)),
        window=plan.window,
        coverage=1.0,
        seam_score=0.0,
        seam_score_plain=0.0,
        colour_matched=False,
        seam_blended=False,
    )
