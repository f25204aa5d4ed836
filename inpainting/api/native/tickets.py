"""`/api/tickets/`: what a program opens its websocket with."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import TICKET_SECONDS, ApiKey, Scope, Ticket
from inpainting.api.native.documents import documented


class TicketDocument(serializers.Serializer):
    ticket = serializers.CharField(help_text="Opens one websocket, once.")
    expires_in = serializers.IntegerField(help_text="Seconds.")
    url = serializers.CharField(
        help_text="Tells of all of one's generations; to hear of one, put its id and a slash before the question mark."
    )


class Tickets(APIView):
    required_scope = Scope.READ

    @documented("A ticket for one websocket", {201: TicketDocument})
    def post(self, request: Request) -> Response:
        """For programs with a key, which never stands in an address. A page's websocket brings its session instead."""
        if not isinstance(request.auth, ApiKey):
            raise PermissionDenied("Tickets are for programs with an API key.", code="key_required")
        ticket = Ticket.issue(request.auth)
        scheme = "wss" if request.is_secure() else "ws"
        document = {
            "ticket": ticket,
            "expires_in": TICKET_SECONDS,
            "url": f"{scheme}://{request.get_host()}/ws/generations/?ticket={ticket}",
        }
        return Response(document, status=201, headers={"Cache-Control": "no-store"})
