"""`/api/webhooks/`: what was told to whom and how that went, sending again, trying a receiver, and the secret."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting import webhooks
from inpainting.accounting.limits import spend_webhook
from inpainting.api.native.bodies import body_of
from inpainting.api.native.documents import documented
from inpainting.api.native.search import MOST_A_PAGE, MOST_PAGES, paged
from inpainting.api.views import AnyBodyView
from inpainting.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEvent, WebhookSecret
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS


class AttemptDocument(serializers.Serializer):
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status of the answer; null where none came.")
    failure = serializers.CharField(allow_null=True, help_text="Why no answer came, in a word: timeout, tls_failed, …")
    milliseconds = serializers.IntegerField()
    answer = serializers.CharField(help_text="Its beginning; empty for machines on one's own network.")


class DeliveryDocument(serializers.Serializer):
    id = serializers.CharField(help_text="The header webhook-id, the same in every attempt.")
    type = serializers.ChoiceField(WebhookEvent.values)
    url = serializers.CharField()
    generation = serializers.UUIDField(allow_null=True)
    state = serializers.ChoiceField(DeliveryState.values)
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    attempts = AttemptDocument(many=True)


class DeliveriesDocument(serializers.Serializer):
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = DeliveryDocument(many=True)


class SecretDocument(serializers.Serializer):
    """What deliveries are signed with."""

    secret = serializers.CharField(help_text="whsec_ and base64; verify with any library for Standard Webhooks.")
    created_at = serializers.DateTimeField()
    former_secret_until = serializers.DateTimeField(
        allow_null=True, help_text="Until then deliveries are signed with the former secret too."
    )


class Pages(serializers.Serializer):
    page = serializers.IntegerField(default=1, min_value=1, max_value=MOST_PAGES)
    page_size = serializers.IntegerField(default=24, min_value=1, max_value=MOST_A_PAGE)


class Receiver(serializers.Serializer):
    url = serializers.CharField(max_length=MAX_URL_CHARACTERS, help_text="An http or https URL of a public address.")


class Deliveries(APIView):
    required_scope = Scope.MANAGE

    @documented(
        "One's webhook deliveries, newest first",
        {200: DeliveriesDocument},
        problems=(400, 404),
        parameters=[Pages],
        name="webhook_deliveries_list",
    )
    def get(self, request: Request) -> Response:
        asked = Pages(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response(paged(own_deliveries(request), asked.validated_data, request, rendered))


class DeliveryResend(APIView):
    required_scope = Scope.MANAGE

    @documented("Send it again, whatever became of it", {200: DeliveryDocument}, problems=(404, 429))
    def post(self, request: Request, webhook_id: str) -> Response:
        """Within a second or two, and by the whole schedule should it fail; under the same id."""
        delivery = get_object_or_404(own_deliveries(request), webhook_id=webhook_id)
        with transaction.atomic():
            spend_webhook(request.user)
            delivery.resend()
        return Response(rendered(delivery))


class SendTest(AnyBodyView):
    required_scope = Scope.MANAGE

    @documented(
        "Send a test event",
        {201: DeliveryDocument},
        problems=(400, 413, 415, 429),
        request={"application/json": Receiver, "multipart/form-data": Receiver},
    )
    def post(self, request: Request) -> Response:
        """An event of the type `test`, within a second or two; the deliveries tell how it went."""
        asked = Receiver(data=dict(body_of(request).fields))
        asked.is_valid(raise_exception=True)
        url = asked.validated_data["url"]
        webhooks.check_url(url, field="url")
        with transaction.atomic():
            spend_webhook(request.user)
            delivery = WebhookDelivery.create_test(request.user, url)
        return Response(rendered(delivery), status=201)


class Secret(APIView):
    required_scope = Scope.MANAGE

    @documented("The secret that deliveries are signed with", {200: SecretDocument})
    def get(self, request: Request) -> Response:
        return secret_response(request)


class SecretRotate(APIView):
    required_scope = Scope.MANAGE

    @documented("Make a new secret", {200: SecretDocument})
    def post(self, request: Request) -> Response:
        """For a day deliveries are signed with the former one too; one before that ends at once."""
        WebhookSecret.rotate(request.user)
        return secret_response(request)


def own_deliveries(request: Request) -> QuerySet[WebhookDelivery]:
    owner: Any = request.user
    return WebhookDelivery.objects.filter(owner=owner).prefetch_related("attempts")


def secret_response(request: Request) -> Response:
    """Not to be kept by anything on its way."""
    secret, *former = WebhookSecret.active(request.user)
    document = {
        "secret": secret.texts[0],
        "created_at": secret.created_at,
        "former_secret_until": former[0].retires_at if former else None,
    }
    return Response(document, headers={"Cache-Control": "no-store"})


def rendered(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": delivery.webhook_id,
        "type": delivery.event,
        "url": delivery.url,
        "generation": delivery.generation_id,
        "state": delivery.state,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
        "next_attempt_at": delivery.next_attempt_at,
        "attempts": [rendered_attempt(attempt) for attempt in delivery.attempts.all()],
    }


def rendered_attempt(attempt: WebhookAttempt) -> dict[str, Any]:
    return {
        "at": attempt.at,
        "status": attempt.status,
        "failure": attempt.failure or None,
        "milliseconds": attempt.milliseconds,
        "answer": attempt.answer_text,
    }
