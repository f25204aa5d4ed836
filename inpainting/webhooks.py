"""Webhook delivery: sign a message, send it, record the attempt and schedule the next one.

Implements Standard Webhooks 1.0 (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
Delivery is at least once: if a process dies between sending a message and recording it, the message is sent again with
the same id.
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

from django.conf import settings
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils.module_loading import import_string

from inpainting import metrics
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.models import WebhookAttempt, WebhookDelivery, WebhookSecret
from inpainting.models.generation_request import NATIVE
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS
from inpainting.models.webhook_secret import SECRET_PREFIX
from inpainting.net import (
    NetworkTransport,
    OutboundPolicy,
    PostFailure,
    PostResponse,
    is_allowed_url,
    post_json,
    site_policy,
)
from inpainting.worker import own_threads, watchdog

logger = logging.getLogger(__name__)

HOOKS = "hooks"
"""The queue of webhooks, among those of a process and of the broker."""
WEBHOOK_WORKERS = 4
"""More than one, because a slow receiver occupies a worker for up to 15 seconds."""
DEADLINE_SECONDS = 15.0
LEASE_SECONDS = 2 * DEADLINE_SECONDS
"""A sender that has recorded no result by then is considered dead."""
HOUR = 3600.0
RETRY_SECONDS = (5.0, 300.0, 1800.0, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""Pauses after the first failed attempt, the second, and so on: the specification's schedule, 75 hours in all."""
JITTER = 0.2
MAX_RETRY_AFTER_SECONDS = 24 * HOUR
SUCCESS, GONE = range(200, 300), 410


def check_url(url: str, *, field: str) -> None:
    """Raise InvalidRequest for a URL that is not allowed. The host is not resolved here, but at each delivery."""
    if len(url) > MAX_URL_CHARACTERS or not is_allowed_url(url, site_policy()):
        raise InvalidRequest(
            sentence(
                "{field} must be an http or https URL of a public address, at most {most} characters long.",
                field=field,
                most=MAX_URL_CHARACTERS,
            ),
            code="url_not_allowed",
            field=field,
        )


def deliver_while_idle() -> None:
    """Send all deliveries that are due, unless WEBHOOK_WORKERS threads of this process do already."""
    own_threads.run(HOOKS, deliver_due, at_most=WEBHOOK_WORKERS)


def deliver_due() -> None:
    """Send all deliveries that are due, until this process is to stop."""
    while not watchdog.draining.is_set() and (delivery := WebhookDelivery.due().first()) is not None:
        deliver(delivery)


def deliver(
    delivery: WebhookDelivery,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    policy: OutboundPolicy | None = None,
    transport: NetworkTransport | None = None,
    chance: random.Random | None = None,
) -> bool:
    """Make one attempt and record it. Returns False if another sender holds the delivery or it is not due.

    A delivery without a message is deleted. policy: the site's by default. chance: the source of the jitter.
    """
    if not delivery.claim(lease_seconds=LEASE_SECONDS):
        return False
    body = message_body(delivery)
    if body is None:
        delivery.delete()
        return True
    owner = get_user_model().reference(delivery.owner_id)
    headers = signed_headers(delivery.webhook_id, int(time.time()), body, signing_secrets(owner))
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
    """Store the attempt and the delivery's new state."""
    attempt = make_attempt(delivery, sent)
    retry_after = sent.retry_after if isinstance(sent, PostResponse) else None
    if attempt.status in SUCCESS:
        delivery.mark_delivered(attempt)
    elif attempt.status == GONE:
        delivery.disable(attempt)
    elif delivery.tries >= len(RETRY_SECONDS):
        delivery.mark_failed(attempt)
    else:
        delivery.schedule_retry(attempt, pause_seconds=seconds_until_retry(delivery.tries, chance, retry_after))
    metrics.WEBHOOK_ATTEMPTS.labels("delivered" if attempt.status in SUCCESS else "failed").inc()
    logger.info("%s: %s, now %s", delivery, attempt, delivery.state)


def make_attempt(delivery: WebhookDelivery, sent: PostResponse | PostFailure) -> WebhookAttempt:
    milliseconds = round(sent.seconds * 1000)
    if isinstance(sent, PostFailure):
        return WebhookAttempt(delivery=delivery, failure=sent.failure.value, milliseconds=milliseconds)
    return WebhookAttempt(delivery=delivery, status=sent.status, milliseconds=milliseconds, answer=sent.body_start)


def seconds_until_retry(tries: int, chance: random.Random, retry_after: str | None = None) -> float:
    """Return the pause after one more failure: by the schedule, or longer if the receiver sent Retry-After.

    tries: the number of earlier failures. chance: the source of the jitter.
    """
    scheduled = RETRY_SECONDS[tries] * chance.uniform(1 - JITTER, 1 + JITTER)
    return max(scheduled, retry_after_seconds(retry_after, now=datetime.now(UTC)))


def retry_after_seconds(retry_after: str | None, *, now: datetime) -> float:
    """Parse a Retry-After header (RFC 9110 section 10.2.3). At most 24 hours; 0 for a missing or invalid header."""
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


def message_body(delivery: WebhookDelivery) -> bytes | None:
    """Return the message as JSON: for a generation of another service the one that `Dialect.webhook_body` makes now.

    None: the service sends none for this end, or the generation was deleted or removed since.
    """
    data = dict(delivery.data)
    if data.pop("service", NATIVE) == NATIVE:
        return to_json(native_message(delivery, data))
    body = None
    if delivery.generation is not None and not delivery.generation.is_removed:
        body = import_string(settings.SERVICE_WEBHOOK_BODY)(delivery.generation)
    return None if body is None else to_json(body)


def native_message(delivery: WebhookDelivery, data: dict[str, Any]) -> dict[str, Any]:
    """Return the native API's message, identical in every attempt. It contains no images, but a link to its subject.

    `sequence` increases from one message to the next, because messages can arrive out of order.
    """
    data = {**data, "sequence": delivery.pk}
    if "id" in data:
        route = "analysis" if delivery.event.startswith("analysis.") else "generation-detail"
        data["url"] = reverse(route, args=[data["id"]])
    return {"type": delivery.event, "timestamp": delivery.created_at.isoformat(), "data": data}


def to_json(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def signing_secrets(owner: Any) -> list[str]:
    """Return the texts of all valid secrets, newest first."""
    return [text for secret in WebhookSecret.active(owner) for text in secret.texts]


def signed_headers(webhook_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the three headers of an attempt. timestamp: of the attempt, in seconds since 1970."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(webhook_id, timestamp, body, secret) for secret in secrets),
    }


def signature(webhook_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """Return `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. secret: `whsec_` and base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"
