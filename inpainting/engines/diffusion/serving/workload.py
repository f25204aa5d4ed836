"""All work in the batcher: images that wait, the job that is starting, and the step batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from inpainting.engines.diffusion.backends.torch import TORCH
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.serving.jobs import BatchKey, Job, StepBatch, WaitingSample
from inpainting.engines.diffusion.serving.model_cache import InUse, ModelCache


class Workload:
    """Changed by admission, execution and the batcher's loop, all on the device's thread."""

    def __init__(self, cache: ModelCache) -> None:
        self.cache = cache
        self.waiting: deque[WaitingSample] = deque()
        """In order of arrival."""
        self.starting: Job | None = None
        self.batches: list[StepBatch] = []

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.batches

    def add(self, job: Job) -> None:
        self.waiting.extend(WaitingSample(job, index) for index in range(job.request.settings.num_images))

    def batch(self, model: LatentModel, key: BatchKey) -> StepBatch | None:
        return next((batch for batch in self.batches if batch.model is model and batch.key == key), None)

    def next_batch(self) -> StepBatch | None:
        """The batch whose last step is longest ago: batches take turns."""
        return min(self.batches, key=lambda batch: batch.last_stepped, default=None)

    def drop_finished(self) -> None:
        """Drop the images of jobs that are done or were left by their callers, and empty batches."""
        self.waiting = deque(sample for sample in self.waiting if not sample.job.is_done)
        for batch in self.batches:
            batch.samples = [sample for sample in batch.samples if not sample.job.is_done]
        self.batches = [batch for batch in self.batches if batch.samples]

    def clear(self) -> Iterator[Job]:
        """Forget everything. Yields each job that was not done."""
        jobs = [sample.job for batch in self.batches for sample in batch.samples]
        jobs += [sample.job for sample in self.waiting]
        self.batches.clear()
        self.waiting.clear()
        for job in jobs:
            if not job.is_done:
                yield job

    def in_use(self) -> InUse:
        """The cached objects of batches and the starting job, and the backends of jobs with further images to start."""
        starting = [] if self.starting is None else [self.starting]
        models = [*(batch.model for batch in self.batches), *(self.cache.loaded(job.spec) for job in starting)]
        adapters = [*(batch.adapters for batch in self.batches), *(job.adapters for job in starting)]
        begun = [*starting, *(sample.job for sample in self.waiting)]
        backends = [*(batch.backend for batch in self.batches), *(job.backend for job in begun if not job.is_done)]
        return InUse(
            models=[model for model in models if model is not None],
            adapters=[spec for one in adapters for spec in one.networks],
            backends=[backend for backend in backends if backend is not TORCH],
            loras=[lora.name for one in adapters for lora in one.loras],
        )
