"""The API of IOPaint, as a dialect. Errors are `{"error", "detail", "body", "errors"}`; its app shows the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, re_path
from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.compat.iopaint import views
from inpainting.api.compat.iopaint.models import NAME
from inpainting.api.compat.iopaint.translation import read_enlargement, read_request
from inpainting.api.compat.iopaint.web_app import web_app
from inpainting.api.dialect import Dialect
from inpainting.api.errors import ApiError
from inpainting.core.request import InpaintRequest
from inpainting.generations.submit import Submission
from inpainting.media.results import result_bytes
from inpainting.models import Generation


class IOPaint(Dialect):
    """The dialect under `/api/v1/`."""

    name: ClassVar[str] = NAME
    prefixes: ClassVar[tuple[str, ...]] = ("/api/v1",)
    pages: ClassVar[tuple[str, ...]] = ("/iopaint", "/assets/")
    settings_by_field: ClassVar[Mapping[str, str]] = {
        **{name: name for name in ("prompt", "negative_prompt")},
        **{f"sd_{name}": name for name in ("steps", "guidance_scale", "strength", "seed")},
        "sd_sampler": "scheduler",
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        return [
            path("api/v1/server-config", views.ServerConfig.as_view()),
            path("api/v1/samplers", views.Samplers.as_view()),
            path("api/v1/model", views.Model.as_view()),
            path("api/v1/switch_plugin_model", views.SwitchPluginModel.as_view()),
            path("api/v1/gen-info", views.GenInfo.as_view()),
            path("api/v1/inpaint", views.Paint.as_view()),
            path("api/v1/adjust_mask", views.AdjustMask.as_view()),
            path("api/v1/run_plugin_gen_mask", views.PluginMask.as_view()),
            path("api/v1/run_plugin_gen_image", views.PluginImage.as_view()),
            re_path(r"^iopaint/?$", web_app),
            path("assets/<str:name>", web_app),
        ]

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        return read_request(request) if request.path.endswith("/inpaint") else read_enlargement(request)

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        image = generation.images.get(index=0)
        headers = {**self.meta_headers(generation), "X-Seed": str(generation.settings["seed"])}
        return HttpResponse(result_bytes(image), content_type=f"image/{image.format}", headers=headers)

    def render_error(self, error: ApiError) -> HttpResponse:
        return fastapi.render_http_exception(error, kind=error.code)


DIALECT = IOPaint()
