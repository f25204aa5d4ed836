"""`POST /api/plan/`: show what settings lead to, without images."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.native.bodies import read_body
from inpainting.api.native.fields import checked, settings_from
from inpainting.api.native.schemas.plan import PlanAnswer, PlanForm, PlanJson
from inpainting.api.openapi import READING, documented
from inpainting.api.views import AnyBodyView
from inpainting.catalog.lookup import Catalog
from inpainting.engines import registry
from inpainting.generations.plan_preview import preview


class Plan(AnyBodyView):
    """Takes the settings of POST /api/img2img and stores nothing. A setting that does not fit is left out and named."""

    required_scope = Scope.GENERATE

    @documented(
        "Show what settings lead to",
        {200: PlanAnswer},
        problems=(*READING, 503),
        request={"application/json": PlanJson},
    )
    def post(self, request: Request) -> Response:
        catalog = Catalog()
        fields, warnings = checked(PlanForm, read_body(request).fields, catalog, clamp=True)
        engine, models = fields.get("engine", registry.AUTO), fields.pop("models", {})
        values = preview(settings_from(fields, catalog), catalog, engine, models)
        return Response(PlanAnswer.render({**values, "warnings": [*warnings, *values["warnings"]]}))
