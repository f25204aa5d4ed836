"""OpenAI's image API, as a dialect. Errors are `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from django.db.models import Q
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from django.utils import timezone
from rest_framework.request import Request

from accounts.authentication import key_from_headers
from inpainting.api.compat.openai import views
from inpainting.api.compat.openai.answers import NO_USAGE, description, error_body, image_bodies, stream
from inpainting.api.compat.openai.translation import NAME, read_request
from inpainting.api.dialect import Dialect, json_response, name_in_path
from inpainting.api.errors import ApiError
from inpainting.api.idempotency import RepeatedRequest, body_digest
from inpainting.api.views import InpaintView, MissingView
from inpainting.core.request import InpaintRequest
from inpainting.generations import history
from inpainting.generations.submit import Submission
from inpainting.models import Generation

NO_VARIATIONS = "Variations are not built; send /v1/images/edits the image, a mask and a prompt."
RETRY_HEADER = "x-stainless-retry-count"
"""Sent by OpenAI's libraries with every request: how often it was sent before."""
REPEATED_FOR = timedelta(seconds=60)
"""How long after its end a generation answers a repeated request."""
LONGEST_WAIT = timedelta(hours=1)
"""For a response, of a client; bounds the search for the first request."""


class OpenAI(Dialect):
    """The dialect under `/v1/images` and `/v1/models`, and under `/openai/` as Azure has it."""

    name: ClassVar[str] = NAME
    prefixes: ClassVar[tuple[str, ...]] = ("/v1/images", "/v1/models", "/openai")
    settings_by_field: ClassVar[Mapping[str, str]] = {
        "prompt": "prompt",
        "model": "model",
        "quality": "steps",
        "output_compression": "quality",
    }

    @property
    def urls(self) -> Sequence[URLPattern]:
        paint, places = InpaintView.as_view(), r"(?:openai/)?v1/|openai/(?:deployments/(?P<model>[^/]+)/)?"
        return [
            re_path(rf"^(?:{places})images/(?:edits|generations)/?$", paint),
            re_path(rf"^(?:{places})images/variations/?$", MissingView.as_view(why=NO_VARIATIONS)),
            re_path(r"^(?:openai/)?v1/models/?$", views.ModelList.as_view()),
            re_path(r"^(?:openai/)?v1/models/(?P<name>[^/]+(?:/[^/]+)?)/?$", views.ModelDetail.as_view()),
        ]

    def read_api_key(self, request: Request) -> str | None:
        return key_from_headers(request) or request.headers.get("api-key")

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        digest = refuse_repeated(request)
        is_edit = request.path.rstrip("/").endswith("/edits")
        model = name_in_path(request, "model")
        return read_request(request, model=model, is_edit=is_edit, digest=digest)

    def events(self, generation: Generation, request: Request) -> AsyncIterator[bytes] | None:
        return None if generation.service_data["previews"] is None else stream(generation)

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        body = {
            "created": int(generation.created_at.timestamp()),
            **description(generation),
            "data": image_bodies(generation, request),
            "usage": NO_USAGE,
            "meta": self.meta(generation),
        }
        return json_response(body, headers=self.meta_headers(generation))

    def render_error(self, error: ApiError) -> HttpResponse:
        status = 404 if error.code == "model_not_found" else error.status
        return json_response(error_body(replace(error, status=status)), status=status, headers=error.headers)


def refuse_repeated(request: Request) -> str:
    """Return the digest of the body and the key; empty for a client that does not count its retries.

    Raises RepeatedRequest for a retry of a request that was accepted: the libraries repeat a request whose connection
    broke, or that a proxy answered with 5xx, and send no Idempotency-Key with images.
    """
    count = request.headers.get(RETRY_HEADER)
    if count is None:
        return ""
    key = getattr(request.auth, "pk", None)
    digest, now = f"{key}-{body_digest(request, '')}", timezone.now()
    if count != "0":
        answers = Q(finished_at=None) | Q(finished_at__gt=now - REPEATED_FOR)
        sent = history.for_user(request.user).filter(answers, service=NAME, created_at__gt=now - LONGEST_WAIT)
        first = sent.filter(service_data__body=digest).first()
        if first is not None:
            raise RepeatedRequest(first)
    return digest


DIALECT = OpenAI()
