"""A database of an earlier release keeps every row through the migrations that follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from inpainting.models import Generation, InferenceModel, Lora

RELEASED = [("inpainting", "0018_lora_repo")]
"""The last migration of the earlier release; at the time it had every family, kind and source of models."""
FAMILIES = ("sd", "sdxl", "flux-fill", "lama", "migan", "safety-checker")
SETTINGS = {"prompt": "a cat", "steps": 7, "seed": 5}
SAMPLES: dict[str, Any] = {
    "family": "sdxl",
    "scheduler": "DDIMScheduler",
    "kind": "checkpoint",
    "source": "folder",
    "settings": SETTINGS,
    "asked": {"engine": "auto", "settings": SETTINGS},
    "aliases": ["a further name"],
}
"""Values of columns that are read below, by name; other columns get one of their type."""

NUMBERS = count(1)
EXCEPTIONS: dict[str, dict[str, Any]] = {"BatchItem": {"generation": None}, "IdempotencyKey": {"batch": None}}
"""Columns that must be empty where others are filled."""


@contextmanager
def schema_of(release: list[tuple[str, str]]) -> Iterator[Apps]:
    """The models of an earlier release, and its schema. Ends with the schema of today."""
    executor = MigrationExecutor(connection)
    executor.migrate(release)
    try:
        yield executor.loader.project_state(release).apps
    finally:
        upgrade()


@pytest.fixture
def released() -> Iterator[Apps]:
    with schema_of(RELEASED) as apps:
        yield apps


def upgrade() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def filled(model: Any, **given: Any) -> Any:
    """Save a row with a value in every column. Rows that it refers to are saved too."""
    columns = {
        field.name: value_of(field)
        for field in model._meta.concrete_fields
        if not field.primary_key and field.name not in given
    }
    return model.objects.create(**columns, **given)


def value_of(field: Any) -> Any:
    if field.name in SAMPLES and not field.is_relation:
        return SAMPLES[field.name]
    match field:
        case models.ForeignKey():
            related: Any = field.related_model
            if related._meta.app_label != "inpainting" and related.objects.exists():
                return related.objects.first()
            return None if related is field.model else filled(related)
        case models.JSONField():
            return {"a": 1}
        case models.BinaryField():
            return b"some bytes"
        case models.UUIDField():
            return uuid4()
        case models.BooleanField():
            return False
        case models.DateTimeField():
            return timezone.now()
        case models.FloatField():
            return 1.5
        case models.IntegerField():
            return next(NUMBERS) if field.unique else 3
        case _:
            return f"{field.name[:4]}{uuid4().hex}"[: field.max_length]


def stored() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the app, as the database has it."""
    tables = [name for name in connection.introspection.table_names() if name.startswith("inpainting_")]
    found = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f'SELECT * FROM "{table}" ORDER BY 1')  # noqa: S608 - a name from the schema
            columns = [column[0] for column in cursor.description]
            found[table] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return found


@pytest.mark.django_db(transaction=True)  # SQLite edits its schema outside transactions only
def test_every_row_of_the_earlier_release_is_kept_and_read(released: Apps) -> None:
    for model in released.get_app_config("inpainting").get_models():
        filled(model, **EXCEPTIONS.get(model.__name__, {}))
    for family in FAMILIES:
        filled(released.get_model("inpainting", "InferenceModel"), slug=f"my-{family}", family=family, label="Mine")
    before = stored()
    assert all(before.values()), [table for table, rows in before.items() if not rows]

    upgrade()
    after = stored()
    assert before.keys() <= after.keys()
    for table, rows in before.items():
        assert len(after[table]) == len(rows), table
        for old, new in zip(rows, after[table], strict=True):
            assert {name: new.get(name) for name in old} == old, table

    for generation in Generation.objects.all():
        assert (generation.settings, generation.requested) == (SETTINGS, SAMPLES["asked"])
    for lora in Lora.objects.all():
        assert lora.family == "sdxl"
    for family in FAMILIES:
        mine = InferenceModel.objects.get(slug=f"my-{family}")
        assert (mine.family, mine.scheduler, mine.aliases) == (family, "DDIMScheduler", ["a further name"])
        InferenceModel._meta.get_field("family").clean(mine.family, mine)
