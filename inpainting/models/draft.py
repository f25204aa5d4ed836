"""The editor's draft of a user: its document, with a revision, and the files that the document names."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.core.files import File
from django.db import models
from django.db.models.signals import post_delete

from inpainting.core.geometry import Size
from inpainting.models.images import StoredImage, delete_files_of


class DraftImage(StoredImage):
    """A photo, mask or selection of a draft: the file as it was sent, named by its SHA-256."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="draft_images")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "sha256"], name="one_draft_picture_per_file")
        ]

    @classmethod
    def from_file(cls, owner: Any, file: File, *, sha256: str, extension: str, size: Size) -> DraftImage:
        """Write the file to storage; the row is not saved yet."""
        image = cls(owner=owner, sha256=sha256, byte_count=file.size, width=size.width, height=size.height)
        image.file.save(f"image.{extension}", file, save=False)
        return image

    @property
    def extension(self) -> str:
        """The format in small letters, such as png, jpeg or heic."""
        return str(self.file.name).rpartition(".")[2]


class Draft(models.Model):
    """What a user has open in the editor. An emptied draft keeps its row, so that revisions never repeat."""

    owner = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="draft")
    revision = models.PositiveBigIntegerField(default=0, help_text="one more with every change")
    # Text, as PostgreSQL's jsonb refuses U+0000, and no query reads inside the document.
    document = models.TextField(blank=True, help_text="JSON; empty: there is none")
    images = models.ManyToManyField(DraftImage, related_name="drafts", help_text="files that the document names")
    saved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"draft of {self.owner}, revision {self.revision}"


post_delete.connect(delete_files_of, sender=DraftImage)
