"""`POST /api/img2img` and `/api/img2img/interrupt`."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.native.bodies import read_body
from inpainting.api.native.dialect import DIALECT
from inpainting.api.native.schemas.bodies import IMG2IMG
from inpainting.api.native.schemas.generations import Painted, Pending, Received
from inpainting.api.openapi import ACCEPTING, HOW_LONG, KEY, READING, documented
from inpainting.api.views import AnyBodyView, inpaint
from inpainting.generations import history
from inpainting.models import Status


class Img2Img(AnyBodyView):
    """Form fields and files, or JSON. The response waits for the result, unless a Prefer header limits the wait."""

    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Inpaint an image",
        {200: Painted, 202: Pending},
        problems=(*ACCEPTING, 410, 500),
        request=IMG2IMG,
        parameters=[HOW_LONG, KEY],
    )
    def post(self, request: Request) -> HttpResponseBase:
        return inpaint(DIALECT, request)


class Interrupt(AnyBodyView):
    """Cancels the caller's newest waiting or running generation, if there is one."""

    required_scope = Scope.GENERATE

    @documented(
        "Cancel your newest generation",
        {200: Received},
        problems=READING,
        request={"application/json": OpenApiTypes.OBJECT},
    )
    def post(self, request: Request) -> Response:
        read_body(request)  # Its content does not matter, but a malformed body is refused.
        live = history.for_user(request.user).filter(status__in=[Status.QUEUED, Status.RUNNING])
        newest = live.filter(cancel_requested=False).first()
        if newest is not None:
            newest.cancel()
        return Response(Received().model_dump())
