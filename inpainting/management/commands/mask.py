"""Select an object in an image, or in a folder of them, and write its mask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from inpainting.checks import IMAGE_LIMITS_TAG
from inpainting.cli import mask_job
from inpainting.cli.jobs import images_in
from inpainting.cli.mask_job import MaskJob
from inpainting.cli.passed_over import count_of, list_passed_over
from inpainting.cli.run import error_message
from inpainting.core.errors import PaintingError
from inpainting.core.mask_operations import COMBINING, NAMES
from inpainting.core.masks import MaskPolarity
from inpainting.image_limits import image_limits
from inpainting.segmenters import registry
from inpainting.segmenters.base import Selection


class Command(BaseCommand):
    help = (
        "Select the object at a point or in a box of IMAGE and write its mask as a PNG. Given a folder, select at the "
        "same place of every image and write NAME_mask.png, as “manage.py inpaint” reads it; masks that exist are "
        "skipped."
    )
    requires_system_checks = [IMAGE_LIMITS_TAG]  # noqa: RUF012 - Django's own way to say it

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("image", type=Path, metavar="IMAGE")
        parser.add_argument("-o", "--out", type=Path, required=True, help="the .png to write, or a folder")
        parser.add_argument(
            "--click",
            dest="points",
            type=mask_job.click,
            action="append",
            metavar="X,Y",
            help="a point on the object, in pixels from the top left corner; may be repeated",
        )
        parser.add_argument(
            "--exclude",
            dest="points",
            type=mask_job.excluded,
            action="append",
            metavar="X,Y",
            help="a point beside the object; may be repeated",
        )
        parser.add_argument("--box", type=mask_job.box, metavar="L,T,R,B", help="a box around the object, in pixels")
        parser.add_argument("--words", default="", help="what to select; some segmenters read it")
        parser.add_argument("--category", default="", help="of garments: upper, lower or full (default: all)")
        parser.add_argument("--tolerance", type=float, help="of the segmenter colour: 0 to 255")
        parser.add_argument("--soft-edges", action="store_true", help="let the edges follow hair and fur by greys")
        parser.add_argument("--segmenter", default=registry.DEFAULT, help="its name (default %(default)s)")
        parser.add_argument(
            "--operation",
            dest="operations",
            type=mask_job.operation,
            action="append",
            default=[],
            metavar="NAME[=PIXELS]",
            help=f"{', '.join(name for name in NAMES if name not in COMBINING)}; repeated, in this order",
        )
        parser.add_argument(
            "--mask-polarity",
            choices=[MaskPolarity.BLACK_REPAINTS, MaskPolarity.WHITE_REPAINTS],
            default=MaskPolarity.BLACK_REPAINTS,
            help="how the object is drawn: black or white (default %(default)s, as for “manage.py inpaint”)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(settings.USERS_UMASK)  # The masks are the user's own files.
        try:
            jobs = list(self.jobs(options))
            registry.find(options["segmenter"])
        except (PaintingError, OSError) as error:
            raise CommandError(error_message(error)) from error
        passed = list(self.list_passed_over(options))
        for sentence in passed:
            self.stderr.write(sentence)
        failed = 0
        for job in jobs:
            try:
                report = job.run()
            except (PaintingError, OSError) as error:
                failed += 1
                report = error_message(error)
            else:
                self.stdout.write(str(job.out))
            self.stderr.write(f"{job.image.name}: {report}")
        closing = count_of(passed)
        if failed:
            message = f"{failed} of {len(jobs)} could not be selected."
            raise CommandError(f"{message} {closing}".rstrip(), returncode=1)
        if closing:
            self.stderr.write(f"{len(jobs)} selected. {closing}")

    def list_passed_over(self, options: dict[str, Any]) -> Iterator[str]:
        """Yield a sentence for everything in the folder that is no image and no mask written here."""
        image, out = options["image"], options["out"]
        if image.is_dir():
            images = images_in(image)
            yield from list_passed_over(image, [out, *images, *(out / f"{path.stem}_mask.png" for path in images)])

    def jobs(self, options: dict[str, Any]) -> list[MaskJob]:
        """Return a job for each image. Raises InvalidRequest unless the object is marked, and CommandError for
        paths."""
        image, out = options["image"], options["out"]
        selection = Selection(
            points=tuple(options["points"] or ()),
            **{name: options[name] for name in ("box", "words", "category", "tolerance", "soft_edges")},
        )
        selection.check_for(registry.find(options["segmenter"]))
        if not image.exists():
            raise CommandError(f"{image} does not exist.")
        if image.is_dir():
            out.mkdir(parents=True, exist_ok=True)
            results = {photo: out / f"{photo.stem}_mask.png" for photo in images_in(image)}
            results = {photo: result for photo, result in results.items() if not result.exists()}
        else:
            results = {image: out / f"{image.stem}_mask.png" if out.is_dir() else out}
        if any(result.suffix.lower() != ".png" for result in results.values()):
            raise CommandError(f"Masks are PNG files; {out.name} is none.")
        if any(result.resolve() == photo.resolve() for photo, result in results.items()):
            raise CommandError("The mask would replace the image.")
        common = selection, options["segmenter"], tuple(options["operations"]), MaskPolarity(options["mask_polarity"])
        limits = image_limits()
        return [MaskJob(photo, result, *common, limits) for photo, result in results.items()]
