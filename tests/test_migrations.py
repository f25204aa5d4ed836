"""Migrations only add: data of an earlier version stays readable without being rewritten, and that version goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, models
from django.db.migrations import operations as ops
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from tests.support.earlier_schema import filled, schema_of, upgrade
from tests.support.migration_rules import problems

RELEASED = [("inpainting", "0001_squashed_0021"), ("accounts", "0001_squashed_0004")]
"""What the version knows that still serves while later migrations run."""
EXCEPTIONS: dict[tuple[str, str], str] = {}
"""Migration and operation -> why it is harmless all the same."""


def later_operations() -> Iterator[tuple[str, Operation, list[str]]]:
    """Each operation after RELEASED, with the name of its migration and its problems."""
    loader = MigrationLoader(connection)
    released = loader.project_state(RELEASED)
    state = released.clone()
    done = {key for target in RELEASED for key in loader.graph.forwards_plan(target)}
    for target in RELEASED:
        for key in loader.graph.forwards_plan(loader.graph.leaf_nodes(target[0])[0]):
            if key in done:
                continue
            done.add(key)
            for operation in loader.graph.nodes[key].operations:
                if key[0] in dict(RELEASED):  # not those of a library
                    yield key[1], operation, list(problems(operation, key[0], state, released))
                operation.state_forwards(key[0], state)


@pytest.mark.django_db
def test_no_later_migration_harms_the_released_version() -> None:
    found = {(name, operation.describe()): why for name, operation, why in later_operations() if why}
    assert {key: why for key, why in found.items() if key not in EXCEPTIONS} == {}
    assert EXCEPTIONS.keys() <= found.keys()


TEXT = models.CharField(max_length=20)
ID = ("id", models.BigAutoField(primary_key=True))
TABLE = ModelState("shop", "Photo", [ID, ("name", TEXT), ("note", models.TextField(null=True))])
HARMLESS: list[Operation] = [
    ops.AddField("Photo", "size", models.IntegerField(null=True)),
    ops.AddField("Photo", "size", models.IntegerField(default=0, db_default=0)),
    ops.AlterField("Photo", "name", models.CharField(max_length=40, help_text="longer")),
    ops.RenameField("Copy", "a", "b"),
    ops.CreateModel("Copy", [ID]),
    ops.CreateModel("Copy", [ID, ("photo", models.ForeignKey("shop.Photo", models.CASCADE, db_constraint=False))]),
    ops.AddField("Copy", "first", models.ForeignKey("shop.Copy", models.CASCADE)),
    ops.AddIndex("Photo", models.Index(fields=["name"], name="photo_name")),
]
HARMFUL: dict[str, Operation] = {
    "NOT NULL without a db_default": ops.AddField("Photo", "size", models.IntegerField(default=0)),
    "an INSERT of NULL": ops.AlterField("Photo", "note", models.TextField(db_default="")),
    "becomes shorter": ops.AlterField("Photo", "name", models.CharField(max_length=10)),
    "becomes unique": ops.AlterField("Photo", "name", models.CharField(max_length=20, unique=True)),
    "changes its type": ops.AlterField("Photo", "name", models.IntegerField()),
    "changes its column's name": ops.AlterField("Photo", "name", models.CharField(max_length=20, db_column="title")),
    "by its old name": ops.RenameField("Photo", "name", "title"),
    "no row of shop.photo": ops.CreateModel("Copy", [ID, ("photo", models.ForeignKey("shop.Photo", models.CASCADE))]),
    "photo without db_constraint": ops.AddField("Copy", "photo", models.ForeignKey("shop.Photo", models.CASCADE)),
    "not known to be harmless": ops.RemoveField("Photo", "note"),
}
UNKNOWN: list[Operation] = [
    ops.DeleteModel("Photo"),
    ops.RenameModel("Photo", "Picture"),
    ops.AlterModelTable("Photo", "pictures"),
    ops.AddConstraint("Photo", models.UniqueConstraint(fields=["name"], name="one_name")),
    ops.AlterUniqueTogether("Photo", {("name", "note")}),
    ops.RunSQL("UPDATE shop_photo SET name = ''"),
    ops.RunPython(ops.RunPython.noop),
]


def problems_of(operation: Operation) -> str:
    released = ProjectState()
    released.add_model(TABLE)
    return "; ".join(problems(operation, "shop", released, released))


@pytest.mark.parametrize("operation", HARMLESS, ids=lambda operation: type(operation).__name__)
def test_what_adds_is_allowed(operation: Operation) -> None:
    assert problems_of(operation) == ""
    assert problems_of(ops.SeparateDatabaseAndState([operation])) == ""


@pytest.mark.parametrize("reason", HARMFUL)
def test_what_the_released_version_cannot_live_with_is_refused(reason: str) -> None:
    assert reason in problems_of(HARMFUL[reason])
    assert reason in problems_of(ops.SeparateDatabaseAndState([HARMFUL[reason]]))


@pytest.mark.parametrize("operation", UNKNOWN, ids=lambda operation: type(operation).__name__)
def test_what_is_not_known_to_be_harmless_needs_an_exception(operation: Operation) -> None:
    assert problems_of(operation) == "not known to be harmless"


@pytest.mark.full
@pytest.mark.django_db(transaction=True)  # SQLite edits its schema outside transactions only
def test_the_released_version_writes_and_reads_rows_of_the_latest_schema() -> None:
    """Its models name their own columns in each INSERT, UPDATE and SELECT."""
    with schema_of(RELEASED) as released:
        upgrade()
        for model in released.get_app_config("inpainting").get_models():
            row = filled(model)
            row.save()
            type(row).objects.get(pk=row.pk)
