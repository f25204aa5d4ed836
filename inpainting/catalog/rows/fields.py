"""Columns that models and LoRAs share."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy

from inpainting.core.settings_table import RANGES
from inpainting.core.validation import SLUG


def slug_field() -> models.CharField:
    return models.CharField(
        max_length=64,
        unique=True,
        help_text=gettext_lazy("name in the API: a-z, 0-9, full stop, underscore, hyphen"),
        validators=[
            RegexValidator(SLUG, gettext_lazy("Use 1 to 64 of a-z 0-9 . _ - and begin with a letter or a digit."))
        ],
    )


def range_validators(setting: str, kind: type[int] | type[float]) -> list[MinValueValidator | MaxValueValidator]:
    """The range of that setting, as numbers of that type."""
    lowest, highest = RANGES[setting]
    return [MinValueValidator(kind(lowest)), MaxValueValidator(kind(highest))]
