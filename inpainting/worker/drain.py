"""Drain a worker, so that it claims nothing and can be stopped without haste, and resume it; both are audited."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.audit import Action
from accounts.models import AuditEntry
from inpainting.models import Worker


def drain(worker: Worker, *, by: Any = None) -> bool:
    """Let the worker claim nothing any more. False: it is drained already, or gone. by: None on the command line."""
    with transaction.atomic():
        return worker.drain() and _record(worker, by)


def resume(worker: Worker, *, by: Any = None) -> bool:
    """Let the worker claim again. False: it is not drained, or gone. by: as of `drain`."""
    with transaction.atomic():
        return worker.resume() and _record(worker, by)


def _record(worker: Worker, by: Any) -> bool:
    before, after = {"is_drained": not worker.is_drained}, {"is_drained": worker.is_drained}
    AuditEntry.record(by, Action.CHANGED, worker, note=worker.name, before=before, after=after)
    return True
