"""Copy all rows of an installation to another database."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dreamlayer_site.database_copy import CopyRefused, connect_source, copy_rows
from dreamlayer_site.folder_lock import lock_data_folder
from dreamlayer_site.service_urls import database_settings


class Command(BaseCommand):
    help = (
        "Copy all rows to the database of DREAMLAYER_DATABASE_URL, which “migrate” has prepared and which has no "
        "users. Stop the server first. The source is only read; if anything fails, the target stays as it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from",
            dest="source",
            default=f"sqlite:///{settings.DATA_DIR / 'dreamlayer.sqlite3'}",
            metavar="URL",
            help="sqlite:////path or postgres://… (default: the SQLite database of the data folder)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["source"] == settings.DATABASE_URL:
            raise CommandError("Source and target are the same: set DREAMLAYER_DATABASE_URL to the new database.")
        source = database_settings(options["source"], connections=2)
        if "sqlite3" in source["ENGINE"] and not Path(source["NAME"]).exists():
            raise CommandError(f"There is no database at {source['NAME']}.")
        connect_source(source)
        is_file = "sqlite3" in source["ENGINE"]
        try:
            with lock_data_folder(Path(source["NAME"]).parent, wait_seconds=0) if is_file else nullcontext():
                counts = copy_rows()
        except CopyRefused as error:
            raise CommandError(str(error)) from error
        for table, count in sorted(counts.items()):
            if count and options["verbosity"] > 1:
                self.stdout.write(f"{count:>10}  {table}")
        self.stdout.write(f"Copied {sum(counts.values())} rows of {sum(map(bool, counts.values()))} tables.")
