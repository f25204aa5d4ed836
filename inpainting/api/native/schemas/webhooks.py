"""Answers about webhooks and websocket tickets."""

from __future__ import annotations

from rest_framework import serializers

from inpainting.api.native.schemas.base import Answer, Page, UtcDateTime
from inpainting.models import DeliveryState, WebhookAttempt, WebhookEvent


class AttemptDocument(Answer):
    at = UtcDateTime()
    status = serializers.IntegerField(
        allow_null=True, help_text="HTTP status of the response; null where there was none."
    )
    failure = serializers.CharField(allow_null=True, help_text="Why there was no response: timeout, tls_failed, …")
    milliseconds = serializers.IntegerField()
    answer = serializers.CharField(
        source="answer_text",
        help_text="The beginning of the response; always empty for addresses in your own network.",
    )

    def get_failure(self, attempt: WebhookAttempt) -> str | None:
        return attempt.failure or None


class DeliveryDocument(Answer):
    id = serializers.CharField(source="webhook_id", help_text="The header webhook-id, the same in every attempt.")
    type = serializers.ChoiceField(WebhookEvent.values, source="event")
    url = serializers.CharField()
    generation = serializers.UUIDField(source="generation_id", allow_null=True)
    state = serializers.ChoiceField(DeliveryState.values)
    created_at = UtcDateTime()
    delivered_at = UtcDateTime(allow_null=True)
    next_attempt_at = UtcDateTime(allow_null=True)
    attempts = AttemptDocument(many=True, source="attempts.all")


class DeliveriesDocument(Page):
    results = DeliveryDocument(many=True)


class SecretDocument(Answer):
    """The secret that deliveries are signed with."""

    secret = serializers.CharField(help_text="whsec_ and base64; any library for Standard Webhooks verifies with it.")
    created_at = UtcDateTime()
    former_secret_until = UtcDateTime(
        allow_null=True, help_text="Until then deliveries are signed with the former secret too."
    )


class TicketDocument(Answer):
    ticket = serializers.CharField(help_text="Opens one websocket, once.")
    expires_in = serializers.IntegerField(help_text="Seconds.")
    url = serializers.CharField(
        help_text="Sends the events of all of your generations. For one generation, insert its id and a slash before "
        "the question mark."
    )
