"""Paint from the command line: one picture, or folders of them."""

from __future__ import annotations

import multiprocessing
import os
import secrets
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from inpainting.core.errors import PaintingError
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import Step
from inpainting.picture_files import FileJob, FileReport, mask_of, pairs

FAILED, INTERRUPTED = 1, 130


class Command(BaseCommand):
    help = (
        "Repaint the masked part of IMAGE and write a PNG. Given folders, every picture with its mask "
        "(MASK/NAME.png or MASK/NAME_mask.png, or one mask for all); pictures that are there already are left alone, "
        "so a run that was stopped goes on where it was."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own way to say it

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("image", type=Path, metavar="IMAGE")
        parser.add_argument("mask", type=Path, metavar="MASK")
        parser.add_argument("-o", "--out", type=Path, required=True, help="the PNG to write, or a folder")
        parser.add_argument("--prompt", default="")
        parser.add_argument("--negative-prompt", default="")
        parser.add_argument("--strength", type=float, default=0.75, help="0 to 1 (default %(default)s)")
        parser.add_argument(
            "--mask-polarity",
            choices=list(map(str, MaskPolarity)),
            default=str(MaskPolarity.BLACK_REPAINTS),
            help="which part of the mask is repainted (default %(default)s)",
        )
        parser.add_argument("--mask-grow", type=int, default=0, metavar="PX")
        parser.add_argument("--mask-blur", type=int, default=0, metavar="PX")
        parser.add_argument("--engine", default=registry.AUTO)
        parser.add_argument("--seed", type=int, help="same seed, same picture (default: a random one)")
        parser.add_argument("--jobs", type=int, default=1, help="pictures painted at once (default %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            jobs = self.jobs(options)
        except (PaintingError, OSError) as error:
            raise CommandError(said(error)) from error
        if options["jobs"] < 1:
            raise CommandError("--jobs must be at least 1.")
        waiting = [job for job in jobs if not (options["image"].is_dir() and job.out.exists())]
        if len(waiting) < len(jobs):
            self.stderr.write(f"{len(jobs) - len(waiting)} of {len(jobs)} are there already.")
        try:
            if options["image"].is_dir():
                failed = self.paint_all(waiting, options["jobs"])
            else:
                failed = self.paint_one(waiting[0])
        except KeyboardInterrupt:
            raise CommandError("Stopped; what is finished stays.", returncode=INTERRUPTED) from None
        if failed:
            raise CommandError(f"{failed} of {len(waiting)} could not be painted.", returncode=FAILED)

    def jobs(self, options: dict[str, Any]) -> list[FileJob]:
        image, mask, out = options["image"], options["mask"], options["out"]
        for path in (image, mask):
            if not path.exists():
                raise CommandError(f"{path} does not exist.")
        seed = options["seed"] if options["seed"] is not None else 1 + secrets.randbelow(2**31 - 1)
        settings = PaintSettings(
            prompt=options["prompt"],
            negative_prompt=options["negative_prompt"],
            strength=options["strength"],
            seed=seed,
            mask_grow=options["mask_grow"],
            mask_blur=options["mask_blur"],
        )
        engine = registry.find(options["engine"]).name
        polarity = MaskPolarity(options["mask_polarity"])
        if image.is_dir():
            found = [(picture, its_mask, out / f"{picture.stem}.png") for picture, its_mask in pairs(image, mask)]
            if not found:
                raise CommandError(f"There is no picture in {image}.")
            results: dict[Path, Path] = {}
            for picture, _, result in found:
                other = results.setdefault(result, picture)
                if other != picture:
                    raise CommandError(f"{other.name} and {picture.name} would share the result {result.name}.")
            if out.resolve() in {image.resolve(), mask.resolve()}:
                raise CommandError("The results need a folder of their own.")
            out.mkdir(parents=True, exist_ok=True)
        else:
            if out.is_dir():
                out = out / f"{image.stem}.png"
            if out.suffix.lower() != ".png":
                raise CommandError(f"Results are PNG files, which lose nothing; {out.name} is not called .png.")
            found = [(image, mask_of(image, mask), out)]
        return [FileJob(*paths, settings=settings, polarity=polarity, engine=engine) for paths in found]

    def paint_one(self, job: FileJob) -> int:
        """Paint one job with its steps shown; returns 0, or raises CommandError."""
        with tqdm(desc=job.image.name, unit="step", leave=False) as bar:

            def on_step(step: Step) -> None:
                bar.total = step.of
                bar.update(step.done - bar.n)

            try:
                report = job.run(on_step)
            except (PaintingError, OSError) as error:
                bar.close()
                raise CommandError(f"{job.image.name}: {said(error)}", returncode=FAILED) from error
        for line in [*report.warnings, str(report)]:
            self.stderr.write(f"{job.image.name}: {line}")
        self.stdout.write(str(job.out))
        return 0

    def paint_all(self, jobs: list[FileJob], at_once: int) -> int:
        """Paint every job, come what may; returns how many failed."""
        failed = 0
        # spawn: a forked child would inherit OpenCV's threads in whatever state they are.
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(min(at_once, os.cpu_count() or 1, max(len(jobs), 1)), mp_context=context) as pool,
            tqdm(total=len(jobs), unit="picture", leave=False) as bar,
        ):
            futures = {pool.submit(run_quietly, job): job for job in jobs}
            try:
                for future in as_completed(futures):
                    bar.update()
                    job = futures[future]
                    try:
                        report = future.result()
                    except BrokenProcessPool:
                        report = "The process that painted it was killed, perhaps for lack of memory."
                    lines = [report] if isinstance(report, str) else [*report.warnings, str(report)]
                    for line in lines:
                        bar.write(f"{job.image.name}: {line}", file=self.stderr._out)
                    if isinstance(report, str):
                        failed += 1
                    else:
                        bar.write(str(job.out), file=self.stdout._out)
            except KeyboardInterrupt:
                pool.shutdown(cancel_futures=True)
                raise
        return failed


def run_quietly(job: FileJob) -> FileReport | str:
    """In a process of its own: what came of it, or the problem in words."""
    try:
        return job.run(lambda step: None)
    except (PaintingError, OSError) as error:
        return said(error)


def said(error: PaintingError | OSError) -> str:
    return error.message if isinstance(error, PaintingError) else f"{error.strerror}: {error.filename}"
