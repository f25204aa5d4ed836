"""Enlarge images from the command line, in this process, without a server."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from inpainting import moderation
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ControlImageKind
from inpainting.checks import IMAGE_LIMITS_TAG
from inpainting.cli.jobs import check_results_differ, mask_path, result_path
from inpainting.cli.options import add_setting_options, option_name, settings_from_options
from inpainting.cli.run import error_message, run_all, run_one
from inpainting.cli.upscale_job import UpscaleJob
from inpainting.core.codecs.formats import EXTENSIONS, PNG, format_of
from inpainting.core.errors import PaintingError
from inpainting.core.masks import MaskPolarity
from inpainting.core.upscaling import UPSCALE_ROWS, upscale_from
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.upscaling import DETAIL_ROWS, FILE_ROWS, UPSCALE, find_upscaler, with_detail
from inpainting.image_limits import image_limits
from inpainting.planning import planner

FAILED, INTERRUPTED = 1, 130


class Command(BaseCommand):
    help = (
        "Enlarge each FILE and write a PNG, JPEG or WebP: to --out, or for several files into the folder --out. The "
        "mode, the depth and the colour profile of the image stay, and its alpha is enlarged with it. Without an "
        "installed upscaler, Lanczos with sharpened edges is used, which adds no detail. With --detail a diffusion "
        "model then paints the enlarged image in tiles, or the part of it that --mask marks."
    )
    requires_system_checks = [IMAGE_LIMITS_TAG]  # noqa: RUF012 - Django's own way to say it

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("images", type=Path, nargs="+", metavar="FILE")
        parser.add_argument(
            "-o", "--out", type=Path, required=True, help="the .png, .jpg or .webp to write, or a folder"
        )
        parser.add_argument("--model", metavar="NAME", help="the upscaler: lanczos, or an installed one")
        parser.add_argument(
            "--mask",
            type=Path,
            metavar="PATH",
            help="the mask of the part that gets detail, a PNG; for several images one for all or a folder with "
            "NAME.png or NAME_mask.png (default: the whole image)",
        )
        parser.add_argument(
            "--mask-polarity",
            choices=list(map(str, MaskPolarity)),
            default=str(MaskPolarity.BLACK_REPAINTS),
            help="which part of the mask gets detail (default %(default)s)",
        )
        parser.add_argument("--jobs", type=int, default=1, help="images enlarged at once (default %(default)s)")
        add_setting_options(parser, [*UPSCALE_ROWS, *FILE_ROWS, *DETAIL_ROWS])

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(settings.USERS_UMASK)  # The results are the user's own files.
        if options["jobs"] < 1:
            raise CommandError("--jobs must be at least 1.")
        try:
            jobs = self.jobs(options)
            if len(jobs) == 1:
                if problem := run_one(jobs[0], self.stdout, self.stderr):
                    raise CommandError(f"{jobs[0].image.name}: {problem}", returncode=FAILED)
            elif failed := run_all(list(jobs), options["jobs"], self.stdout, self.stderr):
                raise CommandError(f"{failed} of {len(jobs)} could not be enlarged.", returncode=FAILED)
        except (PaintingError, OSError) as error:
            raise CommandError(error_message(error)) from error
        except DatabaseError as error:
            raise CommandError(
                "The catalog of models cannot be read; “python manage.py migrate” makes it, and --model lanczos "
                "enlarges without."
            ) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped; finished results are kept.", returncode=INTERRUPTED) from None

    def jobs(self, options: dict[str, Any]) -> list[UpscaleJob]:
        """Return a job for each image. Raises InvalidRequest for settings, and CommandError for paths."""
        images, out = options["images"], options["out"]
        upscale = upscale_from(options)
        for path in images:
            if not path.is_file():
                raise CommandError(f"{path} is no file.")
        mask = options["mask"] if upscale.detail else None
        if mask is not None and not mask.exists():
            raise CommandError(f"{mask} does not exist.")
        named = None if out.is_dir() or len(images) > 1 else format_of(out.name)
        if named is None and not out.is_dir() and len(images) == 1:
            raise CommandError(f"Results are PNG, JPEG or WebP files; {out.name} has the extension of none of them.")
        if named and options["output_format"] not in (None, named):
            raise CommandError(f"{out.name} and --output-format {options['output_format']} contradict each other.")
        requested = settings_from_options({**options, "output_format": named or options["output_format"] or PNG})
        requested = replace(requested, width=None, height=None)  # of an engine's window, and here of the result
        catalog = Catalog()
        site = planner(catalog)
        if upscale.detail:
            upscaler = find_upscaler(options["model"], catalog)
            requested = replace(requested, model=upscale.detail_model)
            tile_control = catalog.first_controlnet(requested.model, ControlImageKind.TILE)
            requested = with_detail(requested, upscale.detail, tile_control=tile_control)
            plan = site.plan_settings(requested, DIFFUSION.name, seed=1, upscaler=upscaler)
        else:
            upscaler = ""
            plan = site.plan_settings(replace(requested, model=options["model"]), UPSCALE.name, seed=1)
            names = [option_name(row.name) for row in DETAIL_ROWS if options[row.name] is not None]
            names += [f"--{name.replace('_', '-')}" for name in ("detail_model", "mask") if options[name]]
            if names:
                self.stderr.write(f"Without effect, as --detail is 0: {', '.join(names)}.")
        for warning in plan.warnings:
            self.stderr.write(warning)
        make = partial(
            UpscaleJob,
            plan=replace(plan, warnings=()),
            polarity=MaskPolarity(options["mask_polarity"]),
            moderate=moderation.moderator(plan.settings),
            embeds_settings=settings.EMBED_SETTINGS,
            limits=image_limits(),
            upscale=upscale,
            upscaler=upscaler,
        )
        extension = EXTENSIONS[plan.settings.output_format]
        jobs = [
            make(
                image,
                None if mask is None else mask_path(image, mask),
                out if named else result_path(image, out, extension),
            )
            for image in images
        ]
        if named is None:
            out.mkdir(parents=True, exist_ok=True)
        check_results_differ(jobs)
        if any(job.out.resolve() == job.image.resolve() for job in jobs):
            raise CommandError("The result would replace the image.")
        return jobs
