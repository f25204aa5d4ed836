"""The plan of an upscaling: what `POST /api/plan/` answers with the engine `upscale`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from rest_framework.request import Request

from inpainting.api.native.bodies import Body
from inpainting.api.native.requests import IMAGE_FIELDS
from inpainting.api.native.schemas.plan import UpscalePlanAnswer, UpscalePlanForm
from inpainting.api.native.upscale import UPSCALING, UpscaleFields
from inpainting.catalog.lookup import Catalog
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import Box, Size, Window
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.masks import scale_mask
from inpainting.engines.base import SettingsPlan
from inpainting.engines.plan import check_enlargement, find_window, window_notes
from inpainting.engines.upscaling import count_tiles
from inpainting.generations.description import ignored_setting_names
from inpainting.generations.settings_plan import Marked
from inpainting.generations.submit import plan_submission
from inpainting.image_limits import image_limits
from inpainting.planning import planner
from inpainting.translation import translated
from inpainting.worker.run_time_estimates import GenerationFeatures, estimator_for

PLAN_FIELDS = frozenset({"engine", *UpscalePlanForm.model_fields})
"""The fields of a plan that `POST /api/upscale` has not."""


def plan_upscaling(body: Body, request: Request) -> dict[str, Any]:
    """Return the plan of the body of POST /api/upscale, with its image or with the image's size in place of it.

    What POST /api/upscale would refuse is refused, without the image as far as its size tells.
    """
    named = UpscalePlanForm.read(body.fields)
    body = replace(body, fields={name: value for name, value in body.fields.items() if name not in PLAN_FIELDS})
    if named.image_size is None or body.image(*IMAGE_FIELDS) is not None:
        sent, submission = UPSCALING.read(body, request)
        plan = plan_submission(sent, submission)
        return describe(
            *(plan, sent.image.size, sent.enlarged_to or sent.image.size, sent.upscaler),
            mask_bytes=len(encode_png(CanonicalImage.of_mask(sent.mask))),
            window=plan.window,
            warnings=(*submission.warnings, *plan.warnings),
            ignored=submission.ignored_fields,
        )
    size = Size(*named.image_size)
    marked = Box.whole(size) if named.mask_box is None else Box(*named.mask_box)
    return plan_size(Marked(marked, size), body)


def plan_size(marked: Marked, body: Body) -> dict[str, Any]:
    """Return the plan for an image of that size. marked: what its mask will mark; all of it without a mask."""
    catalog, warnings = Catalog(), list[str]()
    fields = UpscaleFields.read(body, catalog, warnings)
    source = marked.image
    size = fields.upscale.planned_size(source, image_limits())
    plan = planner(catalog).plan_settings(fields.settings, fields.engine, upscaler=fields.upscaler)
    check_enlargement(size, plan)
    warnings, window = [*warnings, *plan.warnings], Window(Box.whole(source), size)
    if not fields.upscaler:
        marked = Marked(Box.whole(source), source)
    else:
        mask = scale_mask(mask_of(marked), size)
        window = find_window(mask, plan.window_rule, is_outpainting=False, is_tiled=plan.is_tiled)
        warnings += window_notes(mask, window, plan)
    return describe(
        *(plan, source, size, fields.upscaler),
        mask_bytes=bytes_of_mask(marked),
        window=window,
        warnings=warnings,
        ignored=fields.ignored_in(body),
    )


def mask_of(marked: Marked) -> Mask:
    """Return a mask that marks the box."""
    mask = np.zeros((marked.image.height, marked.image.width), np.uint8)
    mask[marked.box.slices] = 255
    return mask


@lru_cache(maxsize=64)  # the editor asks again with each change of its form
def bytes_of_mask(marked: Marked) -> int:
    """Return the bytes of the file of a mask that marks the box, as an upscaling stores."""
    return len(encode_png(CanonicalImage.of_mask(mask_of(marked))))


def describe(
    plan: SettingsPlan,
    source: Size,
    size: Size,
    upscaler: str,
    *,
    mask_bytes: int,
    window: Window,
    warnings: Sequence[str],
    ignored: Sequence[str],
) -> dict[str, Any]:
    """Return the answer.

    source, size: of the image and of its result. upscaler: see `InpaintRequest`. mask_bytes: of the file of the mask.
    window: of its result, with the tiles in which detail is painted.
    """
    work = GenerationFeatures(size.area, source.area, mask_bytes, steps=plan.network_calls * window.part_count)
    name, model = (upscaler, plan.upscaler_model) if upscaler else (plan.settings.model or "", plan.model)
    values = {
        "engine": plan.engine.name,
        "engine_reason": translated(plan.reason),
        "model": plan.settings.model,
        "width": size.width,
        "height": size.height,
        "source_width": source.width,
        "source_height": source.height,
        "upscaler": name,
        "tiles": count_tiles(name, model, source),
        "detail_tiles": len(window.passes) or None,
        "quality": plan.settings.quality,
        "estimate_seconds": estimator_for(plan.engine.name).seconds([work])[0],
        "ignored": ignored_setting_names(plan.ignored, plan.settings.to_dict()),
        "ignored_fields": list(ignored),
        "warnings": [translated(text) for text in warnings],
    }
    return UpscalePlanAnswer.render(values)
