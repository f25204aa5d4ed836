"""What stops `serve` at its start, in one line instead of a traceback at every attempt."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, Error, ProgrammingError, connection

from accounts.outages import is_outage
from dreamlayer_site.server import supervisor
from inpainting.storage import out_of_space

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH}
RESTORE = "Restore a backup, as “Restore” in docs/run/operations.md says: not beside an old -wal."
MIGRATE = "Run “python manage.py migrate”."
INDEX_BYTES = 64 * 1024
"""SQLite makes a file of 32 KiB, the index of its log. Without space for it, the error is that of a broken disk."""
FAILED = 1
"""The exit status of a child that is started again: what is wrong may pass by itself."""


@contextmanager
def start_problems() -> Iterator[None]:
    """Raise CommandError for faults of the database and of the disk that are met inside the block."""
    try:
        yield
    except (Error, OSError) as error:
        if (problem := problem_of(error)) is None:
            raise
        raise problem from error


def refuse_missing_file() -> None:
    """Raise CommandError if there is no SQLite database: connecting would make an empty one."""
    path = Path(str(connection.settings_dict["NAME"]))
    if connection.vendor == "sqlite" and not path.exists():
        message = f"There is no database {path}. {MIGRATE} If there was one: {RESTORE}"
        raise CommandError(message, returncode=supervisor.INVALID_SETTINGS)


def problem_of(error: Exception) -> CommandError | None:
    """Return what to print; None for errors of the program. The parent starts no child again that cannot work then."""
    name = connection.settings_dict["NAME"]
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF  # without the part of extended codes
    cause = " ".join(str(error).split())
    final = supervisor.INVALID_SETTINGS if connection.vendor == "sqlite" else FAILED
    match error:
        case OSError() | DatabaseError() if out_of_space(error) or (code == sqlite3.SQLITE_IOERR and is_full()):
            return CommandError(f"No space is left on the disk of {settings.DATA_DIR}.", returncode=FAILED)
        case DatabaseError() if code in DAMAGED:
            return CommandError(f"The database {name} is damaged ({cause}). {RESTORE}", returncode=final)
        case DatabaseError() if code in CLOSED:
            return CommandError(f"The database {name} cannot be opened or written ({cause}).", returncode=final)
        case DatabaseError() if isinstance(error, ProgrammingError) or code == sqlite3.SQLITE_ERROR:
            return CommandError(f"The database {name} lacks migrations ({cause}). {MIGRATE}", returncode=final)
        case Error() if is_outage(error):
            return CommandError(f"The database {name} does not answer ({cause}).", returncode=FAILED)
    return None


def is_full() -> bool:
    return disk_usage(settings.DATA_DIR).free < INDEX_BYTES
