"""A database of the last development version keeps its rows when it is migrated to version 0.1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.apps.registry import Apps
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from inpainting.core.adapter_uses import CONTROLS, IP_ADAPTERS
from inpainting.models import Analysis, Generation
from tests.support.earlier_schema import SAMPLES, SETTINGS, filled, schema_of, upgrade

DEVELOPMENT = [("inpainting", "0001_squashed_0046")]
RENAMED = {
    "asked": "requested",
    "draftpicture_id": "draftimage_id",
    "inpainting_draft_pictures": "inpainting_draft_images",
    "inpainting_draftpicture": "inpainting_draftimage",
    "inpainting_referencepicture": "inpainting_referenceimage",
    "inpainting_uploadedpicture": "inpainting_uploadedimage",
}
"""Columns and tables of the development version -> their names since."""
IMAGES = (*CONTROLS.images, *IP_ADAPTERS.images)
MOVED = {f"{name}_id" for name in IMAGES}
"""Columns of generations that are rows of a table since."""


@pytest.fixture
def development() -> Iterator[Apps]:
    with schema_of(DEVELOPMENT) as apps:
        yield apps


def stored() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the app, as the database has it."""
    tables = [name for name in connection.introspection.table_names() if name.startswith("inpainting_")]
    found = {}
    with connection.cursor() as cursor:
        for table in tables:
            key = connection.introspection.get_primary_key_column(cursor, table)
            cursor.execute(f'SELECT * FROM "{table}" ORDER BY "{key}"')  # noqa: S608 - names from the schema
            columns = [column[0] for column in cursor.description]
            found[table] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return found


def plain(uuid: object) -> str:
    """A key as SQLite stores it."""
    return str(uuid).replace("-", "")


@pytest.mark.django_db(transaction=True)  # SQLite edits its schema outside transactions only
def test_every_row_is_kept_and_read(development: Apps) -> None:
    for model in development.get_app_config("inpainting").get_models():
        filled(model)
    before = stored()
    assert all(before.values()), [table for table, rows in before.items() if not rows]

    upgrade()
    after = stored()
    for table, rows in before.items():
        found = after[RENAMED.get(table, table)]
        assert len(found) == len(rows), table
        for old, new in zip(rows, found, strict=True):
            assert {name: new[RENAMED.get(name, name)] for name in old.keys() - MOVED} == {
                name: value for name, value in old.items() if name not in MOVED
            }, table
    images = {
        plain(row["id"]): {name: plain(row[f"{name}_id"]) for name in IMAGES} for row in before["inpainting_generation"]
    }
    for generation in Generation.objects.all():
        assert (generation.settings, generation.requested) == (SETTINGS, SAMPLES["requested"])
        assert {name: plain(image.pk) for name, image in generation.references.items()} == images[plain(generation.pk)]


@pytest.mark.django_db(transaction=True)
def test_analyses_whose_owner_or_mask_is_gone_end_with_it(development: Apps) -> None:
    """The development version had no constraints on these keys."""
    kept, orphan = (filled(development.get_model("inpainting", "Analysis")) for _ in range(2))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE inpainting_analysis SET owner_id = 999999 WHERE id = %s", [orphan.pk.hex])
        cursor.execute("UPDATE inpainting_analysis SET mask_id = %s WHERE id = %s", [uuid4().hex, kept.pk.hex])
    upgrade()
    analysis = Analysis.objects.get()
    assert (analysis.pk, analysis.mask_id) == (kept.pk, None)


@pytest.mark.django_db
@pytest.mark.parametrize("app", ["accounts", "inpainting"])
def test_a_database_of_an_older_development_version_is_told_how_to_go_on(app: str) -> None:
    replaced = next(
        migration.replaces
        for migration in MigrationLoader(connection).replacements.values()
        if migration.app_label == app
    )
    recorder = MigrationRecorder(connection)
    for key in replaced[1:]:
        recorder.record_unapplied(*key)
    with pytest.raises(CommandError, match=rf"(?s)before {app}\.{replaced[-1][1]}\..*HINT: Run migrate of the last"):
        call_command("migrate", skip_checks=False)
