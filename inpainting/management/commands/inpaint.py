"""Paint from the command line: one picture, or folders of them, in this process and its children, without a server."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections
from tqdm import tqdm

from inpainting import moderation, planning
from inpainting.cli.options import add_setting_options, option_of, settings_of
from inpainting.cli.picture_files import FileJob, FileReport, control_of, mask_of, pairs
from inpainting.core.errors import Cancelled, PaintingError
from inpainting.core.masks import MaskPolarity
from inpainting.engines import registry
from inpainting.engines.base import Engine, OnStep, Step

FAILED, INTERRUPTED = 1, 130


class Command(BaseCommand):
    help = (
        "Repaint the masked part of IMAGE and write a PNG. Given folders, every picture with its mask "
        "(MASK/NAME.png or MASK/NAME_mask.png, or one mask for all); pictures that are there already are left alone, "
        "so a run that was stopped goes on where it was. Without MASK an engine that dreams repaints all of it. "
        "Where memory is too small no smaller engine steps in: step_down is the API's alone."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own way to say it

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("image", type=Path, metavar="IMAGE")
        parser.add_argument("mask", type=Path, metavar="MASK", nargs="?")
        parser.add_argument("-o", "--out", type=Path, required=True, help="the PNG to write, or a folder")
        parser.add_argument(
            "--mask-polarity",
            choices=list(map(str, MaskPolarity)),
            default=str(MaskPolarity.BLACK_REPAINTS),
            help="which part of the mask is repainted (default %(default)s)",
        )
        parser.add_argument("--engine", default=registry.AUTO)
        parser.add_argument(
            "--control-image",
            type=Path,
            metavar="PATH",
            help="what it is guided by where that is not computed; for a folder, one for all or a folder of NAME.png",
        )
        parser.add_argument("--ip-adapter-image", type=Path, metavar="PATH", help="what it looks at")
        parser.add_argument("--jobs", type=int, default=1, help="pictures painted at once (default %(default)s)")
        add_setting_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            jobs = self.jobs(options)
        except (PaintingError, OSError) as error:
            raise CommandError(said(error)) from error
        except DatabaseError as error:
            raise CommandError(
                "The catalog of models cannot be read; “python manage.py migrate” makes it, and --engine quick-fill "
                "paints without."
            ) from error
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
        guide, looked_at = options["control_image"], options["ip_adapter_image"]
        for path in (image, mask, guide, looked_at):
            if path is not None and not path.exists():
                raise CommandError(f"{path} does not exist.")
        requested = settings_of(options)
        seed = 1 + secrets.randbelow(2**31 - 1) if options["seed"] is None else options["seed"]
        plan = planning.plan_settings(requested, options["engine"], seed=seed)
        if mask is None and plan.engine.needs_surroundings:
            raise CommandError(f"MASK is missing: {plan.engine.name} paints from what is kept.")
        examine = moderation.examiner(plan.settings)
        for warning in plan.warnings:
            self.stderr.write(warning)
        self.say_what_is_not_read(plan.engine, plan.ignored.keys() & requested.to_dict(exclude_defaults=True).keys())
        plan = replace(plan, warnings=())  # written once, not with each picture
        polarity = MaskPolarity(options["mask_polarity"])

        def job(picture: Path, its_mask: Path | None, result: Path) -> FileJob:
            return FileJob(
                picture,
                its_mask,
                result,
                plan=plan,
                polarity=polarity,
                examine=examine,
                control_image=None if guide is None else control_of(picture, guide),
                ip_adapter_image=looked_at,
            )

        if image.is_dir():
            found = [job(picture, its_mask, out / f"{picture.stem}.png") for picture, its_mask in pairs(image, mask)]
            if not found:
                raise CommandError(f"There is no picture in {image}.")
            results: dict[Path, Path] = {}
            for one in found:
                for result in one.results:
                    other = results.setdefault(result, one.image)
                    if other != one.image:
                        raise CommandError(f"{other.name} and {one.image.name} would share the result {result.name}.")
            if out.resolve() in {path.resolve() for path in (image, mask) if path is not None}:
                raise CommandError("The results need a folder of their own.")
            out.mkdir(parents=True, exist_ok=True)
        else:
            if out.is_dir():
                out = out / f"{image.stem}.png"
            if out.suffix.lower() != ".png":
                raise CommandError(f"Results are PNG files, which lose nothing; {out.name} is not called .png.")
            found = [job(image, None if mask is None else mask_of(image, mask), out)]
        return found

    def say_what_is_not_read(self, engine: Engine, names: Collection[str]) -> None:
        """names: settings that were made, of those that change nothing."""
        for name in sorted(names):
            self.stderr.write(f"{option_of(name)} changes nothing: {engine.name} does not read it here.")

    def paint_one(self, job: FileJob) -> int:
        """Paint one job with its steps shown; returns 0, or raises CommandError."""
        with tqdm(desc=job.image.name, unit="step", leave=False) as bar:

            def on_step(step: Step) -> None:
                bar.total = step.of or None
                bar.update(step.done - bar.n)
                if step.of and step.done == step.of:
                    bar.refresh()  # the end is shown however soon it comes

            try:
                reports = job.run(on_step)
            except (PaintingError, OSError) as error:
                bar.close()
                raise CommandError(f"{job.image.name}: {said(error)}", returncode=FAILED) from error
        for line in lines_about(reports):
            self.stderr.write(f"{job.image.name}: {line}")
        for report in reports:
            self.stdout.write(str(report.out))
        return 0

    def paint_all(self, jobs: list[FileJob], at_once: int) -> int:
        """Paint every job, come what may; returns how many failed."""
        failed = 0
        stopped = threading.Event()
        pool, paint = crew_for(jobs, at_once, stopped)
        with pool, tqdm(total=len(jobs), unit="picture", leave=False) as bar:
            futures = {pool.submit(paint, job): job for job in jobs}
            try:
                for future in as_completed(futures):
                    bar.update()
                    job = futures[future]
                    try:
                        reports = future.result()
                    except BrokenProcessPool:
                        reports = "The process that painted it was killed, perhaps for lack of memory."
                    lines = [reports] if isinstance(reports, str) else lines_about(reports)
                    for line in lines:
                        bar.write(f"{job.image.name}: {line}", file=self.stderr._out)
                    if isinstance(reports, str):
                        failed += 1
                    else:
                        for report in reports:
                            bar.write(str(report.out), file=self.stdout._out)
            except KeyboardInterrupt:
                stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
        return failed


def crew_for(
    jobs: list[FileJob], at_once: int, stopped: threading.Event
) -> tuple[Executor, Callable[[FileJob], list[FileReport] | str]]:
    """Who paints them, and how. `stopped` ends what threads are at."""
    at_once = min(at_once, max(len(jobs), 1))
    if jobs and "model" not in jobs[0].plan.engine.ignores:
        # Threads: they share the one model in this process, and each of its steps.
        return ThreadPoolExecutor(at_once), partial(run_on_thread, stopped=stopped)
    # spawn: a forked child would inherit OpenCV's threads in whatever state they are.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(min(at_once, os.cpu_count() or 1), mp_context=context), run_quietly


def run_on_thread(job: FileJob, *, stopped: threading.Event) -> list[FileReport] | str:
    def stop_when_told(step: Step) -> None:
        if stopped.is_set():
            raise Cancelled

    try:
        return run_quietly(job, stop_when_told)
    except Cancelled:
        return "Stopped."
    finally:
        connections.close_all()


def run_quietly(job: FileJob, on_step: OnStep = lambda step: None) -> list[FileReport] | str:
    """What came of it, or the problem in words."""
    try:
        return job.run(on_step)
    except (PaintingError, OSError) as error:
        return said(error)


def lines_about(reports: list[FileReport]) -> list[str]:
    """Each warning once, then what was measured on each result."""
    warnings = dict.fromkeys(warning for report in reports for warning in report.warnings)
    return [*warnings, *map(str, reports)]


def said(error: PaintingError | OSError) -> str:
    return error.message if isinstance(error, PaintingError) else f"{error.strerror}: {error.filename}"
