"""Continuous batching: one thread owns the device, and many jobs share each step, wherever each is in its schedule.

A caller runs `paint` on a thread of its own and waits there; only requests, messages and images cross over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.errors import DeviceLost
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence
from inpainting.engines.base import LoadingModel, OnStep, Step
from inpainting.engines.diffusion.conditioning.textual_inversion import read_embedding
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.previews import Preview
from inpainting.engines.diffusion.regional_prompts import active_adapters
from inpainting.engines.diffusion.serving.admission import Admission
from inpainting.engines.diffusion.serving.backend_selection import BackendSelector
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS, DeviceWatchdog
from inpainting.engines.diffusion.serving.failures import RetryPolicy, preview_failed, unexpected_error
from inpainting.engines.diffusion.serving.jobs import InFlightSample, Job, JobSucceeded, StepTaken
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.serving.step_executor import StepExecutor
from inpainting.engines.diffusion.serving.workload import Workload

logger = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 1.0
"""A caller's `on_step` is called at least this often, as engines promise, however long a step takes."""
POLL_SECONDS = 0.01


class Batcher:
    """Paints concurrent requests, as many images per step as pays off.

    max_rows: rows of a step batch at most; None is what memory and throughput allow. 1 is the deterministic mode, in
    which an image never shares a step. backends: which backend computes which job; torch alone if left out.
    """

    def __init__(
        self, cache: ModelCache, *, max_rows: int | None = None, backends: BackendSelector | None = None
    ) -> None:
        self.cache = cache
        self.backends = backends or BackendSelector()
        self.watchdog = DeviceWatchdog()
        self.workload = Workload(cache, self.backends)
        retries = RetryPolicy(self.workload)
        self.admission = Admission(self.workload, retries, self.watchdog, max_rows=max_rows)
        self.executor = StepExecutor(retries, self.watchdog, max_rows=max_rows)
        self._arrivals: SimpleQueue[Job | ModelSpec] = SimpleQueue()
        self._early: list[ModelSpec] = []
        """Models to load before the first request for them."""
        self._first_jobs: list[Job] = []
        """Of models that were loaded early and are painting once."""
        self.early_failures: dict[str, str] = {}
        """Slugs of models that were not loaded early or could not paint then, and have not painted since -> why."""
        self._thread: threading.Thread | None = None
        self._starting_thread = threading.Lock()

    # On the callers' threads

    def paint(
        self,
        request: InpaintRequest,
        spec: ModelSpec,
        on_step: OnStep,
        loras: Sequence[LoraSpec] = (),
        adapters: Sequence[ModelSpec] = (),
        embeddings: Sequence[ModelSpec] = (),
    ) -> tuple[list[NDArray[np.uint8]], tuple[str, ...]]:
        """Paint `settings.num_images` images of the request's size. Also returns notes for the metadata.

        The request's sides are multiples of those of a cell of the model's latents. loras: those of the settings and
        their regions. adapters: the VAE, ControlNets and IP-Adapters that the settings name. embeddings: those of
        `settings.embeddings`.

        Raises EngineFailed, DeviceLost if only another process can use the device, and what `on_step` raises, which
        cancels the job.
        """
        active = active_adapters(request, loras, adapters)
        job = Job(request, spec, active, [read_embedding(embedding) for embedding in embeddings])
        self._ensure_thread()
        self._arrivals.put(job)
        try:
            painted = self._wait(job, on_step)
        finally:
            job.is_done = True
        self.early_failures.pop(spec.slug, None)
        return painted

    def _wait(self, job: Job, on_step: OnStep) -> tuple[list[NDArray[np.uint8]], tuple[str, ...]]:
        last = Step(0, 0)
        while True:
            try:
                message = job.messages.get(timeout=KEEPALIVE_SECONDS)
            except Empty:
                if self.watchdog.is_broken or not (self._thread and self._thread.is_alive()):
                    raise DeviceLost(sentence("The device answers no more.")) from None
                # Only within the deadline of the device's thread: for a hung device the caller must fall silent.
                if self.watchdog.is_alive:
                    on_step(Step(last.done, last.of, loading=None if last.of else self._loading(job.spec)))
                continue
            match message:
                case StepTaken(sample, last, preview):
                    on_step(last if preview is None else replace(last, preview=compose_preview(preview, sample)))
                case Exception():
                    raise message
                case JobSucceeded(images, notes):
                    return images, notes

    def _loading(self, spec: ModelSpec) -> LoadingModel | None:
        """The model, where its weights are still to be loaded."""
        if self.cache.loaded(spec) is not None:
            return None
        return LoadingModel(spec.label, self.cache.loads.weights_bytes(spec))

    def warm(self, spec: ModelSpec) -> None:
        """Load a model before the first request for it, and on a GPU let it paint once.

        Returns at once; a failure is a warning in the log, and in `early_failures`.
        """
        self._ensure_thread()
        self._arrivals.put(spec)

    def _ensure_thread(self) -> None:
        with self._starting_thread:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="diffusion", daemon=True)
                self._thread.start()

    # On the device's thread

    @property
    def is_idle(self) -> bool:
        return self.workload.is_idle and not self._early and not self._first_jobs

    @property
    def arrival_count(self) -> int:
        """Requests that the device's thread has not taken yet."""
        return self._arrivals.qsize()

    def _run(self) -> None:
        while not self.watchdog.is_broken:
            try:
                self._take_arrivals()
                self.run_once()
            except DeviceLost:
                # The waiting callers see it by the watchdog: their generations run again on another device.
                self.watchdog.is_broken = True
            except Exception as error:
                logger.exception("The diffusion loop failed, and with it all of its jobs")
                for job in self.workload.clear():
                    job.fail(unexpected_error(error))

    def _take_arrivals(self) -> None:
        """Take new jobs. Blocks only if there is nothing else to do."""
        self._end_first_jobs()
        while not self._arrivals.empty() or self.is_idle:
            arrival = self._arrivals.get()
            if isinstance(arrival, ModelSpec):
                self._early.append(arrival)
            else:
                self.workload.add(arrival)

    def run_once(self) -> None:
        """Admit images, take one step of one batch, and decode what is done."""
        self.workload.drop_finished()
        self.admission.admit()
        self._load_early()
        if not self.workload.batches and self.cache.waits_for_a_load:
            self._wait_for_loader()
            return
        batch = self.workload.next_batch()
        if batch is not None:
            self.executor.step(batch)
            self.executor.finish(batch)
            self.workload.drop_finished()

    def _wait_for_loader(self) -> None:
        """Wait until what is being loaded is ready, or a new job has arrived."""
        with self.watchdog.deadline(LOADING_SECONDS):
            while self.cache.waits_for_a_load and self._arrivals.empty():
                time.sleep(POLL_SECONDS)

    def _load_early(self) -> None:
        """Load models before the first request, unless others would have to be evicted. Failures are logged."""
        for spec in list(self._early):
            in_use = self.workload.in_use()
            try:
                with self.cache.loads.one_look():
                    has_room = self.cache.has_room(spec, in_use)
                    is_ready = has_room and self.cache.prepare(spec, in_use)
                if not has_room:
                    self._note_early_failure(spec, "other models fill the memory.")
                elif not is_ready:
                    continue
                else:
                    with self.watchdog.deadline(LOADING_SECONDS):
                        model = self.cache.get(spec, in_use)
                        self.backends.select(model, Size(spec.width, spec.height), (), 1, in_use=self.workload.in_use())
                    for request in warm_up_requests(spec, model):
                        self._first_jobs.append(Job(request, spec))
                        self.workload.add(self._first_jobs[-1])
                    logger.info("%s is loaded early", spec.slug)
            except Exception as error:
                self._note_early_failure(spec, str(error))
            self._early.remove(spec)

    def _end_first_jobs(self) -> None:
        """Note which models that were loaded early could not paint: no caller waits for the error."""
        for job in [job for job in self._first_jobs if job.is_done]:
            self._first_jobs.remove(job)
            while not job.messages.empty():
                if isinstance(message := job.messages.get(), Exception):
                    self._note_early_failure(job.spec, f"it is loaded and does not paint: {message}")

    def _note_early_failure(self, spec: ModelSpec, reason: str) -> None:
        logger.warning("%s is not ready for its first request: %s", spec.slug, reason)
        self.early_failures[spec.slug] = reason


def compose_preview(preview: Preview, sample: InFlightSample) -> NDArray[np.uint8] | None:
    """The image of a preview; None where it fails, which must not fail the job. Raises DeviceLost."""
    try:
        return preview()
    except Exception as error:
        preview_failed(sample, error)
        return None


def warm_up_requests(spec: ModelSpec, model: LatentModel) -> list[InpaintRequest]:
    """Requests of the model's native size that are read, take a step, and are decoded, where the first step is slow.

    Where blocks are compiled two share a step, with prompts of different lengths, and then one takes a step alone: they
    are compiled for several rows and for one.
    """
    if not (model.hardware.has_slow_first_step or model.is_compiled):
        return []
    pixels = np.zeros((spec.height, spec.width, 3), np.uint8)
    mask = np.full((spec.height, spec.width), 255, np.uint8)
    settings = [PaintSettings(steps=1, strength=1.0)]
    if model.is_compiled:
        settings.append(PaintSettings(steps=2, strength=1.0, prompt="a photo of a garden " * 10))
    return [InpaintRequest(CanonicalImage(pixels), mask, given) for given in settings]
