"""What the clients of a service have chosen, where its protocol keeps choices on the server, such as the model."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models


class ServiceOptions(models.Model):
    """The options of one API key in one service."""

    # A version without this table deletes users without these rows.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    key_prefix = models.CharField(max_length=20, blank=True, help_text="of the API key; empty: requests without a key")
    service = models.CharField(max_length=20, help_text="name of the dialect")
    options = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "key_prefix", "service"], name="one_row_of_options_per_key")
        ]

    def __str__(self) -> str:
        return f"options of {self.key_prefix or self.owner_id} in {self.service}"

    @classmethod
    def of(cls, owner: Any, key_prefix: str, service: str) -> dict[str, Any]:
        """Return the options that were stored; empty without."""
        found = cls.objects.filter(owner=owner, key_prefix=key_prefix, service=service).first()
        return {} if found is None else dict(found.options)

    @classmethod
    def store(cls, owner: Any, key_prefix: str, service: str, options: dict[str, Any]) -> None:
        cls.objects.update_or_create(owner=owner, key_prefix=key_prefix, service=service, defaults={"options": options})
