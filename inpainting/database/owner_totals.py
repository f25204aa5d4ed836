"""The triggers that keep the totals of each owner (`OwnerTotals`) equal to sums over the rows.

They are triggers of the database so that no path can forget them: a cascade, an update of many rows, a server of the
version before, plain SQL. Their names end with a hash of what they do. `migrate` ends with `install`, which creates
those that are missing: SQLite drops the triggers of a table with the table, which Django makes anew to change a column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps as global_apps
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, transaction

PREFIX = "totals_"
TOTALS = "inpainting_ownertotals"
OWN = "{row}.owner_id"
LISTED_STATUSES = ("succeeded", "failed", "cancelled")
RUN_MILLISECONDS = {
    "postgresql": "COALESCE(ROUND(1000 * EXTRACT(EPOCH FROM {row}.finished_at - {row}.started_at))::bigint, 0)",
    # Stored as YYYY-MM-DD HH:MM:SS.ffffff, without the fraction if that is 0.
    "sqlite": "COALESCE(CAST(ROUND(1000 * (strftime('%s', {row}.finished_at) - strftime('%s', {row}.started_at)"
    " + substr({row}.finished_at, 20) - substr({row}.started_at, 20))) AS INTEGER), 0)",
}


@dataclass(frozen=True, slots=True)
class Counted:
    """A model whose rows are counted. In the SQL, {row} stands for the row.

    owner: SQL for the key of its owner. amounts: counter -> SQL for what a row adds to it. columns: that an update
    of an amount or of the owner names.
    """

    model: str
    owner: str
    amounts: Mapping[str, str]
    columns: Sequence[str]

    @property
    def table(self) -> str:
        return f"inpainting_{self.model.lower()}"

    def values(self, row: str, *, sign: str = "") -> list[str]:
        return [f"{sign}({amount.format(row=row)})" for amount in self.amounts.values()]


def counted(vendor: str) -> list[Counted]:
    """Return what is counted, with the SQL of a database: "sqlite" or "postgresql"."""
    listed = "{row}.deleted_at IS NULL AND {row}.verdict <> 'removed'"
    states = {
        "listed": listed,
        **{f"listed_{status}": f"{listed} AND {{row}}.status = '{status}'" for status in LISTED_STATUSES},
        "failed": "{row}.status = 'failed'",
        **{verdict: f"{{row}}.verdict = '{verdict}'" for verdict in ("fine", "attention", "removed")},
    }
    generation = {
        "generations": "1",
        **{name: f"CASE WHEN {condition} THEN 1 ELSE 0 END" for name, condition in states.items()},
        "run_milliseconds": RUN_MILLISECONDS[vendor],
    }
    changing = ("owner_id", "status", "verdict", "deleted_at", "started_at", "finished_at")
    owned = ("SourceImage", "Mask", "ReferenceImage", "UploadedImage", "DraftImage", "StepMask", "Analysis")
    signed, copies = ("byte_count", "signed_byte_count"), ("hidden_byte_count", "copy_byte_count")
    return [
        *(stored(model) for model in owned),
        stored("StackShare", sizes=signed),
        stored("AnalysisMask", owner_of("analysis")),
        stored("GeneratedImage", owner_of("generation"), sizes=(*signed, *copies, "signed_copy_byte_count")),
        Counted("Generation", OWN, generation, changing),
    ]


def stored(model: str, owner: str = OWN, *, sizes: Sequence[str] = ("byte_count",)) -> Counted:
    """Return an image that counts with the bytes of its files. sizes: the columns that have them."""
    amount = " + ".join(f"{{row}}.{name}" for name in sizes)
    return Counted(model, owner, {"stored_bytes": amount}, (*(("owner_id",) if owner == OWN else ()), *sizes))


def owner_of(parent: str) -> str:
    """Return SQL for the owner of the row that a foreign key refers to."""
    return f"(SELECT owner_id FROM inpainting_{parent} WHERE id = {{row}}.{parent}_id)"  # noqa: S608 - a name of ours  # nosec B608


# Triggers


def triggers(vendor: str) -> dict[str, tuple[str, list[str]]]:
    """Return the triggers: name -> table, and the statements that create it."""
    make = postgresql_trigger if vendor == "postgresql" else sqlite_trigger
    found = {}
    for rows in counted(vendor):
        for event in ("insert", "update", "delete"):
            digest = hashlib.sha256("".join(make(rows, event, "")).encode()).hexdigest()[:8]
            name = f"{PREFIX}{event}_{rows.model.lower()}_{digest}"
            found[name] = (rows.table, make(rows, event, name))
    return found


def sqlite_trigger(rows: Counted, event: str, name: str) -> list[str]:
    """Return the statement for a trigger. It runs for each row."""
    statements = []
    if event != "insert":
        statements.append(add_sqlite(rows, "OLD", "-"))
    if event != "delete":
        owner = rows.owner.format(row="NEW")
        statements += [
            # Not OR IGNORE: a conflict clause of the statement that fires the trigger would replace it.
            f"INSERT INTO {TOTALS} (owner_id) SELECT {owner} WHERE {owner} IS NOT NULL"  # noqa: S608  # nosec B608
            f" AND NOT EXISTS (SELECT 1 FROM {TOTALS} WHERE owner_id = {owner})",
            add_sqlite(rows, "NEW", "+"),
        ]
    return [f"CREATE TRIGGER {name} AFTER {when(rows, event, 'IS NOT')} BEGIN {'; '.join(statements)}; END"]


def add_sqlite(rows: Counted, row: str, sign: str) -> str:
    changes = [f"{name} = {name} {sign} {value}" for name, value in zip(rows.amounts, rows.values(row), strict=True)]
    return f"UPDATE {TOTALS} SET {', '.join(changes)} WHERE owner_id = {rows.owner.format(row=row)}"  # noqa: S608  # nosec B608


def postgresql_trigger(rows: Counted, event: str, name: str) -> list[str]:
    """Return the statements for a trigger: a statement that inserts or deletes many rows runs it once."""
    if event == "update":
        changed = " UNION ALL ".join(selected(rows, row, sign) for row, sign in (("OLD", "-"), ("NEW", "")))
        fired = f"{when(rows, event, 'IS DISTINCT FROM')}"
    else:
        sign, transition = ("", "NEW") if event == "insert" else ("-", "OLD")
        changed = f"{selected(rows, 'changed', sign)} FROM changed"
        fired = f"{when(rows, event, '')} REFERENCING {transition} TABLE AS changed FOR EACH STATEMENT"
    body = f"BEGIN {added(changed, rows.amounts, 'pg_backend_pid()')}; RETURN NULL; END"
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $function${body}$function$",
        f"CREATE OR REPLACE TRIGGER {name} AFTER {fired} EXECUTE FUNCTION {name}()",
    ]


def when(rows: Counted, event: str, differs: str) -> str:
    """Return the event of a trigger, the table, and of an update also the condition: an amount or owner changes."""
    if event != "update":
        return f"{event.upper()} ON {rows.table}"
    pairs = list(zip(rows.values("OLD"), rows.values("NEW"), strict=True))
    if rows.owner == OWN:
        pairs.append(("OLD.owner_id", "NEW.owner_id"))
    condition = " OR ".join(f"{old} {differs} {new}" for old, new in pairs)
    return f"UPDATE OF {', '.join(rows.columns)} ON {rows.table} FOR EACH ROW WHEN ({condition})"


def selected(rows: Counted, row: str, sign: str) -> str:
    """Return SELECT with the owner and the amounts of a row, under their names."""
    values = [f"{value} AS {name}" for name, value in zip(rows.amounts, rows.values(row, sign=sign), strict=True)]
    return f"SELECT {rows.owner.format(row=row)} AS owner_id, {', '.join(values)}"


def added(changed: str, counters: Mapping[str, str] | Sequence[str], slot: str, having: str = "") -> str:
    """Return the statement that adds amounts to the totals. changed: SELECT of owners and amounts."""
    sums = ", ".join(f"SUM({name}) AS {name}" for name in counters)
    changes = ", ".join(f"{name} = {TOTALS}.{name} + excluded.{name}" for name in counters)
    return (
        f"INSERT INTO {TOTALS} (owner_id, slot, {', '.join(counters)})"  # noqa: S608 - names of ours  # nosec B608
        f" SELECT owner_id, {slot}, {sums} FROM ({changed}) AS amounts WHERE owner_id IS NOT NULL"
        f" GROUP BY owner_id{having} ON CONFLICT (owner_id, slot) DO UPDATE SET {changes}"
    )


# Installation and repair


def install(using: str = "default") -> bool:
    """Create the triggers that are missing, delete others of earlier versions, and correct the totals.

    Returns whether there was anything to do.

    On PostgreSQL one transaction for each trigger: one that locked all tables could wait for a request that waits for
    it. What is written meanwhile is counted, by the trigger or by the correction.
    """
    connection = connections[using]
    wanted = triggers(connection.vendor)
    present = installed(using)
    if wanted.keys() == present.keys():
        return False
    tables = {table for table, _ in wanted.values()} | set(present.values())
    for table in sorted(tables):
        with transaction.atomic(using), connection.cursor() as cursor:
            for name in (name for name, its_table in present.items() if its_table == table and name not in wanted):
                drop(cursor, connection.vendor, name)
            for name, (its_table, statements) in wanted.items():
                if its_table == table and name not in present:
                    for statement in statements:
                        cursor.execute(statement)
    repair(using)
    return True


def remove(using: str = "default") -> None:
    """Delete the triggers. The totals stay as they are until `install` corrects them."""
    connection = connections[using]
    with transaction.atomic(using), connection.cursor() as cursor:
        for name in installed(using):
            drop(cursor, connection.vendor, name)


def installed(using: str = "default") -> dict[str, str]:
    """Return the names of the triggers in the database, with their tables."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
                " WHERE starts_with(tgname::text, %s) AND pg_table_is_visible(tgrelid)",
                [PREFIX],
            )
        else:
            cursor.execute(
                "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, %s) = %s",
                [len(PREFIX), PREFIX],
            )
        return dict(cursor.fetchall())


def drop(cursor: Any, vendor: str, name: str) -> None:
    cursor.execute(f"DROP FUNCTION {name}() CASCADE" if vendor == "postgresql" else f"DROP TRIGGER {name}")


def differences(using: str = "default") -> Iterator[str]:
    """Return a line for each owner and counter that differs from the sum over the rows.

    One statement reads all, so that it is right while the server runs.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(all_amounts(connection.vendor))
        for owner, *found in cursor.fetchall():
            for name, difference in zip(counters(), found, strict=True):
                if difference:
                    yield f"{name} of owner {owner}: {difference:+} missing"


def repair(using: str = "default") -> None:
    """Add to the totals what they lack. One statement reads all, and servers may count more meanwhile."""
    connection = connections[using]
    slot = "pg_backend_pid()" if connection.vendor == "postgresql" else "0"
    with connection.cursor() as cursor:
        cursor.execute(added(all_amounts(connection.vendor), counters(), slot))


def counters() -> list[str]:
    """Return the names of all counters, in the order of their declaration."""
    return list(dict.fromkeys(name for rows in counted("sqlite") for name in rows.amounts))


def all_amounts(vendor: str) -> str:
    """Return SELECT of what the totals lack: owner and the amount of each counter, for owners with any."""
    parts = [(rows.owner.format(row="t"), rows.table, rows.amounts) for rows in counted(vendor)]
    parts.append(("owner_id", TOTALS, {name: f"-{{row}}.{name}" for name in counters()}))
    selects = []
    for owner, table, amounts in parts:
        values = ", ".join(f"{amounts.get(name, '0').format(row='t')} AS {name}" for name in counters())
        selects.append(f"SELECT {owner} AS owner_id, {values} FROM {table} AS t")  # noqa: S608 - names of ours  # nosec B608
    sums = ", ".join(f"SUM({name}) AS {name}" for name in counters())
    wrong = " OR ".join(f"SUM({name}) <> 0" for name in counters())
    return f"SELECT owner_id, {sums} FROM ({' UNION ALL '.join(selects)}) AS a GROUP BY owner_id HAVING {wrong}"  # noqa: S608  # nosec B608


# Signals of `migrate`


def remove_before_migrate(*, using: str = "default", plan: Any = (), **kwargs: Any) -> None:
    """Remove the triggers before migrations that would fail with them.

    SQLite refuses to rename a table while a trigger names one that is missing, as when Django makes a table anew. And
    going back removes the table that the triggers write to.
    """
    if plan and (connections[using].vendor == "sqlite" or any(backwards for _, backwards in plan)):
        remove(using)


def install_after_migrate(*, using: str = "default", apps: Any = global_apps, **kwargs: Any) -> None:
    """Create the triggers, unless `migrate` ended at an earlier schema."""
    try:
        totals = apps.get_model("inpainting", "OwnerTotals")
        for rows in counted(connections[using].vendor):
            model = apps.get_model("inpainting", rows.model)
            for column in rows.columns:
                model._meta.get_field(column)
    except (LookupError, FieldDoesNotExist):
        return
    if {field.name for field in totals._meta.fields} >= set(counters()):
        install(using)
