"""Limits on what a user may request. There are none until an administrator sets them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext, gettext_lazy

from inpainting.database.compiled_query import CompiledQuery, Parameter


class UserLimits(models.Model):
    """The limits of one user, or, without a user, of all users without a row of their own. Empty: no limit."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="limits",
        help_text=gettext_lazy("empty: for all users without limits of their own"),
    )  # fmt: skip
    waiting = models.PositiveIntegerField(
        null=True, blank=True, help_text=gettext_lazy("generations queued or running at once")
    )
    per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text=gettext_lazy("generations accepted in a minute")
    )
    per_day = models.PositiveIntegerField(
        null=True, blank=True, help_text=gettext_lazy("generations accepted in 24 hours")
    )
    megapixels_per_day = models.PositiveIntegerField(
        null=True, blank=True, help_text=gettext_lazy("megapixels of images accepted in 24 hours")
    )
    stored_megabytes = models.PositiveIntegerField(
        null=True, blank=True, help_text=gettext_lazy("stored in all, in millions of bytes")
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=gettext_lazy("share of the workers' time while others wait as well: with 2 twice as much as with 1"),
    )

    class Meta:
        verbose_name = verbose_name_plural = "limits"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                models.Value(1), condition=models.Q(user=None), name="one_row_of_limits_for_everybody"
            )
        ]

    def __str__(self) -> str:
        return gettext("limits of {user}").format(user=self.user or gettext("everybody"))

    @classmethod
    def for_user(cls, user: Any) -> UserLimits | None:
        """Return the limits that apply to a user, or None."""
        return next(iter(_of_user.instances(user=user.pk)), None)


def _rows_for_user() -> models.QuerySet[UserLimits]:
    user = Parameter("user", UserLimits._meta.get_field("user"))
    rows = UserLimits.objects.filter(models.Q(user=user) | models.Q(user=None))
    return rows.order_by(models.F("user").asc(nulls_last=True))[:1]


_of_user = CompiledQuery(_rows_for_user)
