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
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.engines.base import SettingsPlan
from inpainting.engines.plan import check_enlargement, find_window, window_notes
from inpainting.engines.upscaling import count_tiles
from inpainting.generations.description import ignored_setting_names
from inpainting.generations.submit import plan_submission
from inpainting.image_limits import image_limits
from inpainting.planning import planner
from inpainting.translation import translated
from inpainting.worker.run_time_estimates import GenerationFeatures, estimator_for

PLAN_FIELDS = frozenset({"engine", "image_size"})
"""The fields of a plan that `POST /api/upscale` has not."""


def plan_upscaling(body: Body, request: Request) -> dict[str, Any]:
    """Return the plan of the body of POST /api/upscale, with its image or with the image's size in place of it.

    What POST /api/upscale would refuse is refused, without the image as far as its size tells.
    """
    size = UpscalePlanForm.read(body.fields).image_size
    body = replace(body, fields={name: value for name, value in body.fields.items() if name not in PLAN_FIELDS})
    if size is None or body.image(*IMAGE_FIELDS) is not None:
        sent, submission = UPSCALING.read(body, request)
        plan = plan_submission(sent, submission)
        return describe(
            *(plan, sent.image.size, sent.enlarged_to or sent.image.size, sent.upscaler),
            tiles=plan.window.passes,
            warnings=(*submission.warnings, *plan.warnings),
            ignored=submission.ignored_fields,
        )
    return plan_size(Size(*size), body)


def plan_size(source: Size, body: Body) -> dict[str, Any]:
    """Return the plan for an image of that size."""
    catalog, warnings = Catalog(), list[str]()
    fields = UpscaleFields.read(body, catalog, warnings)
    size = fields.upscale.planned_size(source, image_limits())
    plan = planner(catalog).plan_settings(fields.settings, fields.engine, upscaler=fields.upscaler)
    check_enlargement(size, plan)
    warnings, tiles = [*warnings, *plan.warnings], tuple[Box, ...]()
    if fields.upscaler:
        whole = np.broadcast_to(np.uint8(255), (size.height, size.width))
        window = find_window(whole, plan.window_rule, is_outpainting=False, is_tiled=plan.is_tiled)
        warnings += window_notes(whole, window, plan)
        tiles = window.passes
    ignored = fields.ignored_in(body)
    return describe(plan, source, size, fields.upscaler, tiles=tiles, warnings=warnings, ignored=ignored)


@lru_cache(maxsize=64)  # the editor asks again with each change of its form
def bytes_of_mask(size: Size) -> int:
    """Return the bytes of the file of a mask of that size that marks everything, as an upscaling stores."""
    return len(encode_png(CanonicalImage(np.full((size.height, size.width, 1), 255, np.uint8))))


def describe(
    plan: SettingsPlan,
    source: Size,
    size: Size,
    upscaler: str,
    *,
    tiles: Sequence[Box],
    warnings: Sequence[str],
    ignored: Sequence[str],
) -> dict[str, Any]:
    """Return the answer.

    source, size: of the image and of its result. upscaler: see `InpaintRequest`. tiles: in which detail is painted.
    """
    work = GenerationFeatures(size.area, source.area, bytes_of_mask(source), steps=plan.network_calls)
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
        "detail_tiles": len(tiles) or None,
        "quality": plan.settings.quality,
        "estimate_seconds": estimator_for(plan.engine.name).seconds([work])[0],
        "ignored": ignored_setting_names(plan.ignored, plan.settings.to_dict()),
        "ignored_fields": list(ignored),
        "warnings": [translated(text) for text in warnings],
    }
    return UpscalePlanAnswer.render(values)
