"""What there is to paint with, and what the caller has used: engines, models, usage."""

from __future__ import annotations

from typing import Any

from django.db.models import Count
from django.forms.models import model_to_dict
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting import planning
from inpainting.accounting.limits import spent, stored_bytes
from inpainting.api.native.documents import EnginesDocument, ModelsDocument, UsageDocument, documented
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.core.settings_table import public_names
from inpainting.engines import registry
from inpainting.engines.base import EngineDeclaration
from inpainting.generations import history
from inpainting.models import InferenceModel, Lora, Status, UserLimits


class Engines(APIView):
    required_scope = Scope.READ

    @documented("The engines", {200: EnginesDocument})
    def get(self, request: Request) -> Response:
        default = planning.choose().engine.name
        declared = [engine.declaration for engine in registry.engines().values()]
        engines = [said_of(engine, is_default=engine.name == default) for engine in declared]
        return Response({"status": "success", "engines": engines})


def said_of(engine: EngineDeclaration, *, is_default: bool) -> dict[str, Any]:
    return {
        "name": engine.name,
        "label": engine.label,
        "is_default": is_default,
        "accepts_prompt": "prompt" not in engine.ignored_settings,
        "ignores": public_names(engine.ignored_settings),
        "unavailable": why_unavailable(engine),
    }


def why_unavailable(engine: EngineDeclaration) -> str | None:
    """What is missing before it can paint; None where it can."""
    try:
        planning.resolve(engine, PaintSettings())
    except InvalidRequest as error:
        return error.message
    return None


class Models(APIView):
    """Checkpoints that an engine can load, LoRAs that change them, installed parts. The built-in engine needs none."""

    required_scope = Scope.READ

    @documented("The models", {200: ModelsDocument})
    def get(self, request: Request) -> Response:
        models = [described(model) for model in InferenceModel.offered()]
        loras = [told_of(lora) for lora in Lora.offered()]
        parts = [part_of(part) for part in InferenceModel.parts()]
        return Response({"status": "success", "models": models, "loras": loras, "parts": parts})


def part_of(part: InferenceModel) -> dict[str, Any]:
    return {
        "slug": part.slug,
        "name": part.label,
        "kind": part.kind,
        "family": part.family,
        "control": part.control or None,
        "licence": part.licence,
    }


def told_of(lora: Lora) -> dict[str, Any]:
    few = lora.spec.few_steps
    return {
        "slug": lora.slug,
        "name": lora.label,
        "family": lora.family,
        "kind": lora.kind,
        "trigger": lora.trigger,
        "licence": lora.licence,
        "defaults": None if few is None else few.usual,
    }


def described(model: InferenceModel) -> dict[str, Any]:
    return {
        "id": model.slug,
        "name": model.label,
        "filename": model.slug,  # what clients of this route send back as model_name
        "family": model.family,
        "installed": model.is_installed,
        "licence": model.licence,
        "aliases": model.aliases,
        "defaults": model.usual,
    }


class Usage(APIView):
    """How much the caller has and may have; a limit of null is none.

    `spent` is what the limits by time count, in which what was deleted still is.
    """

    required_scope = Scope.READ

    @documented("What one has used", {200: UsageDocument})
    def get(self, request: Request) -> Response:
        counted = history.of(request.user).order_by().values_list("status").annotate(Count("pk"))
        counts: dict[str, int] = dict.fromkeys(Status.values, 0) | dict(counted)
        limits = UserLimits.of(request.user) or UserLimits()
        return Response(
            {
                "status": "success",
                "generations": {**counts, "total": sum(counts.values())},
                "stored_bytes": stored_bytes(request.user),
                "spent": spent(request.user),
                "limits": model_to_dict(limits, exclude=["id", "user"]),
            }
        )
