"""Answers about webhooks and websocket tickets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field

from inpainting.api.native.schemas.base import Answer, Page, TextOrNull
from inpainting.models import DeliveryState, WebhookEvent


class AttemptDocument(Answer):
    at: datetime
    status: int | None = Field(description="HTTP status of the response; null where there was none.")
    failure: TextOrNull = Field(description="Why there was no response: timeout, tls_failed, …")
    milliseconds: int
    answer: str = Field(
        validation_alias="answer_text",
        description="The beginning of the response; always empty for addresses in your own network.",
    )


class DeliveryDocument(Answer):
    id: str = Field(validation_alias="webhook_id", description="The header webhook-id, the same in every attempt.")
    type: WebhookEvent = Field(validation_alias="event")
    url: str
    generation: UUID | None = Field(validation_alias="generation_id")
    state: DeliveryState
    created_at: datetime
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    attempts: Annotated[list[AttemptDocument], BeforeValidator(lambda attempts: list(attempts.all()))]


class DeliveriesDocument(Page[DeliveryDocument]):
    pass


class SecretDocument(Answer):
    """The secret that deliveries are signed with."""

    secret: str = Field(description="whsec_ and base64; any library for Standard Webhooks verifies with it.")
    created_at: datetime
    former_secret_until: datetime | None = Field(
        description="Until then deliveries are signed with the former secret too."
    )


class TicketDocument(Answer):
    ticket: str = Field(description="Opens one websocket, once.")
    expires_in: int = Field(description="Seconds.")
    url: str = Field(
        description="Sends the events of all of your generations. For one generation, insert its id and a slash before "
        "the question mark."
    )
