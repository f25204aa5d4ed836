"""The Idempotency-Key header of requests that are recognised by their whole body."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from rest_framework.request import Request

from inpainting.generations.idempotency import Idempotency, digest_of
from inpainting.models import Generation


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
