"""The ledger of accepted actions of the last day. Limits count its entries, so a deletion does not lower the usage."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone


class Act(models.TextChoices):
    """The kinds of action that are recorded."""

    GENERATION = "generation"
    ANALYSIS = "analysis"
    WEBHOOK = "webhook"  # sent by hand: a test or a redelivery
    DELETION = "deletion"  # counted by no limit


class LedgerEntry(models.Model):
    """One accepted action. Written in the accepting transaction, kept for as long as any limit counts it."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    act = models.CharField(max_length=10, choices=Act.choices, editable=False)
    pixels = models.PositiveBigIntegerField(default=0, editable=False, help_text="of the image")
    generation_id = models.UUIDField(null=True, editable=False, help_text="deleted generation")
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "ledger entries"
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["owner", "act", "at"])]

    def __str__(self) -> str:
        return f"{self.act} of {self.owner} at {self.at}"
