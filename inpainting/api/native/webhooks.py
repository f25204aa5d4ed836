"""`/api/webhooks/`: deliveries, sending one again, test deliveries, and the secret."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting import webhooks
from inpainting.accounting.limits import spend_webhook
from inpainting.api.native.bodies import read_body
from inpainting.api.native.pagination import PageQuery, read_query, render_page
from inpainting.api.native.schemas.bodies import RECEIVER, Receiver
from inpainting.api.native.schemas.webhooks import DeliveriesDocument, DeliveryDocument, SecretDocument
from inpainting.api.openapi import READING, documented
from inpainting.api.views import AnyBodyView
from inpainting.models import WebhookDelivery, WebhookSecret


class Deliveries(APIView):
    required_scope = Scope.MANAGE

    @documented(
        "List your webhook deliveries, newest first",
        {200: DeliveriesDocument},
        problems=(400, 404),
        parameters=[PageQuery],
        name="webhook_deliveries_list",
    )
    def get(self, request: Request) -> Response:
        return Response(
            render_page(
                DeliveriesDocument,
                own_deliveries(request),
                read_query(request),
                request,
                DeliveryDocument.model_validate,
            )
        )


class DeliveryResend(APIView):
    required_scope = Scope.MANAGE

    @documented("Send a delivery again, whatever its state", {200: DeliveryDocument}, problems=(404, 429))
    def post(self, request: Request, webhook_id: str) -> Response:
        """Sent within seconds under the same id, and retried on the usual schedule."""
        delivery = get_object_or_404(own_deliveries(request), webhook_id=webhook_id)
        with transaction.atomic():
            spend_webhook(request.user)
            delivery.resend()
        return Response(DeliveryDocument.render(delivery))


class SendTest(AnyBodyView):
    required_scope = Scope.MANAGE

    @documented(
        "Send a test event",
        {201: DeliveryDocument},
        problems=(*READING, 429),
        request=RECEIVER,
    )
    def post(self, request: Request) -> Response:
        """Sends an event of the type `test` within seconds. Its delivery shows the outcome."""
        url = Receiver.read(read_body(request).fields).url
        webhooks.check_url(url, field="url")
        with transaction.atomic():
            spend_webhook(request.user)
            delivery = WebhookDelivery.create_test(request.user, url)
        return Response(DeliveryDocument.render(delivery), status=201)


class Secret(APIView):
    required_scope = Scope.MANAGE

    @documented("Get the secret that deliveries are signed with", {200: SecretDocument})
    def get(self, request: Request) -> Response:
        return secret_response(request)


class SecretRotate(APIView):
    required_scope = Scope.MANAGE

    @documented("Replace the secret", {200: SecretDocument})
    def post(self, request: Request) -> Response:
        """For a day deliveries are signed with the former secret too. An older one expires at once."""
        WebhookSecret.rotate(request.user)
        return secret_response(request)


def own_deliveries(request: Request) -> QuerySet[WebhookDelivery]:
    owner: Any = request.user
    return WebhookDelivery.objects.filter(owner=owner).prefetch_related("attempts")


def secret_response(request: Request) -> Response:
    """The active secret, in a response that must not be cached."""
    secret, *former = WebhookSecret.active(request.user)
    values = {
        "secret": secret.texts[0],
        "created_at": secret.created_at,
        "former_secret_until": former[0].retires_at if former else None,
    }
    return Response(SecretDocument.render(values), headers={"Cache-Control": "no-store"})
