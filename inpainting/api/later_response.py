"""Responses that wait for a generation, without a thread for each.

The view returns at once; `dreamlayer_site.later_responses` waits and then sends the response. Where it is not used, as
in Django's test client, the view waits itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.worker.waiting import wait_until_ended

LATER = "dreamlayer.later_responses"
"""The key of the ASGI scope that holds the list for the LaterResponse of the request."""


@dataclass(frozen=True, slots=True)
class LaterResponse:
    pk: UUID
    """The generation to wait for."""
    max_wait_seconds: float | None
    render: Callable[[], HttpResponseBase]
    """Called in a thread, once the generation has ended or the time has passed."""


def respond_later(later: LaterResponse, request: Request) -> HttpResponseBase:
    """Leave the response to the middleware, which adds the headers of the returned one; without it, wait here."""
    found = getattr(request, "scope", {}).get(LATER)
    if found is not None:
        found.append(later)
        return HttpResponse()
    async_to_sync(wait_until_ended)(later.pk, patience_seconds=later.max_wait_seconds)
    return later.render()
