"""Links by which anybody may open one image, until they expire or their owner revokes them."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.signals import post_delete
from django.utils import timezone

from inpainting.core.codecs import encode_png
from inpainting.core.image import CanonicalImage
from inpainting.models.generation import Generation
from inpainting.models.images import GeneratedImage, SignedImage, SourceImage, delete_files_of
from inpainting.models.review import Verdict
from inpainting.models.stack import Stack

MAX_NAME_CHARACTERS = 100


class SharedLink(models.Model):
    """What every link has. It contains the signed primary key, so that the database holds no link."""

    expires_at = models.DateTimeField(db_index=True)
    name = models.CharField(max_length=MAX_NAME_CHARACTERS, blank=True, default="", db_default="")
    shows_source = models.BooleanField(
        default=False, db_default=False, help_text="whether the page shows the photo as it was too"
    )
    has_preview = models.BooleanField(
        default=False, db_default=False, help_text="whether programs that show links may show the result (og:image)"
    )

    class Meta:
        abstract = True


class Share(SharedLink):
    """A shared result."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    image = models.ForeignKey(GeneratedImage, on_delete=models.CASCADE, related_name="shares")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"share of {self.image_id}"

    @property
    def source(self) -> SourceImage:
        """The photo as it was."""
        return self.image.generation.source

    @property
    def is_usable(self) -> bool:
        """Whether the link works: not expired, and the owner can open the result."""
        generation, now = self.image.generation, timezone.now()
        generation_expires_at = generation.expires_at or self.expires_at
        return min(self.expires_at, generation_expires_at) > now and not generation.is_hidden


# Keys to earlier tables are not constrained: the released version deletes users and generations without these rows.


class StackShare(SharedLink, SignedImage):
    """A shared image of a photo's steps: what they showed together when it was shared."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="stack_shares", db_constraint=False
    )
    stack = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="shares", db_constraint=False)
    source = models.ForeignKey(SourceImage, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    generations = models.ManyToManyField(
        Generation, related_name="stack_shares", db_constraint=False, help_text="the photo's, and those that are seen"
    )
    report = models.JSONField(
        default=dict, help_text="what was done, what Content Credentials say about it, and of how many generations"
    )

    def __str__(self) -> str:
        return f"share of {self.stack_id}"

    @classmethod
    def from_image(cls, canonical: CanonicalImage, **values: Any) -> StackShare:
        """Write the file to storage, with the metadata of the image; the row is not saved yet."""
        shared = cls(**values)
        shared.write(encode_png(canonical, metadata=canonical.metadata), canonical)
        return shared

    @property
    def image(self) -> StackShare:
        """What the link shows."""
        return self

    @property
    def is_usable(self) -> bool:
        """Whether the link works: not expired, and the owner can open all that is seen, and the photo."""
        now = timezone.now()
        expired = models.Q(expires_at__lte=now)
        open_ones = self.generations.filter(deleted_at=None).exclude(expired).exclude(verdict=Verdict.REMOVED)
        return self.expires_at > now and open_ones.count() == self.report.get("generations")


post_delete.connect(delete_files_of, sender=StackShare)
