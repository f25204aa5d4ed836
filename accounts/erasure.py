"""Erases what the deletion of a user's rows leaves: lines of the admin's history, and bytes in SQLite's log."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import Error, connection, transaction
from django.db.models.signals import pre_delete

from accounts.audit import AuditEntry, account_name
from accounts.locks import lock_timeout
from accounts.models import User

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 1.0
"""How long a checkpoint waits for readers; writers wait as long for the checkpoint."""


def connect_signals() -> None:
    """Users are deleted on the account page, in the admin and by programs: a signal is what all of them send."""
    pre_delete.connect(_on_user_deleted, sender=User, dispatch_uid="accounts.erasure")


def _on_user_deleted(instance: User, **_: Any) -> None:
    erase_from_admin_history(instance)
    transaction.on_commit(truncate_write_ahead_log, robust=True)


def erase_from_admin_history(user: User) -> None:
    """Leave the number of the account alone in Django's rows about it and about what belongs to it.

    They hold `str` of the objects: addresses, names of keys, a browser's address. The audit log says which they are.
    """
    theirs = AuditEntry.objects.filter(subject=user.pk).values_list("target_type", "target_id").distinct()
    ids: dict[str, list[str]] = {user._meta.label_lower: [str(user.pk)]}
    for target_type, target_id in theirs:
        ids.setdefault(target_type, []).append(target_id)
    for target_type, object_ids in ids.items():
        app_label, _, model = target_type.partition(".")
        kind = ContentType.objects.filter(app_label=app_label, model=model)
        LogEntry.objects.filter(content_type__in=kind, object_id__in=object_ids).update(
            object_repr=account_name(user.pk, None), change_message=""
        )


def truncate_write_ahead_log() -> bool:
    """Empty the file `-wal` of SQLite, which keeps deleted rows until they are overwritten. Best effort.

    False: somebody reads or writes, so it has to be called again. Call it outside of transactions.
    """
    if connection.vendor != "sqlite":
        return True
    try:
        with lock_timeout(CHECKPOINT_SECONDS), connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (is_busy, *_) = cursor.fetchone()
    except Error as error:
        logger.warning("The write-ahead log is emptied later: %s", error)
        return False
    return not is_busy
