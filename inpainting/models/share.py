"""Links by which anybody may open one image, until they expire or their owner revokes them."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.signals import post_delete
from django.urls import reverse
from django.utils import timezone

from inpainting.core.codecs import encode_png
from inpainting.core.credentials import Origin
from inpainting.core.image import CanonicalImage
from inpainting.models.generation import Generation
from inpainting.models.images import GeneratedImage, SignedImage, SourceImage, delete_files_of
from inpainting.models.review import Verdict
from inpainting.models.stack import Stack

MAX_NAME_CHARACTERS = 100


class SharedLink(models.Model):
    """What every link has. It contains the signed primary key, so that the database holds no link."""

    OWNER: ClassVar[str]
    """The look-up of who shares it."""
    READ_WITH_IT: ClassVar[tuple[str, ...]]
    """The rows that its page shows, too."""
    shows_steps: ClassVar[bool]
    """Whether it shows the steps of a photo together, not one result."""

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

    @property
    def image(self) -> SignedImage:
        """What the link shows."""
        raise NotImplementedError

    @property
    def source(self) -> SourceImage:
        """The photo as it was."""
        return self.image.source

    @property
    def is_usable(self) -> bool:
        """Whether the link works: not expired, and the owner can open all that it shows."""
        raise NotImplementedError

    @property
    def listed_at(self) -> str:
        """The path of the page where its owner finds it."""
        raise NotImplementedError


class Share(SharedLink):
    """A shared result."""

    OWNER, READ_WITH_IT, shows_steps = "image__generation__owner", ("image__generation__source",), False

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    image = models.ForeignKey(GeneratedImage, on_delete=models.CASCADE, related_name="shares")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"share of {self.image_id}"

    @property
    def listed_at(self) -> str:
        return reverse("generation", args=[self.image.generation_id]) + "#share"

    @property
    def is_usable(self) -> bool:
        generation, now = self.image.generation, timezone.now()
        generation_expires_at = generation.expires_at or self.expires_at
        return min(self.expires_at, generation_expires_at) > now and not generation.is_hidden


# Keys to earlier tables are not constrained: a version without this one deletes users and generations without its rows.


class StackShare(SharedLink, SignedImage):
    """A shared image of a photo's steps: what they showed together when it was shared."""

    OWNER, READ_WITH_IT, shows_steps = "owner", ("source",), True

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
        return self

    @property
    def origin(self) -> Origin:
        return Origin.restored(self.report)

    @property
    def listed_at(self) -> str:
        return reverse("stack-share", args=[self.stack_id])

    @property
    def is_usable(self) -> bool:
        now = timezone.now()
        expired = models.Q(expires_at__lte=now)
        open_ones = self.generations.filter(deleted_at=None).exclude(expired).exclude(verdict=Verdict.REMOVED)
        return self.expires_at > now and open_ones.count() == self.report.get("generations")


post_delete.connect(delete_files_of, sender=StackShare)
