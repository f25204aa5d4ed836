"""The database's clock, which is the same for every worker."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now


def in_seconds(seconds: float) -> models.ExpressionWrapper:
    """The database's present time plus `seconds`, which may be negative."""
    return models.ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=models.DateTimeField())
