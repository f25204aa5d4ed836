"""The rows of start-time fair queueing: see `inpainting.database.fair_tags`."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class VirtualTime(models.Model):
    """The virtual time of a queue: the largest start tag of a generation that was started."""

    queue = models.CharField(max_length=10, primary_key=True)
    tag = models.BigIntegerField(default=0)


class Flow(models.Model):
    """The generations of one user in one queue. Its row is locked while one is added.

    next_tag: the end of the last slot. next_single_tag: the earliest start of the next single generation; every slot
    behind it belongs to a batch. started_tag: the end of the last slot whose generation was started.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    queue = models.CharField(max_length=10)
    next_tag = models.BigIntegerField(default=0)
    next_single_tag = models.BigIntegerField(default=0)
    started_tag = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "queue"], name="one_flow_per_owner_and_queue")
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["queue", "-started_tag"])]

    def __str__(self) -> str:
        return f"flow of user {self.owner_id} in {self.queue}"
