"""Migrations only add: data of an earlier version stays readable without being rewritten."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from inpainting.models import Generation


@pytest.mark.django_db(transaction=True)  # SQLite edits its schema outside transactions only
def test_renaming_asked_to_requested_changes_nothing_in_the_database() -> None:
    sql = StringIO()
    call_command("sqlmigrate", "inpainting", "0019", stdout=sql)
    statements = [line for line in sql.getvalue().splitlines() if line and not line.startswith("--")]
    assert statements in ([], ["BEGIN;", "COMMIT;"])
    assert Generation._meta.get_field("requested").column == "asked"
