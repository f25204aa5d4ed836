"""`POST /api/plan/`: show what a request leads to, without painting."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from django.utils.translation import gettext
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.native.bodies import Body, read_body
from inpainting.api.native.fields import check_fields, settings_from
from inpainting.api.native.requests import IMAGE_FIELDS, read
from inpainting.api.native.schemas.plan import (
    ImagePlanAnswer,
    PlanAnswer,
    PlanForm,
    PlanJson,
    PlanUpload,
    UpscalePlanAnswer,
)
from inpainting.api.native.upscale_plan import plan_upscaling
from inpainting.api.openapi import READING, documented
from inpainting.api.views import AnyBodyView
from inpainting.catalog.lookup import Catalog
from inpainting.core import masks
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.engines.inserting import insert_box
from inpainting.engines.upscaling import UPSCALE
from inpainting.generations.description import ignored_setting_names
from inpainting.generations.settings_plan import Marked, describe_plan
from inpainting.generations.submit import Submission, plan_submission
from inpainting.translation import translated
from inpainting.worker.run_time_estimates import GenerationFeatures, estimator_for

PLANS: list[Any] = [PlanAnswer, ImagePlanAnswer, UpscalePlanAnswer]
ANSWERS = PolymorphicProxySerializer("Plan", PLANS, resource_type_field_name=None)


class PlanView(AnyBodyView):
    """Takes the body of POST /api/img2img, with or without its images, and stores nothing.

    With images, the answer has the effective mask and the window; what POST /api/img2img would refuse is refused.
    Without, it has all settings and the choices of a form; a setting that does not fit is left out and named.

    With the engine `upscale` it takes the body of POST /api/upscale, with its image or with `image_size` in its place.
    """

    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Show what a request leads to",
        {200: ANSWERS},
        problems=(*READING, 503),
        request={"application/json": PlanJson, "multipart/form-data": PlanUpload},
    )
    def post(self, request: Request) -> Response:
        body = read_body(request)
        if body.fields.get("engine") == UPSCALE.name:
            return Response(plan_upscaling(body, request))
        if body.image(*IMAGE_FIELDS) is not None:
            return Response(plan_with_images(*read(body, request)))
        return Response(plan_without_images(body))


class FormerDryRun(AnyBodyView):
    """Names the route that took the place of `/api/img2img/dry-run`."""

    required_scope = Scope.GENERATE
    takes_images = True  # as it did, or its callers would be told that their bodies are too large

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        raise NotFound(gettext("POST /api/img2img/dry-run is now POST /api/plan/, which takes the same body."))


def plan_without_images(body: Body) -> dict[str, Any]:
    body.image("mask")  # which refuses a number or an object
    sent = {name for name in CONDITIONING_IMAGES if body.image(name)}
    catalog = Catalog()
    fields, warnings = check_fields(PlanForm, body.fields, catalog, clamp=True)
    engine, models = fields.get("engine", registry.AUTO), fields.pop("models", {})
    size, box = fields.pop("image_size", None), fields.pop("mask_box", None)
    marked = None if size is None or box is None else Marked(Box(*box), Size(*size))
    sent |= set(fields.pop("images", None) or ())
    values = describe_plan(settings_from(fields, catalog), catalog, engine, models, marked, sent)
    return PlanAnswer.render({**values, "warnings": [*map(translated, warnings), *values["warnings"]]})


def plan_with_images(request: InpaintRequest, submission: Submission) -> dict[str, Any]:
    """mask: the effective one, white = repaint. window: left, top, right, bottom of the part that the engine gets."""
    plan = plan_submission(request, submission)
    settings, image, window = plan.settings, plan.request.image, plan.window
    png = encode_png(CanonicalImage.of_mask(plan.mask))
    painted = int(np.count_nonzero(plan.request.mask))
    calls = plan.network_calls * window.part_count
    work = GenerationFeatures(painted, image.size.area, len(png), settings.num_images, calls)
    values = {
        "engine": plan.engine.name,
        "engine_reason": translated(plan.reason),
        "width": image.size.width,
        "height": image.size.height,
        **(request.placement.to_dict() if request.placement else {}),
        "mode": image.mode,
        "bits": image.bits,
        "mask": "data:image/png;base64," + base64.b64encode(png).decode(),
        "quality": settings.quality,
        "coverage": round(masks.coverage(plan.mask), 6),
        **window.to_answer(),
        **({} if (box := insert_box(plan)) is None else {"insert_box": box}),
        "estimate_seconds": estimator_for(plan.engine.name).seconds([work])[0],
        "ignored": ignored_setting_names(plan.ignored, settings.to_dict()),
        "warnings": [translated(text) for text in (*submission.warnings, *plan.warnings)],
    }
    return ImagePlanAnswer.render(values)
