"""Requests that are recognised as repeated: by the header Idempotency-Key, or by their whole body."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.http import QueryDict
from django.utils import timezone
from rest_framework.request import Request

from inpainting.generations import history
from inpainting.generations.idempotency import Idempotency, digest_of
from inpainting.models import Generation

RETRY_HEADER = "x-stainless-retry-count"
"""Sent by client libraries such as OpenAI's with every request: how often it was sent before."""
REPEATED_FOR = timedelta(seconds=60)
"""How long after its end a generation answers a repeated request."""
LONGEST_WAIT = timedelta(hours=1)
"""For a response, of a client; bounds the search for the first request."""


class RepeatedRequest(Exception):
    """Raised for a request that was accepted before, by its idempotency key."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(str(generation.pk))
        self.generation = generation


def read_idempotency(request: Request, *, api_key_field: str = "") -> Idempotency | None:
    """Return the key with the digest of path and body; None without the header. Call it before any image is read.

    api_key_field: the field of the body that holds the caller's API key, and is not in the digest.
    Raises RepeatedRequest for a request that was accepted before, and InvalidRequest for a key of another request.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    idempotency = Idempotency(key, body_digest(request, api_key_field))
    earlier = idempotency.earlier(request.user)
    if earlier is not None:
        raise RepeatedRequest(earlier)
    return idempotency


def body_digest(request: Request, api_key_field: str) -> str:
    """Return SHA-256, in hexadecimal, of the path and the body; independent of the order of its fields."""
    data: Any = request.data
    lists = dict(data.lists()) if isinstance(data, QueryDict) else {name: [value] for name, value in data.items()}
    names = sorted(lists.keys() - {api_key_field})
    return digest_of(request.path.rstrip("/"), [(name, value) for name in names for value in lists[name]])


def refuse_retry(request: Request, *, service: str) -> str:
    """Return the digest of the body and the key, for the entry `body` of a generation's service_data; empty for a
    client that does not count its retries.

    Raises RepeatedRequest for a retry of a request that was accepted: such clients repeat a request whose connection
    broke, or that a proxy answered with 5xx, and send no Idempotency-Key with it.
    """
    count = request.headers.get(RETRY_HEADER)
    if count is None:
        return ""
    key = getattr(request.auth, "pk", None)
    digest, now = f"{key}-{body_digest(request, '')}", timezone.now()
    if count != "0":
        answers = Q(finished_at=None) | Q(finished_at__gt=now - REPEATED_FOR)
        sent = history.for_user(request.user).filter(answers, service=service, created_at__gt=now - LONGEST_WAIT)
        first = sent.filter(service_data__body=digest).first()
        if first is not None:
            raise RepeatedRequest(first)
    return digest
