"""Retention: how long generations are kept. Without a row they are kept for ever."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext, gettext_lazy

MAX_DAYS = 36_500


class Retention(models.Model):
    """The retention that a user chose, or, without a user, the maximum for all users; the shorter one applies."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="retention",
        help_text=gettext_lazy("empty: the maximum for all users"),
    )  # fmt: skip
    days = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(MAX_DAYS)],
        help_text=gettext_lazy("days after its end until a generation is deleted with its images; empty: never"),
    )  # fmt: skip

    class Meta:
        verbose_name = verbose_name_plural = "retention"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(models.Value(1), condition=models.Q(user=None), name="one_retention_for_everybody"),
            models.CheckConstraint(condition=models.Q(days=None) | models.Q(days__gte=1), name="retention_of_a_day"),
        ]

    def __str__(self) -> str:
        return gettext("retention of {user}").format(user=self.user or gettext("everybody"))

    def clean(self) -> None:
        """Refuse a user's retention that is longer than the maximum."""
        longest = Retention.maximum()
        if self.user_id is not None and self.days is not None and longest is not None and self.days > longest:
            message = gettext("At most {longest} days are allowed, not {days}.")
            raise ValidationError({"days": message.format(longest=longest, days=self.days)})

    @classmethod
    def set(cls, user: Any, days: int | None) -> Retention:
        """Set the retention of a user, or with None the maximum for all users.

        days: None for as long as is allowed.

        Raises ValidationError for less than a day and for more than the maximum.
        """
        retention = cls.objects.filter(user=user).first() or cls(user=user)
        retention.days = days
        retention.full_clean()
        retention.save()
        return retention

    @classmethod
    def maximum(cls) -> int | None:
        """Return the maximum for all users in days; None: for ever."""
        return cls.objects.filter(user=None).values_list("days", flat=True).first()

    @classmethod
    def for_user(cls, user: Any) -> int | None:
        """Return the number of days after which a user's generations are deleted; None: never."""
        rows = cls.objects.filter(models.Q(user=user) | models.Q(user=None), days__isnull=False)
        return min(rows.values_list("days", flat=True), default=None)
