"""The plan of an upscaling: what `POST /api/plan/` answers with the engine `upscale`."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from rest_framework.request import Request

from inpainting.api.native.bodies import Body
from inpainting.api.native.requests import IMAGE_FIELDS, ignored_fields
from inpainting.api.native.schemas.plan import UpscalePlanAnswer, UpscalePlanForm
from inpainting.api.native.upscale import KNOWN_FIELDS, UPSCALING, UpscaleFields
from inpainting.catalog.lookup import Catalog
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.engines.base import SettingsPlan
from inpainting.engines.plan import check_enlargement
from inpainting.engines.upscaling import UPSCALE, count_tiles
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
        warnings = (*submission.warnings, *plan.warnings)
        return describe(plan, sent.image.size, plan.window.work, warnings, submission.ignored_fields)
    return plan_size(Size(*size), body)


def plan_size(source: Size, body: Body) -> dict[str, Any]:
    """Return the plan for an image of that size."""
    catalog, warnings = Catalog(), list[str]()
    fields = UpscaleFields.read(body, catalog, warnings)
    size = fields.upscale.planned_size(source, image_limits())
    plan = planner(catalog).plan_settings(fields.settings, UPSCALE.name)
    check_enlargement(size, plan)
    return describe(plan, source, size, (*warnings, *plan.warnings), ignored_fields(body, KNOWN_FIELDS))


@lru_cache(maxsize=64)  # the editor asks again with each change of its form
def bytes_of_mask(size: Size) -> int:
    """Return the bytes of the file of a mask of that size that marks everything, as an upscaling stores."""
    return len(encode_png(CanonicalImage(np.full((size.height, size.width, 1), 255, np.uint8))))


def describe(
    plan: SettingsPlan, source: Size, size: Size, warnings: tuple[str, ...], ignored: tuple[str, ...]
) -> dict[str, Any]:
    """Return the answer. source, size: of the image and of its result."""
    work = GenerationFeatures(size.area, source.area, bytes_of_mask(source))
    values = {
        "engine": plan.engine.name,
        "engine_reason": translated(plan.reason),
        "model": plan.settings.model,
        "width": size.width,
        "height": size.height,
        "source_width": source.width,
        "source_height": source.height,
        "tiles": count_tiles(plan, source),
        "quality": plan.settings.quality,
        "estimate_seconds": estimator_for(plan.engine.name).seconds([work])[0],
        "ignored": ignored_setting_names(plan.ignored, plan.settings.to_dict()),
        "ignored_fields": list(ignored),
        "warnings": [translated(text) for text in warnings],
    }
    return UpscalePlanAnswer.render(values)
