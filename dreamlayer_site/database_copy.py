"""Copy all rows from one database to another, such as SQLite to PostgreSQL, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import DEFAULT_DB_ALIAS, connections, models, transaction
from django.db.migrations.recorder import MigrationRecorder

from accounts.models import User
from inpainting.database import owner_totals

ROWS_AT_ONCE = 500
SOURCE = "source"
"""The alias of the database that is read."""


class CopyRefused(Exception):
    """The two databases do not fit."""


def connect_source(settings: dict[str, Any]) -> None:
    """Add the database to those of this process, under the alias SOURCE."""
    described = {DEFAULT_DB_ALIAS: connections.databases[DEFAULT_DB_ALIAS], SOURCE: settings}
    connections.databases[SOURCE] = connections.configure_settings(described)[SOURCE]


def copy_rows() -> dict[str, int]:
    """Copy all rows of SOURCE to the default database, with their keys. Return the number of each table's rows.

    The target has been migrated and has no users; what `migrate` has added is replaced. Nothing writes to the source
    meanwhile: on SQLite, writers wait. Raises CopyRefused.
    """
    check_migrations()
    check_is_unused()
    if User.objects.exists():
        raise CopyRefused("The target has users already: copy into a new database, after “migrate”.")
    target = connections[DEFAULT_DB_ALIAS]
    copied = stored_models()
    with transaction.atomic(using=SOURCE), transaction.atomic():
        owner_totals.remove()  # which would count the rows that are copied, with their totals, again
        for model in copied:
            if model._base_manager.exists():
                model._base_manager.all()._raw_delete(DEFAULT_DB_ALIAS)  # without cascades: all rows are replaced
        counts = {model._meta.db_table: copy_model(model) for model in copied}
        with target.cursor() as cursor:
            for statement in target.ops.sequence_reset_sql(no_style(), copied):
                cursor.execute(statement)
        owner_totals.install()
    return counts


def copy_model(model: type[models.Model]) -> int:
    """Copy the rows of one table. Raw inserts, which neither set times anew nor send signals."""
    fields = [field for field in model._meta.local_concrete_fields if not getattr(field, "generated", False)]
    source: Iterator[models.Model] = model._base_manager.using(SOURCE).order_by("pk").iterator(ROWS_AT_ONCE)
    count = 0
    while rows := list(islice(source, ROWS_AT_ONCE)):
        insert = model._base_manager._insert  # type: ignore[attr-defined]  # as Model.save_base, which loaddata calls
        insert(rows, fields=fields, using=DEFAULT_DB_ALIAS, raw=True)
        count += len(rows)
    return count


def stored_models() -> list[type[models.Model]]:
    """Return all models with a table of their own, with those of many-to-many relations."""
    found = apps.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and not model._meta.proxy]


def check_is_unused() -> None:
    """Raise CopyRefused if other sessions use the source: a server would write to the rows behind those copied.

    SQLite has none; its server locks the data folder.
    """
    if connections[SOURCE].vendor != "postgresql":
        return
    with connections[SOURCE].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        (others,) = cursor.fetchone()
    if others:
        raise CopyRefused(f"{others} other sessions use the source: stop all processes of the server first.")


def check_migrations() -> None:
    """Raise CopyRefused unless the same migrations have been applied to both."""
    source, target = (set(MigrationRecorder(connections[alias]).applied_migrations()) for alias in (SOURCE, "default"))
    if not target:
        raise CopyRefused("The target has no tables: run “migrate” first.")
    if source != target:
        names = ", ".join(f"{app}.{name}" for app, name in sorted(source ^ target))
        raise CopyRefused(f"These migrations were applied to one of the two databases only: {names}.")
