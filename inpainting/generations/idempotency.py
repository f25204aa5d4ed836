"""The same Idempotency-Key is the same generation or batch, however often and however parallel it is sent.

After Stripe's: the request that came with the key is compared, and nothing is kept of one that was refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inpainting.core.errors import InvalidRequest
from inpainting.models import Batch, Generation, IdempotencyKey

MAX_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key and the SHA-256 of the request that came with it, in hexadecimal."""

    key: str
    digest: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= MAX_CHARACTERS:
            raise InvalidRequest(
                f"Idempotency-Key has {len(self.key)} characters; 1 to {MAX_CHARACTERS} are allowed.",
                field="Idempotency-Key",
                limit=MAX_CHARACTERS,
                actual=len(self.key),
            )

    def earlier(self, owner: Any) -> Generation | None:
        """The generation that this key made before. Raises InvalidRequest where that was another request."""
        known = self._known(owner)
        return None if known is None else known.generation

    def earlier_batch(self, owner: Any) -> Batch | None:
        """The batch that this key made before. Raises InvalidRequest where that was another request."""
        known = self._known(owner)
        return None if known is None else known.batch

    def _known(self, owner: Any) -> IdempotencyKey | None:
        known = IdempotencyKey.objects.select_related("generation", "batch").filter(owner=owner, key=self.key).first()
        if known is not None and known.digest != self.digest:
            raise InvalidRequest(
                "This Idempotency-Key came with another request before; a new request needs a new key.",
                code="idempotency_key_reused",
                field="Idempotency-Key",
            )
        return known

    def remember(self, generation: Generation) -> None:
        """Keep it, in the accepting transaction. Raises IntegrityError where another request was first."""
        IdempotencyKey.objects.create(owner=generation.owner, key=self.key, digest=self.digest, generation=generation)

    def remember_batch(self, batch: Batch) -> None:
        """As `remember`."""
        IdempotencyKey.objects.create(owner=batch.owner, key=self.key, digest=self.digest, batch=batch)
