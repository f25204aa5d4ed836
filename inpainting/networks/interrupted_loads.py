"""Loads during which the process crashed: after three in a row the files are not loaded again until they change.

A load leaves a file in the folder `loads` of the data folder until it ends, whose name has the network, the fingerprint
of its files and the process. If the process crashes, the next one of the same parent renames the file, and a load that
succeeds deletes those of its network. A process that was killed, or that ended with its machine, counts nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.errors import EngineFailed, PaintingError
from inpainting.core.sentences import sentence
from inpainting.networks.files import fingerprint
from inpainting.worker_name import WORKER

logger = logging.getLogger(__name__)

MAX_CRASHES = 3
CRASHED = "crashed"
"""The last part of the name of a file whose process has crashed."""


@contextmanager
def recorded(spec: ModelSpec | LoraSpec, read_from: int) -> Iterator[None]:
    """Record that the files of a network are being loaded. Raises EngineFailed, `model_crashed_worker`, instead of
    loading them again after MAX_CRASHES.

    read_from: the fingerprint of the files. An error of the load gets the slug as `not_loaded`.
    """
    if has_crashed_too_often(spec.slug, read_from):
        error = EngineFailed(refusal(spec.label), code="model_crashed_worker")
        error.not_loaded = spec.slug
        raise error
    mark = folder() / "@".join((spec.slug, f"{read_from:x}", WORKER))
    if settings.PARENT:  # else nothing would tell another process of a crash
        try:
            mark.parent.mkdir(exist_ok=True)
            mark.touch()
        except OSError as error:
            logger.warning("The load of %s is not recorded: %s", spec.slug, error)
    try:
        yield
        remove(crashes(spec.slug, read_from))
    except PaintingError as error:
        if not error.code.endswith("_unfit"):  # an adapter that is made for another model: no fault of its files
            error.not_loaded = spec.slug
        raise
    finally:
        remove([mark])


def remove(files: Iterable[Path]) -> None:
    for file in files:
        with suppress(OSError):  # another process has removed it, or the disk refuses
            file.unlink()


def count_crashes(workers: Collection[str]) -> set[str]:
    """Count the loads of processes that crashed to the files that they were loading.

    workers: the names of the processes. Returns those that were loading.
    """
    were_loading = set()
    for mark in sorted(folder().glob("*@*@*")):
        slug, read_from, worker, *ended = mark.name.split("@")
        if ended:
            continue
        if worker not in workers:
            if settings.IS_ALONE:  # else the process may be alive
                remove([mark])
            continue
        were_loading.add(worker)
        mark.rename(mark.with_name(f"{mark.name}@{CRASHED}"))
        count = len(crashes(slug, int(read_from, 16)))
        logger.error("The process crashed while it was loading %s, %d times in a row", slug, count)
        if count >= MAX_CRASHES:
            logger.critical("%s", refusal(slug))
    return were_loading


def is_refused(slug: str, path: Path | None) -> bool:
    """Return whether a network is not loaded any more from its present files."""
    return path is not None and bool(crashes(slug)) and has_crashed_too_often(slug, fingerprint(path))


def has_crashed_too_often(slug: str, read_from: int) -> bool:
    return len(crashes(slug, read_from)) >= MAX_CRASHES


def crashes(slug: str, read_from: int | None = None) -> list[Path]:
    """Return the file of each crash while a network was being loaded. read_from: the fingerprint; None: any."""
    return list(folder().glob(f"{slug}@{'*' if read_from is None else f'{read_from:x}'}@*@{CRASHED}"))


def refusal(label: str) -> str:
    return sentence(
        "{label} is not loaded: the server crashed {crashes} times in a row while loading it. It is loaded again when "
        "its files change.",
        label=label,
        crashes=MAX_CRASHES,
    )


def folder() -> Path:
    return settings.DATA_DIR / "loads"
