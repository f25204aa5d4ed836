"""A database of the last development version goes on without change; an older one is told which comes first."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

APPS = ("accounts", "inpainting")


def first_migration(app: str) -> tuple[str, list[tuple[str, str]]]:
    """The name of the migration that makes the tables of an app, and those that it replaces, oldest first."""
    replacements = MigrationLoader(connection).replacements.values()
    [found] = [migration for migration in replacements if migration.app_label == app]
    return found.name, list(found.replaces)


@pytest.mark.django_db
def test_a_database_with_all_replaced_migrations_needs_none() -> None:
    recorder = MigrationRecorder(connection)
    squashed = [(app, first_migration(app)[0]) for app in APPS]
    for key in squashed:
        recorder.record_unapplied(*key)
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    call_command("migrate", verbosity=0, skip_checks=False)
    assert set(squashed) <= recorder.applied_migrations().keys()


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, -1], ids=["the first migration", "all but the last"])
@pytest.mark.parametrize("app", APPS)
def test_a_database_of_an_older_development_version_is_told_how_to_go_on(app: str, count: int) -> None:
    name, replaced = first_migration(app)
    recorder = MigrationRecorder(connection)
    for key in [(app, name), *replaced[count:]]:
        recorder.record_unapplied(*key)
    with pytest.raises(CommandError, match=rf"(?s)before {app}\.{replaced[-1][1]}\..*HINT: Run migrate of the last"):
        call_command("migrate", skip_checks=False)
