"""The native API, as a dialect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path
from rest_framework.request import Request

from inpainting.api.dialect import Dialect, json_response
from inpainting.api.errors import ApiError, ending_error
from inpainting.api.native import requests
from inpainting.api.native.schemas.base import Problem
from inpainting.api.native.schemas.generations import Painted, Pending
from inpainting.core.request import InpaintRequest
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import Submission
from inpainting.models import Generation, Status
from inpainting.models.generation_request import NATIVE
from inpainting.worker.run_time_estimates import queue_position

WAIT = re.compile(r'\bwait\s*=\s*"?(\d{1,6})\b')


class NativeApi(Dialect):
    """`/api/`. Errors are `{"status": "error", "message", "code"[, "field", "limit", "actual", "id"]}`."""

    name: ClassVar[str] = NATIVE
    prefixes: ClassVar[tuple[str, ...]] = ("/api/",)
    answers_before_the_end = True
    renders_failures = True  # a request that does not wait is answered before its end is looked at
    is_translated = True

    @property
    def urls(self) -> Sequence[URLPattern | URLResolver]:
        return [path("", include("inpainting.api.native.urls"))]

    def read_idempotency(self, request: Request) -> Idempotency | None:
        return None  # `parse` reads it, since its digest is that of the fields in any shape of the body

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        return requests.parse(request)

    def max_wait_seconds(self, request: Request) -> float | None:
        return parse_prefer_header(request)[0]

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        max_wait_seconds, applied = parse_prefer_header(request)
        if max_wait_seconds == 0 or not generation.has_ended:
            return json_response(pending_answer(generation), status=202, headers={"Preference-Applied": applied})
        if generation.status != Status.SUCCEEDED:
            return self.render_error(ending_error(generation))
        return json_response(Painted.of(generation, request).model_dump())

    def render_error(self, error: ApiError) -> HttpResponse:
        return json_response(Problem.of(error).model_dump(), status=error.status, headers=error.headers)


DIALECT = NativeApi()


def pending_answer(generation: Generation) -> dict[str, Any]:
    return Pending.of(generation, queue_position(generation, was_just_accepted=True)).model_dump()


def parse_prefer_header(request: Request) -> tuple[float | None, str]:
    """The Prefer header (RFC 7240): how many seconds to wait, None for as long as it takes, and the applied preference.

    `wait=N` is N seconds, `respond-async` is 0.
    """
    header = request.headers.get("Prefer", "")
    wait = WAIT.search(header)
    if wait:
        return float(wait[1]), f"wait={wait[1]}"
    return (0.0, "respond-async") if "respond-async" in header else (None, "")
