"""Idempotency keys: a repeated key returns the same generation, batch, mask or analysis, however often it is sent.

As in Stripe's API: the request is compared with the first one of that key, and refused requests are not remembered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone

from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.models import Analysis, Batch, Generation, IdempotencyKey, UploadedImage

MAX_CHARACTERS = 255


def digest_of(start: str, parts: Iterable[tuple[str, Any]]) -> str:
    """Return SHA-256, in hexadecimal, of a text and the named parts of a body: uploaded files, and values of JSON."""
    digest = hashlib.sha256(start.encode())
    for name, value in parts:
        if not isinstance(value, UploadedFile):
            digest.update(json.dumps([name, value], sort_keys=True).encode())
            continue
        digest.update(json.dumps([name, value.size]).encode())
        for chunk in value.chunks():
            digest.update(chunk)
        value.seek(0)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A key and the SHA-256 of its request, in hexadecimal."""

    key: str
    digest: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= MAX_CHARACTERS:
            raise InvalidRequest(
                sentence(
                    "Idempotency-Key has {count} characters; 1 to {max_characters} are allowed.",
                    count=len(self.key),
                    max_characters=MAX_CHARACTERS,
                ),
                field="Idempotency-Key",
                limit=MAX_CHARACTERS,
                actual=len(self.key),
            )

    def earlier(self, owner: Any) -> Generation | None:
        """The generation that this key created earlier. Raises InvalidRequest if the request was another."""
        known = self._known(owner)
        return None if known is None else known.generation

    def earlier_batch(self, owner: Any) -> Batch | None:
        """The batch that this key created earlier. Raises InvalidRequest if the request was another."""
        known = self._known(owner)
        return None if known is None else known.batch

    def earlier_mask(self, owner: Any) -> UploadedImage | None:
        """As `earlier`; a mask that has expired is deleted, and the key with it."""
        known = self._known(owner)
        if known is None or known.mask is None:
            return None
        if known.mask.expires_at <= timezone.now():
            known.mask.delete()
            return None
        return known.mask

    def earlier_analysis(self, owner: Any) -> Analysis | None:
        """The analysis that this key created earlier. Raises InvalidRequest if the request was another."""
        known = self._known(owner)
        return None if known is None else known.analysis

    def _known(self, owner: Any) -> IdempotencyKey | None:
        keys = IdempotencyKey.objects.select_related("generation", "batch", "mask", "analysis")
        known = keys.filter(owner=owner, key=self.key).first()
        if known is not None and known.digest != self.digest:
            raise InvalidRequest(
                sentence("This Idempotency-Key was used with another request; a new request needs a new key."),
                code="idempotency_key_reused",
                field="Idempotency-Key",
            )
        return known

    def remember(self, generation: Generation) -> None:
        """Save the key in the accepting transaction. Raises IntegrityError if a concurrent request was first."""
        IdempotencyKey.objects.create(owner=generation.owner, key=self.key, digest=self.digest, generation=generation)

    def remember_batch(self, batch: Batch) -> None:
        """As `remember`."""
        IdempotencyKey.objects.create(owner=batch.owner, key=self.key, digest=self.digest, batch=batch)

    def remember_analysis(self, analysis: Analysis) -> None:
        """As `remember`."""
        IdempotencyKey.objects.create(owner=analysis.owner, key=self.key, digest=self.digest, analysis=analysis)

    def remember_mask(self, mask: UploadedImage) -> None:
        """As `remember`."""
        IdempotencyKey.objects.create(owner=mask.owner, key=self.key, digest=self.digest, mask=mask)
