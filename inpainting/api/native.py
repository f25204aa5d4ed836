"""`POST /api/img2img`: the native API, in the published multipart form."""

from __future__ import annotations

import secrets
from typing import Any

from django.urls import reverse
from rest_framework import serializers
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inpainting.api.links import public_image_url
from inpainting.api.pictures import uploaded_image, uploaded_mask
from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.generations.submit import submit
from inpainting.generations.wait import wait_until_ended
from inpainting.models import Generation, Status

PUBLIC_NAMES = {"strength": "denoising_strength"}
"""Settings whose name in this API differs from the house's."""


class Img2ImgForm(serializers.Serializer):
    """The plain fields. Their ranges are checked where the settings are built, for every surface alike."""

    prompt = serializers.CharField(allow_blank=True, trim_whitespace=False)
    negative_prompt = serializers.CharField(default="", allow_blank=True, trim_whitespace=False)
    denoising_strength = serializers.FloatField(default=0.75)
    seed = serializers.IntegerField(default=-1, help_text="0 or less: a random one, which the metadata names")
    engine = serializers.CharField(default=registry.AUTO)
    mask_polarity = serializers.ChoiceField(list(MaskPolarity), default=MaskPolarity.BLACK_REPAINTS)
    mask_grow = serializers.IntegerField(default=0)
    mask_blur = serializers.IntegerField(default=0)


class Img2Img(APIView):
    parser_classes = (MultiPartParser, FormParser)

    def post(self, request: Request) -> Response:
        generation = accept(request)
        if "respond-async" in request.headers.get("Prefer", ""):
            return Response(pending(generation), status=202, headers={"Preference-Applied": "respond-async"})
        wait_until_ended(generation)
        if generation.status != Status.SUCCEEDED:
            return Response(unsuccessful(generation), status=409 if generation.status == Status.CANCELLED else 500)
        return Response(success(generation, request))


def accept(request: Request) -> Generation:
    """Read the three parts, in the order in which the published API complains of them, and submit."""
    image_file, mask_file = request.FILES.get("image"), request.FILES.get("mask")
    if image_file is None:
        raise InvalidRequest("No image file provided", code="field_missing", field="image")
    form = Img2ImgForm(data=request.data)
    form.is_valid(raise_exception=True)
    values = form.validated_data
    settings = settings_from(values)
    image = uploaded_image(image_file)
    if mask_file is None:
        raise InvalidRequest(
            "No mask file provided: without a mask nothing says what to repaint.", code="mask_required", field="mask"
        )
    mask = uploaded_mask(mask_file)
    size = image.picture.size
    scaled = masks.scaling_note(mask.picture.size, size)
    warnings = [*image.warnings, *mask.warnings, *([scaled] if scaled else [])]
    pixels = masks.normalise(mask.picture, polarity=MaskPolarity(values["mask_polarity"]), size=size)
    return submit(
        InpaintRequest(image.picture, pixels, settings),
        owner=request.user,
        engine=values["engine"],
        source_name=image_file.name or "",
        warnings=warnings,
    )


def settings_from(values: dict[str, Any]) -> PaintSettings:
    seed = values["seed"] if values["seed"] > 0 else 1 + secrets.randbelow(2**31 - 1)
    try:
        return PaintSettings(
            prompt=values["prompt"],
            negative_prompt=values["negative_prompt"],
            strength=values["denoising_strength"],
            seed=seed,
            mask_grow=values["mask_grow"],
            mask_blur=values["mask_blur"],
        )
    except InvalidRequest as error:
        public = PUBLIC_NAMES.get(error.field or "", error.field)
        raise InvalidRequest(
            error.message.replace(error.field or "", public or ""),
            code=error.code,
            field=public,
            limit=error.limit,
            actual=error.actual,
        ) from error


def pending(generation: Generation) -> dict[str, Any]:
    url = reverse("generation-detail", args=[generation.pk])
    return {"status": "processing", "id": str(generation.pk), "url": url}


def unsuccessful(generation: Generation) -> dict[str, Any]:
    message = generation.error_message or "The generation was cancelled."
    code = generation.error_code or "cancelled"
    return {"status": "error", "message": message, "code": code, "id": str(generation.pk)}


def success(generation: Generation, request: Request) -> dict[str, Any]:
    """The union of what the published document and its front end read."""
    urls = [public_image_url(image, request) for image in generation.images.all()]
    generated = [{"filename": url.rpartition("/")[2], "url": url, "type": "output", "subfolder": ""} for url in urls]
    return {
        "status": "success",
        "message": "Image generated" if len(urls) == 1 else f"{len(urls)} images generated",
        "id": str(generation.pk),
        "images": urls,
        "metadata": metadata(generation),
        "comfy_response": {
            "prompt_id": str(generation.pk),
            "generated_images": generated,
            "all_images": generated,
        },
        "workflow": {},
        "run_id": None,
    }


def metadata(generation: Generation) -> dict[str, Any]:
    """Every setting under its public name, what the engine ignored, and what was measured on the results."""
    settings = {PUBLIC_NAMES.get(name, name): value for name, value in generation.settings.items()}
    ignores = registry.find(generation.engine).ignores
    return {
        **settings,
        "width": generation.source.width,
        "height": generation.source.height,
        "engine": generation.engine,
        "ignored": sorted(PUBLIC_NAMES.get(name, name) for name in ignores),
        "warnings": generation.warnings,
        "seconds": generation.seconds,
        "results": [
            {
                "sha256": image.sha256,
                "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
                "seam_score": image.seam_score,
                **image.report,
            }
            for image in generation.images.all()
        ],
    }
