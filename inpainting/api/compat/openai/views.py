"""The routes of OpenAI's API beside the painting ones: the list of models."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.models import Scope
from inpainting.api.compat.openai.translation import find_model
from inpainting.api.dialect import json_response
from inpainting.api.views import DialectView
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel

SERVER_CHOICE = ("auto", "gpt-image-1", "dall-e-2")
"""Names that are listed beside the installed models, for clients that show a list or look for a name in it."""


class ModelList(DialectView):
    required_scope = Scope.READ

    def get(self, request: Request) -> HttpResponse:
        rows = Catalog().installed()
        return json_response(
            {"object": "list", "data": [model_body(name) for name in SERVER_CHOICE] + [row_body(row) for row in rows]}
        )


class ModelDetail(DialectView):
    required_scope = Scope.READ

    def get(self, request: Request, name: str) -> HttpResponse:
        """The model that paints under this name, by its own. Raises InvalidRequest, `model_not_found`."""
        catalog = Catalog()
        slug = find_model(catalog, name, [])
        return json_response(model_body(name) if slug is None else row_body(catalog.find_row(slug)))


def row_body(row: InferenceModel) -> dict[str, Any]:
    return model_body(row.slug, created=0 if row.installed_at is None else int(row.installed_at.timestamp()))


def model_body(name: str, *, created: int = 0) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "dreamlayer"}
