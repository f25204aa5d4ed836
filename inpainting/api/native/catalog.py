"""`/api/engines/`, `/api/models` and `/api/usage/`."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.accounting.limits import spent, stored_bytes
from inpainting.api.native.schemas.catalog import EngineDocument, EnginesDocument, ModelsDocument, UsageDocument
from inpainting.api.openapi import documented
from inpainting.catalog.lookup import Catalog
from inpainting.engines import registry
from inpainting.generations import history
from inpainting.models import UserLimits
from inpainting.planning import planner


class Engines(APIView):
    required_scope = Scope.READ

    @documented("List the engines", {200: EnginesDocument})
    def get(self, request: Request) -> Response:
        here = planner()
        engines = [EngineDocument.of(engine.declaration, here) for engine in registry.engines().values()]
        return Response(EnginesDocument(engines=engines).model_dump())


class Models(APIView):
    """Models of the catalog, LoRAs, and installed VAEs and adapters. The built-in engine needs none of them."""

    required_scope = Scope.READ

    @documented("List the models, LoRAs and adapters", {200: ModelsDocument})
    def get(self, request: Request) -> Response:
        catalog = Catalog()
        listed = {
            "models": catalog.checkpoints,
            "loras": catalog.loras,
            "adapters": catalog.adapters,
        }
        return Response(ModelsDocument.render(listed))


class Usage(APIView):
    """The caller's usage and limits; null: no limit.

    `spent` is what the limits per minute and per day count, deleted generations included.
    """

    required_scope = Scope.READ

    @documented("Get your usage and limits", {200: UsageDocument})
    def get(self, request: Request) -> Response:
        usage = {
            "generations": history.counts_of(request.user),
            "stored_bytes": stored_bytes(request.user),
            "spent": spent(request.user),
            "limits": UserLimits.for_user(request.user) or UserLimits(),
        }
        return Response(UsageDocument.render(usage))
