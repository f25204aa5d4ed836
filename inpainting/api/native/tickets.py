"""`/api/tickets/`: one-time tickets with which programs open websockets."""

from __future__ import annotations

from django.utils.translation import gettext
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TICKET_SECONDS, ApiKey, Scope, Ticket
from inpainting.api.native.schemas.webhooks import TicketDocument
from inpainting.api.openapi import documented


class Tickets(APIView):
    required_scope = Scope.READ

    @documented("Create a ticket for one websocket", {201: TicketDocument})
    def post(self, request: Request) -> Response:
        """For programs with a key, which must not be sent in a URL. The websockets of pages use the session instead."""
        if not isinstance(request.auth, ApiKey):
            raise PermissionDenied(gettext("Tickets are for programs with an API key."), code="key_required")
        ticket = Ticket.issue(request.auth)
        scheme = "wss" if request.is_secure() else "ws"
        values = {
            "ticket": ticket,
            "expires_in": TICKET_SECONDS,
            "url": f"{scheme}://{request.get_host()}/ws/generations/?ticket={ticket}",
        }
        return Response(TicketDocument.render(values), status=201, headers={"Cache-Control": "no-store"})
