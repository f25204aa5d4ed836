"""FooocusAPI, as a dialect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.compat.fooocus import tools, views
from inpainting.api.compat.fooocus.body import NOT_STORED, Delivery, GenerateBody, OutputFormat
from inpainting.api.compat.fooocus.events import stream
from inpainting.api.compat.fooocus.tasks import pending_task, task
from inpainting.api.compat.fooocus.translation import translate
from inpainting.api.dialect import Dialect, json_response, origin_of
from inpainting.api.errors import ApiError, ending_error
from inpainting.api.media.links import ending_key
from inpainting.api.parsers import AnyTypeJsonParser, FormDataParser, body_of
from inpainting.api.views import InpaintView
from inpainting.core.request import InpaintRequest
from inpainting.generations.submit import Submission
from inpainting.media.results import result_bytes
from inpainting.models import Generation, Status

FORMATS = {
    "image/jpg": OutputFormat.JPEG,
    "image/jpeg": OutputFormat.JPEG,
    "image/webp": OutputFormat.WEBP,
    "image/png": OutputFormat.PNG,
}
"""Accept header -> the format of the image that is the response. Other image types get a PNG."""


class Fooocus(Dialect):
    """The dialect under `/v1/` and `/tasks`. Errors are `{"detail"}`, as in FastAPI; without a valid key 403 in place
    of 401."""

    name: ClassVar[str] = "fooocus"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1/", "/tasks")
    renders_failures = True
    settings_by_field: ClassVar[Mapping[str, str]] = {
        "prompt": "prompt",
        "inpaint_additional_prompt": "prompt",
        "style_selections": "prompt",
        "negative_prompt": "negative_prompt",
        "performance_selection": "steps",
        "overwrite_step": "steps",
        "image_seed": "seed",
        "guidance_scale": "guidance_scale",
        "base_model_name": "model",
        "loras": "loras",
        "vae_name": "vae",
        "sampler_name": "scheduler",
        "scheduler_name": "use_karras_sigmas",
        "clip_skip": "clip_skip",
        "inpaint_strength": "strength",
        "inpaint_respective_field": "only_masked_padding",
        "controlnet_image": "ip_adapters",
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        generate = InpaintView.as_view(parser_classes=(AnyTypeJsonParser,))
        generate_mask = tools.GenerateMask.as_view(parser_classes=(AnyTypeJsonParser,))
        describe_image = tools.DescribeImage.as_view(parser_classes=(FormDataParser, AnyTypeJsonParser))
        control = views.ControlView.as_view(parser_classes=(AnyTypeJsonParser,))
        return [
            re_path(r"^v1/engine/generate/?$", generate),
            re_path(r"^v1/engine/control/?$", control),
            re_path(r"^v1/engines/all-models/?$", views.AllModels.as_view()),
            re_path(r"^v1/engines/styles/?$", views.StyleList.as_view()),
            re_path(r"^v1/tools/generate_mask/?$", generate_mask),
            re_path(r"^v1/tools/describe-image/?$", describe_image),
            re_path(r"^tasks/?$", views.TaskList.as_view()),
            re_path(r"^tasks/(?P<task_id>[^/]+)/?$", views.TaskDetail.as_view(), name="fooocus-task"),
        ]

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        body = fastapi.validate(GenerateBody, body_of(request))
        sent = tuple(body.model_fields_set)
        if content_type := accepted_image_type(request):
            body = body.model_copy(update={"image_number": 1, "output_format": FORMATS[content_type]})
        inpaint_request, submission = translate(body, request)
        data = {
            "origin": origin_of(request),
            "key": ending_key(request),
            "request": body.model_dump(mode="json", exclude_defaults=True, exclude=NOT_STORED),
            "inpaints": bool(body.inpaint_mask_image_upload and not body.outpaint_selections),
        }
        return inpaint_request, replace(submission, sent_fields=sent, service_data=data)

    def max_wait_seconds(self, request: Request) -> float | None:
        is_async = fastapi.validate(Delivery, body_of(request)).async_process and not accepted_image_type(request)
        return 0 if is_async else None

    def events(self, generation: Generation, request: Request) -> AsyncIterator[bytes] | None:
        if accepted_image_type(request) or not fastapi.validate(Delivery, body_of(request)).stream_output:
            return None
        shows_previews = not generation.service_data["request"].get("disable_preview", False)
        return stream(generation.pk, shows_previews=shows_previews, meta=self.meta)

    def meta(self, generation: Generation) -> dict[str, Any]:
        """Return `meta`, the prompts with the words of the styles, and the error of a failed generation."""
        prompts = {name: generation.settings[name] for name in ("prompt", "negative_prompt")}
        error = {"error": generation.error_message} if generation.status == Status.FAILED else {}
        return {**super().meta(generation), **prompts, **error}

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if not generation.service_data:  # deleted while the response waited
            return self.render_error(ending_error(generation))
        meta, headers = self.meta(generation), self.meta_headers(generation)
        if content_type := accepted_image_type(request):
            image = generation.images.first()
            if image is None:
                return HttpResponse(status=204, headers=headers)
            data = result_bytes(image, FORMATS[content_type].value)
            return HttpResponse(data, content_type=content_type, headers=headers)
        shown = task(generation, meta) if generation.has_ended else pending_task(generation, meta)
        return json_response(shown, headers=headers)

    def webhook_body(self, generation: Generation) -> Mapping[str, Any] | str:
        """Return the task; as the service sends it, where the site wants it so: JSON in a JSON text."""
        message = task(generation, self.meta(generation))
        return json.dumps(message) if settings.FOOOCUS_WEBHOOK_AS_TEXT else message

    def render_error(self, error: ApiError) -> HttpResponse:
        if error.status in (401, 403):
            return json_response({"detail": "Forbidden"}, status=403)
        if error.code in UNUSABLE_MODEL and error.status == 500:
            error = replace(error, status=400)
        return fastapi.render_error(error)


def accepted_image_type(request: Request) -> str | None:
    """Return the media type of the response where the Accept header names one image type alone; None for JSON."""
    accept = request.headers.get("Accept", "").strip().lower()
    if not accept.startswith("image/") or accept.count("/") != 1:
        return None
    return accept if accept in FORMATS else "image/png"


UNUSABLE_MODEL = {"model_unavailable", "model_refused"}
"""Codes of errors about a model that is incomplete, which are answered as those about one that is missing."""
DIALECT = Fooocus()
