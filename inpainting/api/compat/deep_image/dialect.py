"""Deep-Image's API, as a dialect.

Errors are `{"message"[, "code", "detail"]}`; those of generations `{"message", "status": "failed", "job"}`. A job, or
hash, is the primary key of a generation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework.request import Request

from inpainting.api.compat.deep_image import views
from inpainting.api.compat.deep_image.answers import error_body, result_url
from inpainting.api.compat.deep_image.body import NAME, parameters_of
from inpainting.api.compat.deep_image.translation import read_request, source_file
from inpainting.api.dialect import Dialect, json_response, origin_of
from inpainting.api.errors import ApiError
from inpainting.api.media.links import ending_key
from inpainting.core.request import InpaintRequest
from inpainting.generations.submit import Submission
from inpainting.models import Generation, Status

ANSWER_SECONDS = 24.0
"""`process_result` responds within 25 seconds, as documented, the last of them to send the response."""
ACCEPT_SECONDS = 20.0
"""The rest decodes and stores the images."""


class DeepImage(Dialect):
    """The dialect under `/rest_api/`."""

    name: ClassVar[str] = NAME
    prefixes: ClassVar[tuple[str, ...]] = ("/rest_api/",)
    answers_before_the_end = True
    settings_by_field: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("background.generate.description", "background.generate.additional_prompt"), "prompt"),
        "background.generate.negative_prompt": "negative_prompt",
        "background.generate.sample_num": "seed",
        **dict.fromkeys(("quality", "output_quality"), "quality"),
        "max_file_size": "max_file_kilobytes",
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        return [
            re_path(r"^rest_api/(?:process|process_result)/?$", views.Process.as_view()),
            re_path(r"^rest_api/result/(?P<job>[^/]+)/?$", views.Result.as_view()),
            re_path(r"^rest_api/me/?$", views.Me.as_view()),
        ]

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        data: Any = request.data
        fields = {name: value for name, value in data.items() if name not in request.FILES}
        return read_request(parameters_of(fields), source_file(request), request, fetch_until=self.fetch_until(request))

    def max_accept_seconds(self, path: str) -> float | None:
        return ACCEPT_SECONDS if path.rstrip("/").endswith("/process_result") else None

    def max_wait_seconds(self, request: Request) -> float | None:
        return 0.0 if self.max_accept_seconds(request.path) is None else ANSWER_SECONDS

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if not generation.has_ended:
            # Not `received` or `not_started`: the documented client stops polling at both.
            return json_response({"status": "in_progress", "job": str(generation.pk)})
        url = result_url(generation, origin=origin_of(request), key=ending_key(request))
        body = {"status": "complete", "result_url": url, "job": str(generation.pk), "meta": self.meta(generation)}
        return json_response(body, headers=self.meta_headers(generation))

    def webhook_body(self, generation: Generation) -> dict[str, Any] | None:
        """Return the message of a success, and None for a failure, for which no webhook is documented."""
        if generation.status != Status.SUCCEEDED:
            return None
        sent = generation.service_data
        url = result_url(generation, origin=sent["origin"], key=sent["key"])
        return {"job": str(generation.pk), "data": sent["request"], "result_url": url, "results": None}

    def render_error(self, error: ApiError) -> HttpResponse:
        status, body = error_body(error)
        return json_response(body, status=status, headers=error.headers)


DIALECT = DeepImage()
