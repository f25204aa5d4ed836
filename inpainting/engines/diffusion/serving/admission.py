"""Admission: which waiting images start now, in order of arrival and as long as their batch has room."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from inpainting.engines.diffusion.serving.batch_assignment import BatchAssignment
from inpainting.engines.diffusion.serving.batch_tuner import MAX_ROWS
from inpainting.engines.diffusion.serving.failures import fail, logged
from inpainting.engines.diffusion.serving.jobs import Job, StepBatch, WaitingSample
from inpainting.engines.diffusion.serving.sample_start import SampleStarter
from inpainting.engines.diffusion.serving.workload import Workload

MEMORY_SHARE = 0.9
"""The share of free device memory that the rows of a batch may take."""


class Admission:
    """Starts waiting images. max_rows: rows of a step batch at most; None is what memory and throughput allow."""

    def __init__(
        self, workload: Workload, assignment: BatchAssignment, starter: SampleStarter, *, max_rows: int | None
    ) -> None:
        self.workload = workload
        self.cache = workload.cache
        self.assignment = assignment
        self.starter = starter
        self.max_rows = max_rows

    def admit(self) -> None:
        """Start those images that may start. The others keep their order."""
        deferred: deque[WaitingSample] = deque()
        for sample in self.workload.waiting:
            job = sample.job
            if job.is_done:
                continue
            try:
                if not self._may_start(job, deferred):
                    deferred.append(sample)
                    continue
            except Exception as error:
                fail(job, logged(error))
                continue
            self.workload.starting = job
            try:
                started = self.starter.start(sample)
            finally:
                self.workload.starting = None
            if isinstance(started, Exception):
                fail(job, started)
        self.workload.waiting = deferred

    def _may_start(self, job: Job, deferred: Sequence[WaitingSample]) -> bool:
        """Whether one more image may start now. deferred: those that arrived earlier and may not."""
        model = self.cache.loaded(job.spec)
        key = self.assignment.key(job, model)
        # No image overtakes one with the same key, nor any while a model waits for memory.
        same_model = [one.job for one in deferred if one.job.spec.slug == job.spec.slug]
        if any(self.assignment.key(one, model) == key for one in same_model):
            return False
        in_use = self.workload.in_use()
        deferred_specs = {one.job.spec.slug: one.job.spec for one in deferred}
        if not all(self.cache.has_room(spec, in_use) for spec in deferred_specs.values()):
            return False
        if not self.cache.has_room(job.spec, in_use):
            return not in_use.models
        batch = self.workload.batch(model, key) if model is not None else None
        if model is None or batch is None:
            return True
        if len(batch.samples) >= batch.max_samples:
            return False
        return batch.max_rows + model.rows_for(job.request.settings) <= self._max_rows(batch)

    def _max_rows(self, batch: StepBatch) -> int:
        if self.max_rows is not None:
            return self.max_rows
        fitting = MAX_ROWS
        if batch.tuner.row_bytes:
            # Between two steps the running samples hold none of this memory.
            fitting = int(self.cache.hardware.free_bytes() * MEMORY_SHARE / batch.tuner.row_bytes)
        return min(batch.tuner.rows, fitting)
