"""A database of an earlier release keeps every row through the migrations that follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps.registry import Apps
from django.db import connection

from inpainting.models import Generation, InferenceModel, Lora
from tests.earlier_schema import SAMPLES, SETTINGS, filled, schema_of, upgrade

RELEASED = [("inpainting", "0018_lora_repo")]
"""The last migration of the earlier release; at the time it had every family, kind and source of models."""
FAMILIES = ("sd", "sdxl", "flux-fill", "lama", "migan", "safety-checker")


@pytest.fixture
def released() -> Iterator[Apps]:
    with schema_of(RELEASED) as apps:
        yield apps


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
        filled(model)
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
