"""Which step batch an image belongs to, and how many rows pay off in it."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakKeyDictionary

from inpainting.engines.diffusion.backends.base import Backend
from inpainting.engines.diffusion.backends.torch import TORCH
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.serving.backend_selection import BackendSelector, is_available
from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner
from inpainting.engines.diffusion.serving.jobs import BatchKey, Job, StepBatch
from inpainting.engines.diffusion.serving.workload import Workload

MAX_TUNERS = 64
"""Batch keys of a model whose step times are remembered."""


class BatchAssignment:
    """Assigns jobs to batches by their key."""

    def __init__(self, workload: Workload, backends: BackendSelector) -> None:
        self.workload = workload
        self.backends = backends
        self._tuners: WeakKeyDictionary[LatentModel, OrderedDict[BatchKey, BatchSizeTuner]] = WeakKeyDictionary()

    @property
    def known_keys(self) -> list[BatchKey]:
        """Keys of the batches so far whose step times are remembered."""
        return [key for tuners in self._tuners.values() for key in tuners]

    def key(self, job: Job, model: LatentModel | None) -> BatchKey:
        """The key of a job's next image. model: None while it is not loaded, and so the key not fully known."""
        chunk_count, backend = 0, TORCH.name
        if model is not None:
            if job.prompts is None:
                vectors = model.load_embeddings(job.embeddings) if job.embeddings else ()
                job.prompts = model.tokenize(job.request.settings, vectors)
            chunk_count = job.prompts.chunk_count
            backend = self._next_backend(job, model, chunk_count).name
        return BatchKey(job.spec.slug, job.size, job.adapters, chunk_count, backend)

    def batch(self, job: Job, model: LatentModel) -> StepBatch:
        """The batch of a job's next image; a new one if there is none."""
        key = self.key(job, model)
        batch = self.workload.batch(model, key)
        if batch is None:
            batch = StepBatch(model, key, self._tuner(model, key), job.backend)
            self.workload.batches.append(batch)
        return batch

    def _next_backend(self, job: Job, model: LatentModel, chunk_count: int) -> Backend:
        """Prepares nothing."""
        if job.text is not None:
            return job.backend if is_available(model, job.backend) else TORCH
        if job.needs_torch:
            return TORCH
        return self.backends.ready(model, job.size, job.adapters.loras, chunk_count)

    def _tuner(self, model: LatentModel, key: BatchKey) -> BatchSizeTuner:
        """Forgotten with the model, or when MAX_TUNERS other keys were used since."""
        tuners = self._tuners.setdefault(model, OrderedDict())
        tuner = tuners.setdefault(key, BatchSizeTuner())
        tuners.move_to_end(key)
        if len(tuners) > MAX_TUNERS:
            tuners.popitem(last=False)
        return tuner
