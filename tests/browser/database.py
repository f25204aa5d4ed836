"""Changes to the rows of a running installation, for states that a page cannot bring about, or only after days."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from tests.support.installation import Installation

LOCK_SECONDS = 20


def change(folder: Path, statement: str, rows: Iterable[Sequence[object]] = ((),)) -> None:
    """Run an SQL statement with the values of each row, in one transaction. folder: of the installation's data."""
    path = folder / "dreamlayer.sqlite3"
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as database, database:
        database.executemany(statement, rows)


def set_states(site: Installation, states: dict[str, str], message: str) -> None:
    """states: generations by the state that each gets. They lose their results and get the message as their error."""
    ids = {status: pk.replace("-", "") for status, pk in states.items()}
    change(site.folder, "DELETE FROM inpainting_generatedimage WHERE generation_id = ?", [(pk,) for pk in ids.values()])
    change(
        site.folder,
        "UPDATE inpainting_generation SET status = ?, error_code = 'engine_failed', error_message = ? WHERE id = ?",
        [(status, message, pk) for status, pk in ids.items()],
    )
