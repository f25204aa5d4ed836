"""Webhooks: sign a message, send it, write down what came of it, and say when it is tried again.

By Standard Webhooks 1.0 (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md). A message
arrives at least once: a sender that dies between sending and writing that down sends it again, under the same id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from django.urls import reverse

from inpainting.core.errors import InvalidRequest
from inpainting.models import WebhookAttempt, WebhookDelivery, WebhookSecret
from inpainting.models.webhooks import MAX_URL_CHARACTERS, SECRET_START
from inpainting.net import (
    NetworkTransport,
    OutboundPolicy,
    PostFailure,
    PostResponse,
    is_allowed_url,
    post_json,
    site_policy,
)

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 15.0
LEASE_SECONDS = 2 * DEADLINE_SECONDS
"""A sender that has not written down by then what came of it is gone."""
HOUR = 3600.0
PAUSES_SECONDS = (5.0, 300.0, 1800.0, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""After the first try, the second … the specification's schedule, 75 hours in all."""
JITTER = 0.2
MAX_RETRY_AFTER_SECONDS = 24 * HOUR
ARRIVED, GONE = range(200, 300), 410


def check_url(url: str, *, field: str) -> None:
    """Raises InvalidRequest for a URL that no message can be sent to, as far as its text tells."""
    if len(url) > MAX_URL_CHARACTERS or not is_allowed_url(url, site_policy()):
        raise InvalidRequest(
            f"{field} must be an http or https URL of a public address, at most {MAX_URL_CHARACTERS} characters long.",
            code="url_not_allowed",
            field=field,
        )


def deliver_due() -> None:
    """Send what is due, until nothing is."""
    while (delivery := WebhookDelivery.due().first()) is not None:
        deliver(delivery)


def deliver(
    delivery: WebhookDelivery,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    policy: OutboundPolicy | None = None,
    transport: NetworkTransport | None = None,
    chance: random.Random | None = None,
) -> bool:
    """Send it once and write down what came of it. False: somebody else has it, or it was not due.

    policy: the site's by default. chance: the source of the jitter.
    """
    if not delivery.claim(lease_seconds=LEASE_SECONDS):
        return False
    body = body_of(delivery)
    headers = signed_headers(delivery.webhook_id, int(time.time()), body, active_secrets(delivery.owner))
    sent = post_json(
        delivery.url,
        body,
        headers,
        deadline_seconds=deadline_seconds,
        policy=policy or site_policy(),
        transport=transport,
    )
    record(delivery, sent, chance or random.SystemRandom())
    return True


def record(delivery: WebhookDelivery, sent: PostResponse | PostFailure, chance: random.Random) -> None:
    """Write the try down, and with it what follows."""
    attempt = attempt_of(delivery, sent)
    retry_after = sent.retry_after if isinstance(sent, PostResponse) else None
    if attempt.status in ARRIVED:
        delivery.arrive(attempt)
    elif attempt.status == GONE:
        delivery.disable(attempt)
    elif delivery.tries >= len(PAUSES_SECONDS):
        delivery.give_up(attempt)
    else:
        delivery.try_again(attempt, pause_seconds=pause_seconds(delivery.tries, chance, retry_after))
    logger.info("%s: %s, now %s", delivery, attempt, delivery.state)


def attempt_of(delivery: WebhookDelivery, sent: PostResponse | PostFailure) -> WebhookAttempt:
    milliseconds = round(sent.seconds * 1000)
    if isinstance(sent, PostFailure):
        return WebhookAttempt(delivery=delivery, failure=sent.failure.value, milliseconds=milliseconds)
    return WebhookAttempt(delivery=delivery, status=sent.status, milliseconds=milliseconds, answer=sent.body_start)


def pause_seconds(tries: int, chance: random.Random, retry_after: str | None = None) -> float:
    """How long to wait after `tries` earlier failures and one more: by the schedule, longer where the receiver asks."""
    usual = PAUSES_SECONDS[tries] * chance.uniform(1 - JITTER, 1 + JITTER)
    return max(usual, asked_pause_seconds(retry_after, now=datetime.now(UTC)))


def asked_pause_seconds(retry_after: str | None, *, now: datetime) -> float:
    """What a Retry-After header (RFC 9110 section 10.2.3) asks for, 24 hours at most; 0 where it asks for nothing."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def body_of(delivery: WebhookDelivery) -> bytes:
    """JSON, the same for every try: what happened and where to read more; never the pictures themselves.

    `sequence` grows from one message to the next; they may arrive in another order.
    """
    data: dict[str, Any] = {**delivery.data, "sequence": delivery.pk}
    if "id" in data:
        data["url"] = reverse("generation-detail", args=[data["id"]])
    message = {"type": delivery.event, "timestamp": delivery.created_at.isoformat(), "data": data}
    return json.dumps(message, separators=(",", ":")).encode()


def active_secrets(owner: Any) -> list[str]:
    """The texts that a message is signed with now, the present one first."""
    return [text for secret in WebhookSecret.active(owner) for text in secret.texts]


def signed_headers(webhook_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of a try. timestamp: of the try, in seconds since 1970."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(webhook_id, timestamp, body, secret) for secret in secrets),
    }


def signature(webhook_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. secret: `whsec_` and base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_START))
    signed = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"
