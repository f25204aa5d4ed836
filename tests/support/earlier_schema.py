"""The schema of an earlier release, and rows of its models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import uuid4

from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from inpainting.database import owner_totals, search_index

SETTINGS = {"prompt": "a cat", "steps": 7, "seed": 5}
SAMPLES: dict[str, Any] = {
    "family": "sdxl",
    "scheduler": "DDIMScheduler",
    "kind": "checkpoint",
    "source": "folder",
    "settings": SETTINGS,
    "requested": {"engine": "auto", "settings": SETTINGS},
    "aliases": ["a further name"],
}
"""Values of columns that are read later, by name; other columns get one of their type."""

NUMBERS = count(1)
ONLY_EMPTY: dict[str, dict[str, Any]] = {
    "BatchItem": {"generation": None},
    "IdempotencyKey": {"batch": None, "analysis": None, "mask": None},
}
"""Columns that must be empty where others are filled."""


@contextmanager
def schema_of(release: list[tuple[str, str]]) -> Iterator[Apps]:
    """The models of an earlier release, and its schema. Ends with the schema of today."""
    search_index.remove_triggers()
    owner_totals.remove()  # as the command does; the executor sends no signals
    executor = MigrationExecutor(connection)
    executor.migrate(release)
    try:
        yield executor.loader.project_state(release).apps
    finally:
        upgrade()


def upgrade() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    owner_totals.install()
    search_index.install()


def filled(model: Any, **given: Any) -> Any:
    """Save a row with a value in every column and a row of every relation. Rows that it refers to are saved too."""
    given = {**ONLY_EMPTY.get(model.__name__, {}), **given}
    columns = {
        field.name: value_of(field)
        for field in model._meta.concrete_fields
        if not field.primary_key and field.name not in given
    }
    row = model.objects.create(**columns, **given)
    for field in model._meta.many_to_many:
        getattr(row, field.name).add(filled(field.related_model))
    return row


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
