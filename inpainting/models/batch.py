"""Batches: several images of one API call, each painted as its own generation."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy

from inpainting.models.generation import Generation
from inpainting.models.queued_work import Status

REFUSED, DELETED = "refused", "deleted"
ITEM_STATES = (*Status.values, REFUSED, DELETED)
"""The states of an item: those of a generation, refused, and deleted by its owner or removed by an administrator."""


class Batch(models.Model):
    """The items of one call. A batch has no state of its own; its generations have."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="batches")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at", "-id"]
        verbose_name_plural = "batches"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner", "-created_at"]),
            models.Index(fields=["-created_at", "-id"], name="batch_newest"),
        ]

    def __str__(self) -> str:
        return f"batch {self.id}"

    @classmethod
    def emptied(cls, *, before: datetime) -> models.QuerySet[Batch]:
        """Return batches created before the given time whose generations are all deleted."""
        return cls.objects.filter(created_at__lt=before).exclude(items__generation__isnull=False)


class BatchItem(models.Model):
    """One image of a batch: its generation, or the error that refused it. Neither if the generation was deleted."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="items")
    index = models.PositiveSmallIntegerField(help_text=gettext_lazy("position in the call, from 0"))
    name = models.CharField(max_length=255, blank=True, help_text=gettext_lazy("name of the uploaded file"))
    generation = models.OneToOneField(
        Generation, on_delete=models.SET_NULL, null=True, related_name="batch_item",
        help_text=gettext_lazy("empty: refused or deleted"),
    )  # fmt: skip
    refusal = models.JSONField(
        null=True, help_text=gettext_lazy("if it was refused: message, code, field, limit, actual")
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["index"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["batch", "index"], name="one_item_per_index"),
            models.CheckConstraint(
                condition=models.Q(generation=None) | models.Q(refusal__isnull=True),
                name="refused_items_have_no_generation",
            ),
        ]

    def __str__(self) -> str:
        return f"item {self.index} of {self.batch_id}"

    def replace_generation(self, again: Generation) -> bool:
        """Replace the generation. Returns False if a concurrent call has replaced it already."""
        read: Any = self.generation
        if not BatchItem.objects.filter(pk=self.pk, generation=read).update(generation=again):
            return False
        self.generation = again
        return True

    @property
    def state(self) -> str:
        """One of ITEM_STATES."""
        if self.refusal is not None:
            return REFUSED
        return DELETED if self.generation is None or self.generation.is_hidden else self.generation.status
