"""AUTOMATIC1111's web API, as a dialect. Errors are `{"error", "detail", "body", "errors"}`; those of a body's fields
are FastAPI's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework.exceptions import ParseError
from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.compat.automatic1111 import views
from inpainting.api.compat.automatic1111.answers import enlarged, painted
from inpainting.api.compat.automatic1111.extras import read_extras
from inpainting.api.compat.automatic1111.options import NAME
from inpainting.api.compat.automatic1111.translation import SETTINGS_BY_FIELD, PaintReading
from inpainting.api.compat.control import CONTROL
from inpainting.api.dialect import Dialect, json_response
from inpainting.api.errors import ApiError, ending_error
from inpainting.api.parsers import AnyTypeJsonParser
from inpainting.api.views import InpaintView, MissingView
from inpainting.core.request import InpaintRequest
from inpainting.generations.submit import Submission
from inpainting.models import Generation, Status

STATUSES = {"init_image_missing": 404, "sampler_not_found": 404, "script_not_found": 422}
"""Code of an error -> its status in the service, where it is another one."""
PAINTING, EXTRAS = r"^sdapi/v1/(?:txt2img|img2img)/?$", r"^sdapi/v1/extra-single-image/?$"
NO_DETECTION = "Control images are computed by img2img alone, from its init_images."
NO_BATCH = "extra-batch-images is not built; send the images one by one to extra-single-image."


class Automatic1111(Dialect):
    """The dialect under `/sdapi/v1` and `/controlnet`."""

    name: ClassVar[str] = NAME
    prefixes: ClassVar[tuple[str, ...]] = ("/sdapi/v1", "/controlnet")
    renders_failures = True
    settings_by_field: ClassVar[Mapping[str, str]] = {**SETTINGS_BY_FIELD, "upscaler_1": "model"}

    @property
    def urls(self) -> Sequence[URLPattern]:
        routes: dict[str, Any] = {
            PAINTING: InpaintView.as_view,
            EXTRAS: views.ExtraSingleImage.as_view,
            r"^sdapi/v1/progress/?$": views.LatestProgress.as_view,
            r"^sdapi/v1/interrupt/?$": views.Control.as_view,
            r"^sdapi/v1/skip/?$": views.Skip.as_view,
            r"^sdapi/v1/options/?$": views.OptionsView.as_view,
            r"^sdapi/v1/png-info/?$": views.PngInfo.as_view,
            r"^sdapi/v1/interrogate/?$": views.Interrogate.as_view,
            r"^sdapi/v1/(?:refresh-\w+|reload-checkpoint|unload-checkpoint)/?$": views.Nothing.as_view,
        }
        read_json = {"parser_classes": (AnyTypeJsonParser,)}
        missing = {r"^controlnet/detect/?$": NO_DETECTION, r"^sdapi/v1/extra-batch-images/?$": NO_BATCH}
        return [
            *(re_path(path, as_view(**read_json)) for path, as_view in routes.items()),
            *(re_path(path, MissingView.as_view(why=why, **read_json)) for path, why in missing.items()),
            *(re_path(rf"^{path}/?$", views.Listing.as_view()) for path in views.LISTS),
        ]

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        is_extra = request.path.rstrip("/").endswith("/extra-single-image")
        return read_extras(request) if is_extra else PaintReading(request).read()

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        is_interrupted = generation.status == Status.CANCELLED and CONTROL in generation.service_data
        is_extra = generation.enlarged_to is not None
        if generation.status != Status.SUCCEEDED and (is_extra or not is_interrupted):
            return self.render_error(ending_error(generation))
        body = (enlarged if is_extra else painted)(generation, self.meta(generation))
        return json_response(body, headers=self.meta_headers(generation))

    def render_error(self, error: ApiError) -> HttpResponse:
        if isinstance(error.cause, fastapi.InvalidBody | ParseError) or error.code in fastapi.REASONS:
            return fastapi.render_error(error)
        headers = {**error.headers, **({"WWW-Authenticate": "Basic"} if error.status == 401 else {})}
        status = STATUSES.get(error.code, error.status)
        return fastapi.render_http_exception(replace(error, status=status, headers=headers))


DIALECT = Automatic1111()
