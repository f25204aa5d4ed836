"""The index of the words of prompts and file names: all three letters in a row of `folded_prompt` and `folded_name`.

PostgreSQL: a GIN index of its extension pg_trgm. SQLite: a table of FTS5 with the tokenizer `trigram`, kept by
triggers; its rows have numbers of their own, since VACUUM may change those of a table without an integer key. Where the
database can have neither, searches read the rows instead.

https://www.postgresql.org/docs/current/pgtrgm.html, https://www.sqlite.org/fts5.html#the_trigram_tokenizer
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.apps import apps as global_apps
from django.db import DatabaseError, connections, transaction

logger = logging.getLogger(__name__)

TABLE = "inpainting_generation"
INDEX = "generation_trigrams"
WORDS, ROWS = "search_words", "search_rows"
"""On SQLite: the table of FTS5, and the generation and owner of each of its rows."""
POSTGRESQL = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    f"CREATE INDEX IF NOT EXISTS {INDEX} ON {TABLE} USING gin (folded_prompt gin_trgm_ops, folded_name gin_trgm_ops)",
)
ADD = (
    f"INSERT INTO {ROWS} (generation_id) SELECT NEW.id WHERE NEW.folded_prompt IS NOT NULL;"  # noqa: S608 - names of ours  # nosec B608
    f" INSERT INTO {WORDS} (rowid, prompt, name)"
    f" SELECT id, NEW.folded_prompt, NEW.folded_name FROM {ROWS} WHERE generation_id = NEW.id;"
)
TAKE = (
    f"INSERT INTO {WORDS} ({WORDS}, rowid, prompt, name)"  # noqa: S608  # nosec B608
    f" SELECT 'delete', id, OLD.folded_prompt, OLD.folded_name FROM {ROWS} WHERE generation_id = OLD.id;"
    f" DELETE FROM {ROWS} WHERE generation_id = OLD.id;"
)
TRIGGERS = {
    "search_insert": f"AFTER INSERT ON {TABLE} BEGIN {ADD} END",
    "search_update": f"AFTER UPDATE OF folded_prompt, folded_name ON {TABLE} BEGIN {TAKE} {ADD} END",
    "search_delete": f"AFTER DELETE ON {TABLE} BEGIN {TAKE} END",
}
SQLITE = (
    f"CREATE TABLE IF NOT EXISTS {ROWS} (id INTEGER PRIMARY KEY, generation_id char(32) NOT NULL UNIQUE)",
    f"CREATE VIRTUAL TABLE IF NOT EXISTS {WORDS} USING fts5(prompt, name, content='', tokenize='trigram')",
    *(f"CREATE TRIGGER {name} {body}" for name, body in TRIGGERS.items()),
    # What was written while there were no triggers. The index keeps words of deleted rows, which `ROWS` does not name.
    f"DELETE FROM {ROWS} WHERE generation_id NOT IN (SELECT id FROM {TABLE})",  # noqa: S608  # nosec B608
    f"INSERT INTO {ROWS} (generation_id) SELECT id FROM {TABLE}"  # noqa: S608  # nosec B608
    f" WHERE folded_prompt IS NOT NULL AND id NOT IN (SELECT generation_id FROM {ROWS}) ORDER BY created_at",
    f"INSERT INTO {WORDS} (rowid, prompt, name) SELECT r.id, folded_prompt, folded_name"  # noqa: S608  # nosec B608
    f" FROM {ROWS} AS r JOIN {TABLE} AS g ON g.id = r.generation_id"
    f" WHERE r.id NOT IN (SELECT id FROM {WORDS}_docsize)",
)


def install(using: str = "default") -> None:
    """Create the index, if it is missing and the database can have it."""
    connection = connections[using]
    if is_present(using):
        return
    try:
        with transaction.atomic(using), connection.cursor() as cursor:
            for statement in POSTGRESQL if connection.vendor == "postgresql" else SQLITE:
                cursor.execute(statement)
            if connection.vendor == "sqlite" and sqlite3.sqlite_version_info >= (3, 42):
                # Otherwise the trigrams of deleted prompts stay in the file until FTS5 merges the parts of its index.
                cursor.execute(f"INSERT INTO {WORDS} ({WORDS}, rank) VALUES ('secure-delete', 1)")  # noqa: S608  # nosec B608
    except DatabaseError as error:
        logger.warning("Searches read all rows, since the database has no index of trigrams: %s", error)


def remove_triggers(using: str = "default") -> None:
    """Remove the triggers of SQLite, with which it refuses to make a table anew. `install` catches up."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            for name in TRIGGERS:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


def is_present(using: str = "default") -> bool:
    connection = connections[using]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [INDEX])
            return bool(cursor.fetchone()[0])
        cursor.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'search#_%' ESCAPE '#'")
        return bool(cursor.fetchone()[0] == len(TRIGGERS))


def sqlite_matches(words: Sequence[str], *, in_names: bool, owner: int | None, at_most: int) -> list[UUID]:
    """Return the generations that contain all of these folded words of three letters or more, on SQLite.

    in_names: whether a word may also stand in the name of the file. owner: None for those of all.
    """
    terms = " AND ".join('"' + word.replace('"', '""') + '"' for word in words)
    query = terms if in_names else f"prompt : ({terms})"
    # CROSS JOIN keeps the order of the tables: otherwise SQLite begins with all rows of the owner.
    sql = f"SELECT r.generation_id FROM {WORDS} AS w CROSS JOIN {ROWS} AS r ON r.id = w.rowid"  # noqa: S608  # nosec B608
    parameters: list[Any] = [query]
    if owner is not None:
        sql += f" CROSS JOIN {TABLE} AS g ON g.id = r.generation_id AND g.owner_id = %s"
        parameters.insert(0, owner)
    with connections["default"].cursor() as cursor:
        cursor.execute(f"{sql} WHERE {WORDS} MATCH %s LIMIT %s", [*parameters, at_most])
        return [UUID(pk) for (pk,) in cursor.fetchall()]


def remove_before_migrate(*, using: str = "default", plan: Any = (), **kwargs: Any) -> None:
    if plan:
        remove_triggers(using)


def install_after_migrate(*, using: str = "default", apps: Any = global_apps, **kwargs: Any) -> None:
    """Create the index, unless `migrate` ended at an earlier schema."""
    try:
        fields = {field.name for field in apps.get_model("inpainting", "Generation")._meta.fields}
    except LookupError:
        return
    if "folded_prompt" in fields:
        install(using)
