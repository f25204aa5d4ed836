"""`POST /api/img2img`: the native API, as published."""

from __future__ import annotations

import re

from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.answers import pending, success, unsuccessful
from inpainting.api.bodies import TakesBodies, body_of
from inpainting.api.documents import ACCEPTING, HOW_LONG, IMG2IMG, KEY, Painted, Pending, Received, documented
from inpainting.api.requests import accept
from inpainting.generations import history
from inpainting.models import Status
from inpainting.worker.waiting import wait_until_ended

WAIT = re.compile(r'\bwait\s*=\s*"?(\d{1,6})\b')
ENDED_BADLY = {Status.CANCELLED: 409, Status.FAILED: 500}


class Img2Img(TakesBodies):
    """Form fields and files, or JSON. Answers when it is painted, however long that takes, unless Prefer says less."""

    required_scope = Scope.GENERATE

    @documented(
        "Repaint the masked part of a picture",
        {200: Painted, 202: Pending},
        problems=(*ACCEPTING, 500),
        request=IMG2IMG,
        parameters=[HOW_LONG, KEY],
    )
    def post(self, request: Request) -> Response:
        patience_seconds, applied = preference(request.headers.get("Prefer", ""))
        generation = accept(request)
        if patience_seconds == 0 or not wait_until_ended(generation, patience_seconds=patience_seconds):
            return Response(pending(generation), status=202, headers={"Preference-Applied": applied})
        if generation.status != Status.SUCCEEDED:
            return Response(unsuccessful(generation), status=ENDED_BADLY[Status(generation.status)])
        return Response(success(generation, request))


class Interrupt(TakesBodies):
    """Stops the caller's newest generation that waits or runs; there need not be one."""

    required_scope = Scope.GENERATE

    @documented(
        "Stop one's newest generation",
        {200: Received},
        problems=(400, 413, 415),
        request={"application/json": OpenApiTypes.OBJECT},
    )
    def post(self, request: Request) -> Response:
        body_of(request)  # nothing in it matters, but it must be one
        live = history.of(request.user).filter(status__in=[Status.QUEUED, Status.RUNNING])
        newest = live.filter(cancel_requested=False).first()
        if newest is not None:
            newest.cancel()
        return Response({"status": "received"})


def preference(header: str) -> tuple[float | None, str]:
    """How long a client waits (RFC 7240): `wait=N` seconds, `respond-async` not at all, otherwise to the end (None).

    Also returns what Preference-Applied is to say if it was not long enough.
    """
    wait = WAIT.search(header)
    if wait:
        return float(wait[1]), f"wait={wait[1]}"
    return (0.0, "respond-async") if "respond-async" in header else (None, "")
