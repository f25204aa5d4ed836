"""The figures of the dashboard: queue, workers, failures, times, storage, models, audit log.

The number of queries does not depend on the number of rows, and each reads an index or the rows of the last days.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Min, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import AuditEntry
from inpainting.database.fair_tags import queued_models
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import (
    Generation,
    InferenceModel,
    ModelState,
    OwnerTotals,
    Status,
    Verdict,
)
from inpainting.translation import translated

DAY, WEEK = timedelta(days=1), timedelta(days=7)
MAX_RUNNING, MAX_TIMES, MAX_CODES, MAX_ENTRIES = 20, 2_000, 12, 10


@admin.site.admin_view
def dashboard_page(request: HttpRequest) -> HttpResponse:
    """Return the first page of the admin."""
    return admin.site.index(request, dashboard(request.user))


def dashboard(user: Any) -> dict[str, Any]:
    """Return the context of the dashboard, with what the user may see."""
    now = timezone.now()
    may_see, totals = user.has_perm("inpainting.view_generation"), OwnerTotals.of_all()
    return {
        "section": "dashboard",
        "now": now,
        "queues": queues(now) if may_see else [],
        "running": running(now) if may_see else [],
        "failures": failures(now) if may_see else [],
        "times": times(now) if may_see else [],
        "to_review": count_reviews(totals) if may_see else None,
        "storage": storage(totals["stored_bytes"]) if may_see else None,
        "models": models() if user.has_perm("inpainting.view_inferencemodel") else None,
        "entries": entries() if user.has_perm("accounts.view_auditentry") else None,
    }


def queues(now: datetime) -> list[dict[str, Any]]:
    """Return for each queue how much waits, the seconds that the oldest waits, how much runs."""
    queued, runs = Q(status=Status.QUEUED), Q(status=Status.RUNNING)
    counted: dict[str, Any] = {}
    for model in queued_models():
        live = model.objects.filter(queued | runs, finished_at=None).order_by().values("queue")
        for row in live.annotate(
            waiting=Count("pk", filter=queued),
            running=Count("pk", filter=runs),
            oldest=Min("created_at", filter=queued),
        ):
            counted[row["queue"]] = row
    rows = []
    for queue in Queue:
        found = counted.get(queue, {"waiting": 0, "running": 0, "oldest": None})
        oldest = found["oldest"]
        rows.append({
            "name": queue.value,
            "waiting": found["waiting"],
            "running": found["running"],
            "oldest_seconds": None if oldest is None else max(0.0, (now - oldest).total_seconds()),
        })  # fmt: skip
    return rows


def running(now: datetime) -> list[dict[str, Any]]:
    """Return the running generations by worker, and the seconds until their leases end, negative after that."""
    rows = Generation.objects.filter(status=Status.RUNNING).order_by("worker", "started_at")[:MAX_RUNNING]
    return [
        {
            "generation": generation,
            "engine": translated(registry.label(generation.engine)),
            "seconds": (now - generation.started_at).total_seconds() if generation.started_at else None,
            "lease_seconds": (generation.lease_until - now).total_seconds() if generation.lease_until else None,
        }
        for generation in rows
    ]


def failures(now: datetime) -> list[Mapping[str, Any]]:
    """Return the most frequent error codes of the last week, with their numbers in the last day and week."""
    failed = Generation.objects.filter(status=Status.FAILED, created_at__gte=now - WEEK).order_by()
    counted = failed.values("error_code").annotate(
        day=Count("pk", filter=Q(created_at__gte=now - DAY)), week=Count("pk")
    )
    return list(counted.order_by("-week", "error_code")[:MAX_CODES])


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """The seconds from start to end of an engine's recent generations."""

    engine: str
    count: int
    median: float
    p95: float


def times(now: datetime) -> list[EngineTimes]:
    """Return the times of the generations of the last week, at most the last MAX_TIMES, by engine."""
    recent = Generation.objects.filter(status=Status.SUCCEEDED, created_at__gte=now - WEEK).order_by("-created_at")
    seconds: dict[str, list[float]] = defaultdict(list)
    for engine, started, finished in recent.values_list("engine", "started_at", "finished_at")[:MAX_TIMES]:
        if started and finished:
            seconds[engine].append(max(0.0, (finished - started).total_seconds()))
    return [
        EngineTimes(translated(registry.label(engine)), len(found), percentile(found, 50), percentile(found, 95))
        for engine, found in sorted(seconds.items())
    ]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return, by the nearest-rank method, the smallest value that `percent` of the values do not exceed."""
    rank = -(-len(values) * percent // 100)
    return sorted(values)[max(0, rank - 1)]


def count_reviews(totals: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers of generations with a verdict."""
    return {verdict.value: totals[verdict.value] for verdict in Verdict if verdict.value}


def storage(stored_bytes: int) -> dict[str, Any]:
    """Free and total bytes of the data folder's disk, and the bytes of all stored images."""
    folder = Path(settings.DATA_DIR)
    usage = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
    return {"free": usage.free, "total": usage.total, "used": usage.total - usage.free, "stored": stored_bytes}


def models() -> dict[str, Any]:
    """Return the models that are installed, being downloaded, failed, and loaded by this process.

    Each installed one with whether it is loaded, and the reason why it could not be before its first request, if so.
    """
    rows = list(InferenceModel.objects.exclude(state=ModelState.NOT_INSTALLED).order_by("label"))
    loaded, failures = registry.loaded_models(), registry.early_failures()
    return {
        "installed": [
            (row, row.slug in loaded, failures.get(row.slug, "")) for row in rows if row.state == ModelState.INSTALLED
        ],
        "others": [row for row in rows if row.state != ModelState.INSTALLED],
    }


def entries() -> list[AuditEntry]:
    """Return the newest entries of the audit log."""
    return list(AuditEntry.objects.select_related("actor", "subject")[:MAX_ENTRIES])
