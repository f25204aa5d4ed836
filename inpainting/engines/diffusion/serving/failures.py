"""Errors of the device and of models: tried again with less memory, or translated for the caller."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from inpainting.core.errors import OUT_OF_MEMORY, DeviceLost, EngineFailed, PaintingError
from inpainting.core.geometry import Size
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.serving.jobs import UNLIMITED, InFlightSample, Job, StepBatch
from inpainting.engines.diffusion.serving.workload import Workload
from inpainting.networks.device.hardware import is_device_lost, is_out_of_memory

logger = logging.getLogger(__name__)


class HasSize(Protocol):
    @property
    def size(self) -> Size:
        """Of the image."""
        ...


Item = TypeVar("Item", bound=HasSize)
Result = TypeVar("Result")


class SavesMemory(Protocol):
    """A model, loaded or about to be."""

    def reduce_memory(self, size: Size) -> bool:
        """Switch to the next way of working that needs less memory and more time. False if there is none left.

        size: of the image that memory was too short for.
        """
        ...


class RetryPolicy:
    """Runs work on the device for several items, and again for fewer of them or with less memory when it fails."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.cache = workload.cache

    def run(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        items: Sequence[Item],
        model: SavesMemory,
        batch: StepBatch | None = None,
    ) -> list[Result | Exception]:
        """A result of `work` or an exception for each item.

        When memory is short the items are halved; for a single item first everything not in use is evicted, then the
        model saves memory. After any other error the items are run one by one, so that a bad one fails alone. batch:
        learns how many samples fit into memory. Raises DeviceLost.
        """
        while True:
            try:
                return list(work(items))
            except Exception as error:
                failure = log_unexpected(error)
            is_memory_short = is_out_of_memory(failure)
            if is_memory_short:
                self.cache.hardware.empty_cache()
            if len(items) > 1:
                size = -(-len(items) // 2) if is_memory_short else 1
                if is_memory_short and batch is not None:
                    batch.max_samples = min(batch.max_samples, size)
                parts = [items[start : start + size] for start in range(0, len(items), size)]
                return [result for part in parts for result in self.run(work, part, model, batch)]
            if not is_memory_short:
                return [failure]
            try:
                is_reduced = self.cache.evict(self.workload.in_use()) or model.reduce_memory(items[0].size)
            except Exception as error:  # to move weights takes memory too
                return [log_unexpected(error)]
            if not is_reduced:
                return [failure]
            if batch is not None:
                batch.max_samples = UNLIMITED  # more may fit now; that is found out anew


def log_unexpected(error: Exception) -> Exception:
    """Log an unexpected error. Returns it without its traceback, which would keep tensors alive. Raises DeviceLost."""
    if not isinstance(error, PaintingError):
        logger.error("Diffusion failed: %s", error, exc_info=error)
    if is_device_lost(error):
        raise DeviceLost(str(error)) from None
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def fail(job: Job, error: Exception) -> None:
    """End a job with the error that its caller gets."""
    if is_out_of_memory(error):
        error = out_of_memory(job)
    job.fail(error if isinstance(error, PaintingError) else unexpected_error(error))


def preview_failed(sample: InFlightSample, error: Exception) -> None:
    """End the previews of an image. Raises DeviceLost."""
    logger.warning("No more previews of an image by %s: %s", sample.job.spec.slug, log_unexpected(error))
    sample.previewer = None


def out_of_memory(job: Job) -> EngineFailed:
    return EngineFailed(
        sentence(
            "The device's memory is too small for {size} pixels with this model; ask for a smaller width and height.",
            size=job.size,
        ),
        code=OUT_OF_MEMORY,
    )


def unexpected_error(error: Exception) -> EngineFailed:
    """The error for a caller whose request is not the cause."""
    return EngineFailed(
        sentence("The model failed ({name}); see the server's log.", name=type(error).__name__), code="model_failed"
    )
