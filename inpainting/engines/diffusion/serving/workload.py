"""All work in the batcher: images that wait, the job that is starting, and the step batches."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from inpainting.engines.diffusion import regional_prompts
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.reference_images import reference_sizes
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.backend_selection import BackendSelector
from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner
from inpainting.engines.diffusion.serving.device_memory import InUse
from inpainting.engines.diffusion.serving.jobs import BatchKey, Job, StepBatch, WaitingSample
from inpainting.engines.diffusion.serving.model_cache import ModelCache

MAX_TUNERS = 64
"""Batch keys of a model whose step times are remembered."""


class Workload:
    """Changed by admission, execution and the batcher's loop, all on the device's thread."""

    def __init__(self, cache: ModelCache, backends: BackendSelector) -> None:
        self.cache = cache
        self.backends = backends
        self.waiting: deque[WaitingSample] = deque()
        """In order of arrival."""
        self.starting: Job | None = None
        self.batches: list[StepBatch] = []
        self._tuners: WeakKeyDictionary[LatentModel, OrderedDict[BatchKey, BatchSizeTuner]] = WeakKeyDictionary()

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.batches

    @property
    def known_keys(self) -> list[BatchKey]:
        """Keys of the batches so far whose step times are remembered."""
        return [key for tuners in self._tuners.values() for key in tuners]

    def add(self, job: Job) -> None:
        self.waiting.extend(WaitingSample(job, index) for index in range(job.request.settings.num_images))

    def key(self, job: Job, model: LatentModel | None) -> BatchKey:
        """The key of a job's next image. model: None while it is not loaded, and so the key not fully known."""
        chunk_count, backend = 0, TORCH.name
        if model is not None:
            job.use(model)
            if job.prompts is None:
                vectors = model.embedding_vectors(job.embeddings) if job.embeddings else ()
                job.prompts = regional_prompts.tokenize(model, job.request, vectors, job.adapters)
            chunk_count = job.prompts.chunk_count
            backend = self._next_backend(job, model, chunk_count).name
        references = reference_sizes(job.request)
        return BatchKey(job.spec.slug, job.size, job.adapters, chunk_count, backend, job.cache_level, references)

    def _next_backend(self, job: Job, model: LatentModel, chunk_count: int) -> Backend:
        """Return the backend that the next step of a job would take, without preparing it."""
        if job.text is not None:
            return job.backend
        if job.needs_torch:
            return TORCH
        return self.backends.ready(model, job.size, job.adapters.loras, chunk_count)

    def find_batch(self, model: LatentModel, key: BatchKey) -> StepBatch | None:
        return next((batch for batch in self.batches if batch.model is model and batch.key == key), None)

    def assign(self, job: Job, model: LatentModel) -> StepBatch:
        """The batch of a job's next image; a new one if there is none."""
        key = self.key(job, model)
        batch = self.find_batch(model, key)
        if batch is None:
            batch = StepBatch(model, key, self._tuner(model, key), job.backend)
            self.batches.append(batch)
        return batch

    def _tuner(self, model: LatentModel, key: BatchKey) -> BatchSizeTuner:
        """Return the tuner of a key, which is forgotten with the model, or after MAX_TUNERS other keys."""
        tuners = self._tuners.setdefault(model, OrderedDict())
        tuner = tuners.setdefault(key, BatchSizeTuner())
        tuners.move_to_end(key)
        if len(tuners) > MAX_TUNERS:
            tuners.popitem(last=False)
        return tuner

    def next_batch(self) -> StepBatch | None:
        """The batch whose last step is longest ago: batches take turns."""
        return min(self.batches, key=lambda batch: batch.last_stepped, default=None)

    def note_fallbacks(self, model: LatentModel) -> None:
        """Add how a model saves memory to the notes of the images that it computes."""
        for batch in self.batches:
            if batch.model is model:
                for sample in (*batch.samples, *batch.undecoded):
                    sample.job.add_notes(*model.memory_fallbacks)

    def drop_finished(self) -> None:
        """Drop the images of jobs that are done or were left by their callers, and empty batches."""
        self.waiting = deque(sample for sample in self.waiting if not sample.job.is_done)
        for batch in self.batches:
            batch.samples = [sample for sample in batch.samples if not sample.job.is_done]
            batch.undecoded = [sample for sample in batch.undecoded if not sample.job.is_done]
        self.batches = [batch for batch in self.batches if batch.samples or batch.undecoded]

    def clear(self) -> Iterator[Job]:
        """Forget everything. Yields each job that was not done."""
        jobs = [sample.job for batch in self.batches for sample in (*batch.samples, *batch.undecoded)]
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
            adapters=[spec for adapter in adapters for spec in adapter.networks],
            backends=[backend for backend in backends if backend is not TORCH],
            loras=[lora.name for adapter in adapters for lora in adapter.all_loras],
        )
