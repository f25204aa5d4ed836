"""OpenAI's image API, as a dialect. Errors are `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework.request import Request

from accounts.authentication import key_from_headers
from accounts.models import Scope
from inpainting.api.compat.openai.answers import NO_USAGE, description, error_body, image_bodies, stream
from inpainting.api.compat.openai.translation import NAME, find_model, read_request
from inpainting.api.dialect import Dialect, json_response, name_in_path
from inpainting.api.errors import ApiError
from inpainting.api.idempotency import refuse_retry
from inpainting.api.views import DialectView, InpaintView, MissingView
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.core.request import InpaintRequest
from inpainting.generations.submit import Submission
from inpainting.models import Generation

NO_VARIATIONS = "Variations are not built; send /v1/images/edits the image, a mask and a prompt."
SERVER_CHOICE = ("auto", "gpt-image-1", "dall-e-2")
"""Names that are listed beside the installed models, for clients that show a list or look for a name in it."""


class OpenAIModels(DialectView):
    required_scope = Scope.READ

    def get(self, request: Request) -> HttpResponse:
        models = [*map(model_body, SERVER_CHOICE), *(model_body(row.slug, row) for row in Catalog().installed())]
        return json_response({"object": "list", "data": models})


class ModelDetail(DialectView):
    required_scope = Scope.READ

    def get(self, request: Request, name: str) -> HttpResponse:
        """The model that paints under this name, by its own. Raises InvalidRequest, `model_not_found`."""
        catalog = Catalog()
        slug = find_model(catalog, name, warnings=[])
        return json_response(model_body(slug or name, catalog.find_row(slug) if slug else None))


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
            re_path(r"^(?:openai/)?v1/models/?$", OpenAIModels.as_view()),
            re_path(r"^(?:openai/)?v1/models/(?P<name>[^/]+(?:/[^/]+)?)/?$", ModelDetail.as_view()),
        ]

    def read_api_key(self, request: Request) -> str | None:
        return key_from_headers(request) or request.headers.get("api-key")

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        digest = refuse_retry(request, service=NAME)
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


def model_body(name: str, row: InferenceModel | None = None) -> dict[str, Any]:
    created = int(row.installed_at.timestamp()) if row and row.installed_at else 0
    return {"id": name, "object": "model", "created": created, "owned_by": "dreamlayer"}


DIALECT = OpenAI()
