"""The messages of the catalogs in `locale`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.installation import ROOT

LOCALE = ROOT / "locale"
Entry = tuple[str, str, str, list[str]]
"""A message, its plural or "", its context or "", and its translations."""


def entries(catalog: Path) -> list[Entry]:
    """Return the messages of a .po file, without its header."""
    found = []
    for block in re.split(r"\n\n+", catalog.read_text().strip()):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line.startswith('"'):
                fields[name] += ast.literal_eval(line)
            else:
                name, text = line.split(" ", 1)
                fields[name] = ast.literal_eval(text)
        if fields["msgid"]:
            translations = [text for name, text in fields.items() if name.startswith("msgstr")]
            found.append((fields["msgid"], fields.get("msgid_plural", ""), fields.get("msgctxt", ""), translations))
    return found
