"""The workers of the site: what each serves, has and lacks, and whether it is alive, ready or drained."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce, Now

from inpainting.database.leases import ConditionalUpdate, seconds_from_now
from inpainting.engines.base import Queue
from inpainting.worker_name import WORKER

BEAT_SECONDS = 60.0 if settings.IS_ALONE else min(10.0, settings.LEASE_SECONDS / 3)
"""The interval between the heartbeats of a worker. One that is alone tells nobody, but its own pages."""
DEAD_SECONDS = 3 * BEAT_SECONDS
"""The time without a heartbeat after which a worker is taken for dead."""
REMEMBERED_SECONDS = 300.0
"""For how long a worker that stopped or died is expected to come back with its models: a restart takes no longer."""
STATE_COLUMNS = ("is_drained", "problem", "seen_at", "stopped_at")
"""The columns from which the state follows."""


class Worker(ConditionalUpdate):
    """A process that serves queues. Its row is written by the process itself, but for `is_drained`.

    The child that follows another of the same parent takes over its row, and so stays drained. Times are the
    database's. A row that is older than REMEMBERED_SECONDS means nothing; the next worker that starts deletes it.
    """

    name = models.CharField(max_length=300, unique=True, editable=False, help_text="as in the leases that it holds")
    parent = models.CharField(max_length=300, unique=True, editable=False)
    queues = models.JSONField(default=list, editable=False, help_text="names as in --queues")
    cpu_slots = models.PositiveSmallIntegerField(default=0, editable=False, help_text="generations at once")
    gpu_slots = models.PositiveSmallIntegerField(default=0, editable=False, help_text="generations at once")
    device = models.CharField(max_length=60, blank=True, editable=False, help_text="of diffusion models")
    memory_bytes = models.BigIntegerField(null=True, editable=False, help_text="of the device")
    loadable = models.JSONField(default=list, editable=False, help_text="slugs of models and adapters that it can load")
    lacking = models.JSONField(
        default=dict, editable=False, help_text="slugs of others that its queues need -> why it cannot load them"
    )
    problem = models.CharField(max_length=300, blank=True, editable=False, help_text="why it claims nothing")
    is_drained = models.BooleanField(default=False, editable=False, help_text="it claims nothing until it is resumed")
    version = models.CharField(max_length=40, blank=True, editable=False)
    started_at = models.DateTimeField(editable=False)
    seen_at = models.DateTimeField(editable=False)
    stopped_at = models.DateTimeField(null=True, editable=False)

    is_live: bool
    """Whether it runs, by the clock of the database; only of rows of `recent` and `live`."""

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    # Mutators

    @classmethod
    def register(cls, *, parent: str, **columns: Any) -> None:
        """Write the row of this process, and delete those that mean nothing any more."""
        cls.objects.exclude(parent=parent).exclude(cls._recent()).delete()
        started = {"name": WORKER, "started_at": Now(), "seen_at": Now(), "stopped_at": None}
        cls.objects.update_or_create(parent=parent, defaults={**started, **columns})

    @classmethod
    def beat(cls, **changes: Any) -> bool:
        """Record that this process is alive, and what has changed. False: it has no row."""
        return bool(cls.objects.filter(name=WORKER).update(seen_at=Now(), **changes))

    @classmethod
    def sign_off(cls) -> None:
        """Record that this process stops."""
        cls.objects.filter(name=WORKER).update(stopped_at=Now())

    def drain(self) -> bool:
        """Let it claim nothing any more; what it runs goes on. False: it is drained already, or gone."""
        return self._update_where(models.Q(is_drained=False), is_drained=True)

    def resume(self) -> bool:
        """Let it claim again. False: it is not drained, or gone."""
        return self._update_where(models.Q(is_drained=True), is_drained=False)

    # Queries

    @classmethod
    def _recent(cls) -> models.Q:
        """Rows of live workers, and of those that may come back."""
        return models.Q(name=WORKER) if settings.IS_ALONE else cls._seen_within(REMEMBERED_SECONDS)

    @classmethod
    def _is_live(cls) -> models.Q:
        """Rows of workers that run. Where one is alone, that is the one with a row."""
        runs = models.Q(stopped_at=None)
        return runs if settings.IS_ALONE else runs & cls._seen_within(DEAD_SECONDS)

    @staticmethod
    def _seen_within(seconds: float) -> models.Q:
        """Rows with a heartbeat at most so long ago; one in the future is older than a change of the clock."""
        return models.Q(seen_at__gt=seconds_from_now(-seconds), seen_at__lt=seconds_from_now(seconds))

    @classmethod
    def recent(cls) -> models.QuerySet[Worker]:
        """Return the live workers, and those that stopped or died at most REMEMBERED_SECONDS ago, with `is_live`."""
        known = cls._default_manager.all() if settings.IS_ALONE else cls._default_manager.filter(cls._recent())
        columns: dict[str, Any] = {"is_live": models.ExpressionWrapper(cls._is_live(), models.BooleanField())}
        return known.annotate(**columns)

    @classmethod
    def live(cls) -> models.QuerySet[Worker]:
        """Return the workers that run."""
        return cls.recent().filter(cls._is_live())

    @classmethod
    def others(cls) -> models.QuerySet[Worker]:
        """Return the recent workers but this process."""
        return cls.recent().exclude(name=WORKER)

    @classmethod
    def drained_here(cls) -> models.Exists:
        """Return a condition for queries: whether this process is drained."""
        return models.Exists(cls._default_manager.filter(name=WORKER, is_drained=True))

    @classmethod
    def count_slots(cls, queue: Queue) -> int:
        """Return how many generations of a queue the live workers run at once that may claim some."""
        claiming = cls.live().filter(is_drained=False, problem="")
        total: int = claiming.aggregate(total=Coalesce(models.Sum(f"{queue}_slots"), 0))["total"]
        return total

    # Properties

    @property
    def host(self) -> str:
        """The name of its machine, or container."""
        return self.name.partition(":")[0]

    @property
    def slots(self) -> dict[str, int]:
        """How many generations it runs at once, by queue."""
        return {Queue.CPU: self.cpu_slots, Queue.GPU: self.gpu_slots}

    @property
    def state(self) -> str:
        """The state in words, of a row of `recent` or `live`."""
        if not self.is_live:
            return "not answering" if self.stopped_at is None else "stopped"
        if self.is_drained:
            return "drained"
        return "not ready" if self.problem else "ready"
