"""Compare rows with stored files, and the totals of owners with rows, and report what does not match."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any, cast

from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from inpainting.database import owner_totals
from inpainting.storage import ImageStorage
from inpainting.storage.audit import is_altered, is_older, missing, named_files


class Command(BaseCommand):
    help = (
        "Look for rows without files, files without rows, and totals of owners that differ from their rows; the exit "
        "status is 1 when there are any. May run while the server does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hashes", action="store_true", help="read every file and compare its hash with its row")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="delete files without rows and correct totals; nothing else is changed",
        )
        parser.add_argument(
            "--older-than-hours",
            type=hours,
            default=24,
            metavar="N",
            help="ignore younger files, which may belong to a generation in progress (default %(default)s, at least 1)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before = timezone.now() - timedelta(hours=options["older_than_hours"])
        # Files first, then rows: a generation accepted in between has its row by then.
        files = {name for name, _ in cast(ImageStorage, default_storage).names_and_sizes()}
        rows = list(named_files())
        gone = [name for name in rows if name.file not in files and missing(name)]
        changed = [name for name in rows if options["hashes"] and name.file in files and is_altered(name)]
        unnamed = sorted(files - {name.file for name in rows})
        orphans = [file for file in unnamed if is_older(file, than=before)]
        for name in gone:
            self.stdout.write(f"missing  {name}")
        for name in changed:
            self.stdout.write(f"altered  {name}")
        for file in orphans:
            self.stdout.write(f"orphan   {file}")
            if options["repair"]:
                default_storage.delete(file)
        wrong = list(owner_totals.differences())
        for line in wrong:
            self.stdout.write(f"total    {line}")
        if wrong and options["repair"]:
            owner_totals.repair()
        summary = f"{len(rows)} named by rows, {len(files)} files: {len(gone)} missing, {len(orphans)} without a row"
        summary += " (deleted)" if options["repair"] and orphans else ""
        summary += f", {len(changed)} altered." if options["hashes"] else "; hashes not compared."
        if wrong:
            summary += f" {len(wrong)} totals wrong{' (corrected)' if options['repair'] else ''}."
        self.stdout.write(summary)
        if gone or changed or ((orphans or wrong) and not options["repair"]):
            raise CommandError("Rows and files do not agree.")


def hours(text: str) -> int:
    """Parse a number of hours from 1 to 100000. A shorter time could delete the files of a generation in progress."""
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise ArgumentTypeError(f"{text} is not a number of hours from 1 to 100000")
    return int(text)
