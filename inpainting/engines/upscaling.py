"""Enlarging a whole image: an operation that is planned, queued and stored as paintings are, and paints nothing.

It is no engine that a request for painting may name: it gets the canonical image, of 16 bits and with its alpha, and
its result is larger. Where a request asks for detail, its result is the source image that a diffusion model paints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size, WindowRule
from inpainting.core.image import CanonicalImage
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import Sentence, mark, sentence
from inpainting.core.setting import UPSCALE as NAME
from inpainting.core.settings_table import SETTINGS, find_setting, settings_ignored_by
from inpainting.engines.base import (
    EngineDeclaration,
    LoadingModel,
    ModelCatalog,
    OnStep,
    Plan,
    Queue,
    Resolution,
    Step,
)
from inpainting.engines.painting import Painting
from inpainting.keepalive import run_in_thread
from inpainting.upscalers.enlarging import Enlargement, tiles_of
from inpainting.upscalers.lanczos import NAME as LANCZOS
from inpainting.upscalers.registry import planned_tiling, upscaler_of, upscalers

ALSO_IGNORED = frozenset({"num_images", "mask_grow", "mask_blur", "include_shadow"})
"""The settings that every other engine reads."""
DETAIL_ROWS = tuple(
    find_setting(name)
    for name in (
        "prompt",
        "negative_prompt",
        "seed",
        "steps",
        "guidance_scale",
        "loras",
        "control",
        "control_strength",
    )
)
"""The settings with which a diffusion model adds detail, beside the model and the strength."""
LOADING_SECONDS = 600.0


def resolve(settings: PaintSettings, catalog: ModelCatalog) -> Resolution:
    """The model is that of the request, else the first installed upscaler, else Lanczos."""
    model = find_model(settings.model, catalog)
    name = find_upscaler(settings.model, catalog)
    return Resolution(
        settings=replace(settings, model=name, num_images=1), window_rule=WindowRule(context=0), model=model
    )


def find_model(name: str | None, catalog: ModelCatalog) -> ModelSpec | None:
    """Return the model of the upscaler of that name, for None the first installed one; None where none is needed.

    Raises InvalidRequest, see `ModelCatalog.find_upscaler`.
    """
    return None if name in upscalers() else catalog.find_upscaler(name, built_in=[*upscalers()])


def find_upscaler(name: str | None, catalog: ModelCatalog) -> str:
    """Return the upscaler's own name, which is a slug in the catalog; for None that of the first installed one, else of
    Lanczos. Raises what `find_model` raises."""
    model = find_model(name, catalog)
    return name or LANCZOS if model is None else model.slug


def with_detail(settings: PaintSettings, detail: float, *, tile_control: str | None) -> PaintSettings:
    """Return the settings with which a diffusion model adds detail to the enlarged image.

    detail: 0 to 1. tile_control: the ControlNet for tiles where the settings name none; it keeps what is there.
    """
    return replace(settings, strength=detail, tiled=True, control=settings.control or tile_control)


def reason_for(name: str | None, catalog: ModelCatalog) -> Sentence:
    """Return why an image is enlarged, and by which upscaler. name: as requested. Raises what `find_model` raises."""
    model = find_model(name, catalog)
    label = upscaler_of(name or LANCZOS, model).label
    if name is not None:
        return sentence("The request asks for a larger image, and names the upscaler {label}.", label=label)
    if model is not None:
        return sentence("The request asks for a larger image; {label} is the first upscaler installed.", label=label)
    return sentence("The request asks for a larger image, and no network for that is installed.")


def count_tiles(name: str, model: ModelSpec | None, image: Size) -> int | None:
    """Return in how many tiles an image of that size is enlarged; None where that is not known before it runs.

    name, model: of the upscaler, see `enlarged`.
    """
    tiling = planned_tiling(name, model)
    return None if tiling is None else len(tiles_of(image, tiling))


UPSCALE = EngineDeclaration(
    name=NAME,
    label=mark("Enlarge"),
    queue=Queue.CPU,
    ignored_settings=(settings_ignored_by(NAME) - {"model"}) | ALSO_IGNORED,
    needs_surroundings=False,
    resolve=resolve,
)
FILE_ROWS = tuple(row for row in SETTINGS if row.name not in (*UPSCALE.ignored_settings, "model"))
"""The settings of the result's file."""


def enlarge_each(plan: Plan, on_step: OnStep) -> Iterator[Painting]:
    """Yield the enlarged image of a plan whose request has `enlarged_to`.

    on_step: gets a step for each tile. Raises EngineFailed; Cancelled from `on_step` propagates.
    """
    name, size = plan.settings.model or LANCZOS, plan.window.work
    yield Painting(
        image=enlarged(plan.request.image, size, name, plan.model, on_step),
        mask=np.broadcast_to(np.uint8(255), (size.height, size.width)),
        window=plan.window,
        coverage=1.0,
        seam_score=0.0,
        seam_score_plain=0.0,
        colour_matched=False,
        seam_blended=False,
    )


def enlarged(image: CanonicalImage, size: Size, name: str, model: ModelSpec | None, on_step: OnStep) -> CanonicalImage:
    """Return the image enlarged by the upscaler of that name. model: its own; None where it needs none.

    on_step: see `enlarge_each`.
    """
    upscaler = upscaler_of(name, model)
    loading = None if model is None else LoadingModel(model.label, model.memory_bytes or 0)
    wait = partial(on_step, Step(0, 0, loading=loading))
    wait()
    run_in_thread(lambda: upscaler.tiling, wait, seconds=LOADING_SECONDS)  # which loads its network
    return Enlargement(image, size, upscaler).run(lambda done, count: on_step(Step(done, count)))


def enlarge_source(plan: Plan, on_step: OnStep) -> tuple[Plan, OnStep]:
    """Return the plan with the enlarged image as its source, and what gets the steps of painting it: they follow the
    tiles of the upscaler in one count.

    plan: of a request with an `upscaler`. Raises what `enlarge_each` raises.
    """
    request, size = plan.request, plan.mask.shape[::-1]
    # About as many as the engine reports: of its steps a strength below 1 leaves the first ones out.
    calls = math.ceil(plan.network_calls * (plan.settings.strength or 1.0))
    to_come = calls * plan.window.part_count * plan.settings.num_images
    done = 0

    def on_tile(step: Step) -> None:
        nonlocal done
        done = step.of
        on_step(replace(step, of=step.of + to_come) if step.of else step)

    def on_painting(step: Step) -> None:
        on_step(replace(step, done=done + step.done, of=done + (step.of or to_come)))

    image = enlarged(request.image, Size(*size), request.upscaler, plan.upscaler_model, on_tile)
    return replace(plan, request=replace(request, image=image, mask=plan.mask, enlarged_to=None)), on_painting
