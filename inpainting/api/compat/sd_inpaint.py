"""The SD Inpainting API of mic2e-inference: a form with image and mask in, a PNG out. Built with FastAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from pydantic import BaseModel, Field
from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.dialect import Dialect, build_service_request, json_response
from inpainting.api.errors import ApiError
from inpainting.api.images import ImageRole, SentImage, read_image
from inpainting.api.views import DialectView, InpaintView
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.shipped import SD_INPAINT_MODEL
from inpainting.core.codecs import encode_png, to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import MAX_SEED
from inpainting.generations.submit import Submission
from inpainting.media.files import file_response
from inpainting.models import GeneratedImage, Generation

IMAGE = ImageRole(code_prefix="image", error_prefix="Invalid image file")
MASK = ImageRole(code_prefix="mask", error_prefix="Invalid mask file")
PNG_HEADERS = MappingProxyType(
    {
        "Content-Type": "image/png",
        "Content-Disposition": "attachment; filename=sd_inpaint_result.png",
        "Cache-Control": "private, no-store",
    }
)
RGB_8_BIT = bytes([8, 2])
"""Bit depth and colour type in a PNG's header, at bytes 24 and 25 (PNG specification, section 11.2.1)."""


class Form(BaseModel):
    image: fastapi.File
    mask: fastapi.File
    prompt: str
    negative_prompt: str = ""
    num_inference_steps: Annotated[int, Field(ge=1, le=150)] = 50
    guidance_scale: Annotated[float, Field(ge=1.0, le=20.0)] = 7.5
    seed: int = 42

    model_config: ClassVar = {"arbitrary_types_allowed": True}


class Health(DialectView):
    """The health check, which does not depend on a model."""

    def get(self, request: Request) -> HttpResponse:
        body = {"status": "healthy", "service": "stable-diffusion-inpaint", "model": SD_INPAINT_MODEL}
        return json_response(body)


class SiteHealth(DialectView):
    """The health check `/health/` of the service's host. This server's own checks are `/livez` and `/readyz`."""

    def get(self, request: Request) -> HttpResponse:
        return json_response({"status": "ok"})


class SdInpainting(Dialect):
    """The dialect under `/sd-inpaint/`. Errors are `{"detail"}`, as in FastAPI."""

    name: ClassVar[str] = "sd-inpaint"
    prefixes: ClassVar[tuple[str, ...]] = ("/sd-inpaint", "/health")
    settings_by_field: ClassVar[Mapping[str, str]] = {
        "prompt": "prompt",
        "negative_prompt": "negative_prompt",
        "num_inference_steps": "steps",
        "guidance_scale": "guidance_scale",
        "seed": "seed",
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        inpaint = InpaintView.as_view(parser_classes=fastapi.FORM_PARSERS)
        health = Health.as_view(authentication_classes=(), permission_classes=())
        return [
            re_path(r"^sd-inpaint/inpaint/?$", inpaint),
            re_path(r"^sd-inpaint/health/?$", health),
            re_path(r"^health/?$", SiteHealth.as_view(authentication_classes=(), permission_classes=())),
        ]

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        fields = fastapi.form_fields(request)
        form = fastapi.validate(Form, fields, is_form=True)
        sent = SentImage("image", form.image)
        image = read_image(sent, IMAGE, request)
        mask = read_image(SentImage("mask", form.mask), MASK, request)
        sizes = [(decoded.image.size.width, decoded.image.size.height) for decoded in (image, mask)]
        if sizes[0] != sizes[1]:
            message = f"Image and mask must have same dimensions. Image: {sizes[0]}, Mask: {sizes[1]}"
            raise InvalidRequest(message, code="mask_size_mismatch", field="mask")
        catalog = Catalog()
        settings = PaintSettings(
            prompt=form.prompt,
            negative_prompt=form.negative_prompt,
            steps=form.num_inference_steps,
            guidance_scale=form.guidance_scale,
            seed=seed_in_range(form.seed),
            strength=1.0,
            model=catalog.closest_installed(SD_INPAINT_MODEL),
        )
        inpaint_request, warnings = build_service_request(image, mask, settings)
        return inpaint_request, Submission(
            source_name=sent.name,
            warnings=warnings,
            sent_fields=tuple(fields),
            catalog=catalog,
        )

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        return rgb_png_response(generation.images.get(index=0), {**PNG_HEADERS, **self.meta_headers(generation)})

    def render_error(self, error: ApiError) -> HttpResponse:
        if error.status == 500:
            return json_response({"detail": f"Inpainting failed: {error.message}"}, status=500)
        return fastapi.render_error(error)


DIALECT = SdInpainting()


def seed_in_range(seed: int) -> int:
    """Return a seed from 1 to MAX_SEED for any whole number, always the same one; those in the range stay as they
    are."""
    return (seed - 1) % MAX_SEED + 1


def rgb_png_response(image: GeneratedImage, headers: Mapping[str, str]) -> HttpResponseBase:
    """Return the result as 8-bit RGB, without its alpha: the stored file, or a copy where that has another mode."""
    with image.file.open("rb") as file:
        is_rgb = file.read(26)[24:] == RGB_8_BIT
    if is_rgb:
        return file_response(image.file, range(image.byte_count), dict(headers))
    return HttpResponse(encode_png(CanonicalImage(to_rgb8(image.read()))), headers=headers)
