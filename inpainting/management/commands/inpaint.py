"""Paint from the command line: one image, or folders of them, in this process and its children, without a server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from inpainting.checks import IMAGE_LIMITS_TAG
from inpainting.cli.file_job import FileJob
from inpainting.cli.jobs import build_jobs, build_maker
from inpainting.cli.options import add_image_options, add_setting_options
from inpainting.cli.passed_over import count_of, list_passed_over
from inpainting.cli.run import error_message, run_all, run_one
from inpainting.cli.watching import REST_SECONDS, WatchedFolder, watch
from inpainting.core.errors import PaintingError
from inpainting.core.masks import MaskPolarity
from inpainting.engines import registry

FAILED, INTERRUPTED = 1, 130


class Command(BaseCommand):
    help = (
        "Repaint the masked part of IMAGE and write a PNG, JPEG or WebP. Given folders, repaint every image with its "
        "mask (MASK/NAME.png or MASK/NAME_mask.png, or one mask for all); results that exist are skipped, so that an "
        "interrupted run can be resumed, and every file that is passed over is named. Without MASK the diffusion "
        "engine repaints the whole image; --outpaint and --outpaint-size add a border and repaint that. Where memory "
        "is too small no other engine steps in: step_down is for the API only."
    )
    requires_system_checks = [IMAGE_LIMITS_TAG]  # noqa: RUF012 - Django's own way to say it

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("image", type=Path, metavar="IMAGE")
        parser.add_argument("mask", type=Path, metavar="MASK", nargs="?")
        parser.add_argument(
            "-o", "--out", type=Path, required=True, help="the .png, .jpg or .webp to write, or a folder"
        )
        parser.add_argument(
            "--mask-polarity",
            choices=list(map(str, MaskPolarity)),
            default=str(MaskPolarity.BLACK_REPAINTS),
            help="which part of the mask is repainted (default %(default)s)",
        )
        parser.add_argument("--engine", default=registry.AUTO, help="its name, or auto (default %(default)s)")
        add_image_options(parser)
        parser.add_argument("--jobs", type=int, default=1, help="images painted at once (default %(default)s)")
        parser.add_argument(
            "--watch",
            action="store_true",
            help="go on with the images that arrive in the folder IMAGE, each when its size has not changed for "
            f"{REST_SECONDS:g} seconds, until Ctrl+C",
        )
        add_setting_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(settings.USERS_UMASK)  # The results are the user's own files.
        if options["jobs"] < 1:
            raise CommandError("--jobs must be at least 1.")
        if options["watch"] and not options["image"].is_dir():
            raise CommandError(f"--watch needs a folder of images; {options['image']} is none.")
        try:
            if options["watch"]:
                return self.watch(options)
            jobs = build_jobs(options, self.stderr.write)
        except (PaintingError, OSError) as error:
            raise CommandError(error_message(error)) from error
        except DatabaseError as error:
            raise CommandError(
                "The catalog of models cannot be read; “python manage.py migrate” makes it, and --engine quick-fill "
                "paints without."
            ) from error
        is_folder = options["image"].is_dir()
        passed = list(list_passed_over(options["image"], used_paths(jobs, options))) if is_folder else []
        for sentence in passed:
            self.stderr.write(sentence)
        waiting = [job for job in jobs if not (is_folder and job.out.exists())]
        if len(waiting) < len(jobs):
            self.stderr.write(f"{len(jobs) - len(waiting)} of {len(jobs)} exist already.")
        try:
            if not is_folder and (problem := run_one(waiting[0], self.stdout, self.stderr)):
                raise CommandError(f"{waiting[0].image.name}: {problem}", returncode=FAILED)
            failed = run_all(waiting, options["jobs"], self.stdout, self.stderr) if is_folder else 0
        except KeyboardInterrupt:
            raise CommandError("Stopped; finished results are kept.", returncode=INTERRUPTED) from None
        closing = count_of(passed)
        if failed:
            message = f"{failed} of {len(waiting)} could not be painted."
            raise CommandError(f"{message} {closing}".rstrip(), returncode=FAILED)
        if closing:
            self.stderr.write(f"{len(waiting)} painted. {closing}")

    def watch(self, options: Mapping[str, Any]) -> None:
        make, extension = build_maker(options, self.stderr.write)
        folder = WatchedFolder(options["image"], options["mask"], options["out"], make, extension)
        try:
            watch(folder, options["jobs"], self.stdout, self.stderr)
        except KeyboardInterrupt:
            self.stderr.write("Stopped; finished results are kept.")


def used_paths(jobs: Iterable[FileJob], options: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the paths that the jobs read and write."""
    yield options["out"]
    for job in jobs:
        yield from (job.image, *job.results, *job.conditioning_images.values())
        if job.mask is not None:
            yield job.mask
