"""The verdict of an administrator on a generation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy, pgettext_lazy

from inpainting.database.leases import ConditionalUpdate


class Verdict(models.TextChoices):
    NONE = "", gettext_lazy("not reviewed")
    FINE = "fine", pgettext_lazy("a generation", "fine")
    ATTENTION = "attention", pgettext_lazy("a generation", "needs attention")
    REMOVED = "removed", pgettext_lazy("a generation", "removed")


class Reviewed(ConditionalUpdate):
    """The present verdict; the former ones are in the audit log."""

    verdict = models.CharField(
        max_length=10, choices=Verdict.choices, blank=True, default=Verdict.NONE, editable=False,
        help_text="removed: its owner can no longer open it",
    )  # fmt: skip
    review_note = models.TextField(
        blank=True, default="", editable=False, help_text="removed: the reason, for the owner"
    )
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    reviewed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    def review(self, verdict: Verdict, *, note: str, by: Any) -> bool:
        """Replace the verdict. False if the generation was deleted meanwhile."""
        return self._update_where(models.Q(), verdict=verdict, review_note=note, reviewed_by=by, reviewed_at=Now())

    @property
    def is_removed(self) -> bool:
        return self.verdict == Verdict.REMOVED
