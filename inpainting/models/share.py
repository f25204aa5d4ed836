"""Links by which anybody may open one result, until they expire or their owner revokes them."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from inpainting.models.images import GeneratedImage

MAX_NAME_CHARACTERS = 100


class Share(models.Model):
    """A shared result. Its link contains the signed primary key, so that the database holds no link."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    image = models.ForeignKey(GeneratedImage, on_delete=models.CASCADE, related_name="shares")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    name = models.CharField(max_length=MAX_NAME_CHARACTERS, blank=True, default="", db_default="")
    shows_source = models.BooleanField(
        default=False, db_default=False, help_text="whether the page shows the photo as it was too"
    )
    has_preview = models.BooleanField(
        default=False, db_default=False, help_text="whether programs that show links may show the result (og:image)"
    )

    def __str__(self) -> str:
        return f"share of {self.image_id}"

    @property
    def is_usable(self) -> bool:
        """Whether the link works: not expired, and the owner can open the result."""
        generation, now = self.image.generation, timezone.now()
        generation_expires_at = generation.expires_at or self.expires_at
        return min(self.expires_at, generation_expires_at) > now and not generation.is_hidden
