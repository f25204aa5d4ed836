"""Run the jobs of `manage.py inpaint`: one with its steps shown, or many at once on threads or in processes.

Imports no database models: the processes that paint import this module without setting up Django.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

from django.core.management.base import OutputWrapper
from django.db import connections
from tqdm import tqdm

from inpainting.cli.file_job import FileJob, FileReport
from inpainting.core.errors import Cancelled, PaintingError
from inpainting.engines.base import OnStep, Step

Outcome = list[FileReport] | str
"""The reports of a job's results, or the error message."""


def run_one(job: FileJob, stdout: OutputWrapper, stderr: OutputWrapper) -> str:
    """Run a job with its steps shown. Returns the error message; "" on success."""
    with tqdm(desc=job.image.name, unit="step", leave=False) as bar:

        def on_step(step: Step) -> None:
            bar.total = step.of or None
            bar.update(step.done - bar.n)
            if step.of and step.done == step.of:
                bar.refresh()  # tqdm skips updates that come too soon, and the last one should show

        outcome = run_job(job, on_step)
    if isinstance(outcome, str):
        return outcome
    for line in report_lines(outcome):
        stderr.write(f"{job.image.name}: {line}")
    for report in outcome:
        stdout.write(str(report.out))
    return ""


def run_all(jobs: list[FileJob], at_once: int, stdout: OutputWrapper, stderr: OutputWrapper) -> int:
    """Run every job, even if others fail. Returns the number of failed jobs."""
    failed = 0
    stopped = threading.Event()
    executor, run = executor_for(jobs, at_once, stopped)
    try:
        with tqdm(total=len(jobs), unit="image", leave=False) as bar:
            futures = {executor.submit(run, job): job for job in jobs}
            for future in as_completed(futures):
                bar.update()
                outcome = job_outcome(future)
                failed += isinstance(outcome, str)
                for line in [outcome] if isinstance(outcome, str) else report_lines(outcome):
                    bar.write(f"{futures[future].image.name}: {line}", file=stderr._out)
                for report in [] if isinstance(outcome, str) else outcome:
                    bar.write(str(report.out), file=stdout._out)
                stdout.flush()  # a program that reads the names of a watched folder's results gets each at once
    finally:
        stopped.set()  # of use where an interrupt ends the loop
        with interrupt_afterwards():
            executor.shutdown(cancel_futures=True)
    return failed


@contextmanager
def interrupt_afterwards() -> Iterator[None]:
    """Let Ctrl+C take effect after the block.

    Where it interrupts the end of a pool, CPython 3.11 takes the pool's thread for ended while that runs, and at its
    exit the process waits forever for children that were not told to end.
    """
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt


def executor_for(
    jobs: list[FileJob], at_once: int, stopped: threading.Event
) -> tuple[Executor, Callable[[FileJob], Outcome]]:
    """Return the executor for jobs of one engine, and the function that it runs for each job.

    Engines with a model run on threads, which share the loaded model and its batches; the others in processes.
    stopped: set it to end jobs on threads soon.
    """
    at_once = min(at_once, max(len(jobs), 1))
    if jobs and jobs[0].plan.model is not None:
        return ThreadPoolExecutor(at_once), partial(run_on_thread, stopped=stopped)
    # spawn: a forked child would inherit OpenCV's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(min(at_once, os.cpu_count() or 1), mp_context=context), run_job


def run_on_thread(job: FileJob, *, stopped: threading.Event) -> Outcome:
    def cancel_if_stopped(step: Step) -> None:
        if stopped.is_set():
            raise Cancelled

    try:
        return run_job(job, cancel_if_stopped)
    except Cancelled:
        return "Stopped."
    finally:
        connections.close_all()


def run_job(job: FileJob, on_step: OnStep = lambda step: None) -> Outcome:
    try:
        return job.run(on_step)
    except (PaintingError, OSError) as error:
        return error_message(error)


def job_outcome(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return "The process that painted it was killed, perhaps for lack of memory."


def report_lines(reports: list[FileReport]) -> list[str]:
    """Return each warning once, then the measurements on each result."""
    warnings = dict.fromkeys(warning for report in reports for warning in report.warnings)
    return [*warnings, *map(str, reports)]


def error_message(error: PaintingError | OSError) -> str:
    return error.message if isinstance(error, PaintingError) else f"{error.strerror}: {error.filename}"
