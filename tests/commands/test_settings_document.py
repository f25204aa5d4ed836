"""`docs/use/settings.md` is what `manage.py settings_document` prints."""

from __future__ import annotations

import io
from pathlib import Path

from django.core.management import call_command

from inpainting.cli.options import ROWS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/use/settings.md"


def test_the_document_is_up_to_date_and_names_every_setting() -> None:
    out = io.StringIO()
    call_command("settings_document", stdout=out)
    assert out.getvalue() == DOCUMENT.read_text(), "run: python manage.py settings_document > docs/use/settings.md"
    for row in ROWS:
        assert f"| `{row.public_name}`" in out.getvalue()
        assert row.help.replace("<", "&lt;").replace(">", "&gt;") in out.getvalue()
