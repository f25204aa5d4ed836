"""Paint the images of a folder as they arrive, for `manage.py inpaint --watch`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management.base import OutputWrapper

from inpainting.cli.file_job import FileJob
from inpainting.cli.jobs import MakeJob, images_in, make_folder, mask_path, result_path
from inpainting.cli.run import run_all
from inpainting.core.errors import InvalidRequest

REST_SECONDS = 2.0
"""How long the size of a file must not have changed: programs that write it have then ended, or wait."""
LOOK_SECONDS = 0.5


@dataclass
class WatchedFolder:
    """A folder of images with their masks, or one mask for all, or none; `out` is the folder of the results."""

    images: Path
    masks: Path | None
    out: Path
    make: MakeJob
    extension: str
    _sizes: dict[Path, tuple[int, float]] = field(default_factory=dict)
    """File -> its size, and since when it has it."""
    _taken: dict[Path, int] = field(default_factory=dict)
    """Image -> its size when it was taken: one that could not be painted is taken again once it has another."""

    def ready(self, now: float) -> list[FileJob]:
        """Return the jobs of the images that have no result and arrived whole, with all that they need.

        now: seconds of a clock that is never set.
        """
        found = [self._job_of(image, now) for image in images_in(self.images)]
        jobs = {job.out: job for job in found if job is not None}
        for job in jobs.values():
            self._taken[job.image] = self._sizes[job.image][0]
        return [*jobs.values()]

    def _job_of(self, image: Path, now: float) -> FileJob | None:
        out = result_path(image, self.out, self.extension)
        if out.exists() or not self._rests(image, now) or self._taken.get(image) == self._sizes[image][0]:
            return None
        try:
            job = self.make(image, None if self.masks is None else mask_path(image, self.masks), out)
        except InvalidRequest:  # its mask, or another image, is still to come
            return None
        needed = [*([] if job.mask is None else [job.mask]), *job.conditioning_images.values()]
        rest = [self._rests(path, now) for path in needed]  # each is looked at, so that their times pass together
        return job if all(rest) else None

    def _rests(self, path: Path, now: float) -> bool:
        """Whether the size of a file has been the same for REST_SECONDS."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        known, since = self._sizes.get(path, (-1, now))
        if size != known:
            self._sizes[path] = size, now
            return False
        return size > 0 and now - since >= REST_SECONDS


def watch(
    folder: WatchedFolder,
    at_once: int,
    stdout: OutputWrapper,
    stderr: OutputWrapper,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Paint what arrives until KeyboardInterrupt. An image that fails is named, and the others are painted.

    Of two images with the same result only one is painted; an image whose mask never comes waits without a word.
    """
    make_folder(folder.images, folder.masks, folder.out)
    stderr.write(f"Watching {folder.images}; Ctrl+C ends it.")
    while True:
        if jobs := folder.ready(time.monotonic()):
            run_all(jobs, at_once, stdout, stderr)
        sleep(LOOK_SECONDS)
