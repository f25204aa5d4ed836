"""Leased rows: the database's clock, which is the same for every worker, and updates that may lose."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Now

LONGEST_SECONDS = 600
"""No lease and no pause lasts longer. One that ends later is older than a change of the clock to an earlier time."""


def in_seconds(seconds: float) -> models.ExpressionWrapper:
    """The database's present time plus `seconds`, which may be negative."""
    return models.ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=models.DateTimeField())


NOT_LEASED = (
    models.Q(lease_until=None)
    # Not Now(), which SQLite compares as text: without the microseconds that stored times have.
    | models.Q(lease_until__lte=in_seconds(0))
    | models.Q(lease_until__gt=in_seconds(LONGEST_SECONDS))
)


class ConditionalUpdate(models.Model):
    """A row whose state changes by one UPDATE each, which has no effect where its condition no longer holds."""

    class Meta:
        abstract = True

    def _update_where(self, condition: models.Q, **changes: Any) -> bool:
        """Change the row if the condition holds, and read the changed columns again. False if it does not."""
        with transaction.atomic(savepoint=False):
            if not type(self)._default_manager.filter(condition, pk=self.pk).update(**changes):
                return False
            self.refresh_from_db(fields=list(changes))
        return True
