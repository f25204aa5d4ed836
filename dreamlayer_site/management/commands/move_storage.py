"""Copy the images of an installation to another storage."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from dreamlayer_site.service_urls import SCHEMES, scheme_of, storage_settings
from inpainting.storage import ImageStorage
from inpainting.storage.copy import COPIED, GONE, copy_files


class Command(BaseCommand):
    help = (
        "Copy all images from one storage to another. Files that are there already are skipped, so it can be "
        "interrupted and repeated, also while the server runs; nothing is deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from",
            dest="source",
            default="",
            metavar="URL",
            help="file:///folder or s3://…, as in DREAMLAYER_STORAGE_URL (default: pictures/ in the data folder)",
        )
        parser.add_argument("--to", dest="target", default=None, metavar="URL", help="default: DREAMLAYER_STORAGE_URL")

    def handle(self, *args: Any, **options: Any) -> None:
        target = settings.STORAGE_URL if options["target"] is None else options["target"]
        if options["source"] == target:
            raise CommandError("Source and target are the same: set DREAMLAYER_STORAGE_URL, or name one with --to.")
        try:
            counts = copy_files(storage_at(options["source"]), storage_at(target))
        except OSError as error:
            raise CommandError(f"{error}. Repeat the command: it continues with what is missing.") from error
        deleted = f"; {counts[GONE]} were deleted meanwhile" if counts[GONE] else ""
        self.stdout.write(f"Copied {counts[COPIED]} files{deleted}.")


def storage_at(url: str) -> ImageStorage:
    """The storage of a URL; of an empty one, the folder of the images."""
    if url and scheme_of(url) not in SCHEMES["STORAGE_URL"]:
        raise CommandError(f"{url.partition(':')[0]}: is not file: or s3:.")
    described = storage_settings(url, default_folder=settings.DATA_DIR / "pictures")
    storage: ImageStorage = import_string(described["BACKEND"])(**described["OPTIONS"])
    return storage
