"""Admission: which waiting images start now, in order of arrival and as long as their batch has room; their start."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from inpainting import families
from inpainting.catalog.specs import ADAPTER_LABELS, Kind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion import previews, regional_prompts
from inpainting.engines.diffusion.conditioning import controlnet, ip_adapter
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.batch_tuner import MAX_ROWS
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS, DeviceWatchdog
from inpainting.engines.diffusion.serving.failures import RetryPolicy, fail, log_unexpected
from inpainting.engines.diffusion.serving.jobs import InFlightSample, Job, StepBatch, WaitingSample
from inpainting.engines.diffusion.serving.loading.loads import ModelToLoad
from inpainting.engines.diffusion.serving.workload import Workload

MEMORY_SHARE = 0.9
"""The share of free device memory that the rows of a batch may take."""


class Admission:
    """Turns waiting images into samples of a step batch.

    max_rows: rows of a step batch at most; None is what memory and throughput allow.
    """

    def __init__(
        self, workload: Workload, retries: RetryPolicy, watchdog: DeviceWatchdog, *, max_rows: int | None
    ) -> None:
        self.workload = workload
        self.cache = workload.cache
        self.retries = retries
        self.watchdog = watchdog
        self.max_rows = max_rows

    def admit(self) -> None:
        """Start those images that may start. The others keep their order."""
        deferred: deque[WaitingSample] = deque()
        with self.cache.loads.one_look():
            for sample in self.workload.waiting:
                if not sample.job.is_done and not self._admit_image(sample, deferred):
                    deferred.append(sample)
        self.workload.waiting = deferred

    def _admit_image(self, sample: WaitingSample, deferred: Sequence[WaitingSample]) -> bool:
        """Start an image if it may start, or fail its job. False if it goes on waiting, as `deferred` do."""
        job = sample.job
        try:
            if not self._may_start(job, deferred):
                return False
        except Exception as error:
            fail(job, log_unexpected(error))
            return True
        self.workload.starting = job
        try:
            with self.cache.loads.one_look():
                started = self.start(sample)
        finally:
            self.workload.starting = None
        if isinstance(started, Exception):
            fail(job, started)
        return True

    # May it start?

    def _may_start(self, job: Job, deferred: Sequence[WaitingSample]) -> bool:
        """Whether one more image may start now. deferred: those that arrived earlier and may not."""
        if (model := self.cache.loaded(job.spec)) is not None:
            self.workload.note_fallbacks(model)  # they may end before these images do
            self.cache.stop_reducing_memory(model, job.size, self.workload.in_use())
            model = self.cache.loaded(job.spec)
        key = self.workload.key(job, model)
        # No image overtakes one with the same key, nor any while a model waits for memory that others use.
        same_model = [waiting_job.job for waiting_job in deferred if waiting_job.job.spec.slug == job.spec.slug]
        if any(self.workload.key(job, model) == key for job in same_model):
            return False
        in_use = self.workload.in_use()
        deferred_specs = {waiting_job.job.spec.slug: waiting_job.job.spec for waiting_job in deferred}
        if not all(self.cache.has_room(spec, in_use, evicts_models=True) for spec in deferred_specs.values()):
            return False
        if in_use.models and not self.cache.has_room(job.spec, in_use, evicts_models=True):
            return False
        if model is None and self.cache.models:
            return self.cache.prepare(job.spec, in_use)  # others may paint meanwhile
        if model is None:
            return True
        batch = self.workload.find_batch(model, key)
        prompts = 1 if job.prompts is None else len(job.prompts.prompts)
        if batch is not None and not self._has_room(batch, prompts * model.rows_for(job.request.settings)):
            return False
        with self.watchdog.deadline(LOADING_SECONDS):
            return self.cache.prepare_adapters(job.adapters, model, in_use)

    def _has_room(self, batch: StepBatch, rows: int) -> bool:
        """Whether a batch may take one more image of so many rows."""
        if batch.key.cache_level is not None and batch.samples:
            return False
        return len(batch.samples) < batch.max_samples and batch.max_rows + rows <= self._max_rows(batch)

    def _max_rows(self, batch: StepBatch) -> int:
        if self.max_rows is not None:
            return self.max_rows
        rows_in_memory = MAX_ROWS
        if batch.tuner.row_bytes:
            # Between two steps the running samples hold none of this memory.
            rows_in_memory = int(self.cache.hardware.free_bytes() * MEMORY_SHARE / batch.tuner.row_bytes)
        return min(batch.tuner.rows, rows_in_memory)

    # Start

    def start(self, sample: WaitingSample) -> InFlightSample | Exception:
        """Start an image and add it to its batch. Returns the error if it cannot. Raises DeviceLost."""
        job = sample.job
        with self.watchdog.deadline(LOADING_SECONDS):
            (model,) = self.retries.run(lambda _: [self._model(job)], [job], ModelToLoad(self.cache.loads, job.spec))
            if isinstance(model, Exception):
                return model
            (started,) = self.retries.run(lambda _: [self._start(job, sample.index)], [job], model)
            return started

    def _model(self, job: Job) -> LatentModel:
        model: LatentModel = self.cache.get(job.spec, self.workload.in_use())
        return model

    def _start(self, job: Job, index: int) -> InFlightSample:
        model = self._model(job)
        job.use(model)
        self._load_adapters(job, model)
        key = self.workload.key(job, model)
        text = job.text or self._encode(job, model, key.chunk_count)
        codec = model.codec(job.vae, job.backend)
        state, notes = model.start(job.request, index, text, codec)
        state.controlnets, state.image_prompts = job.controlnets or (), job.image_prompts
        state.regions, state.loras = job.regions, job.loras
        job.add_notes(*notes)
        steps = len(state.timesteps)
        idle = [network.slug for network in state.controlnets if not network.applies_in(steps)]
        job.add_notes(*(sentence(controlnet.NEVER_APPLIED, name=name) for name in idle))
        state.use_lanpaint(job.request.settings.lanpaint_steps or 0)
        job.steps_total = state.call_count * job.request.settings.num_images
        window = np.asarray(job.request.image.pixels, np.uint8)
        previewer = previews.make_previewer(window, state, self.cache.preview_decoder(job.spec.family))
        sample = InFlightSample(job, index, state, previewer, model.hardware.dtype)
        self.workload.assign(job, model).samples.append(sample)
        return sample

    def _encode(self, job: Job, model: LatentModel, chunk_count: int) -> TextConditioning:
        """Encode the text and choose the backend: one backend computes all steps of all images of a job."""
        prompts = job.prompts or regional_prompts.tokenize(model, job.request, adapters=job.adapters)
        job.text, job.regions = prompts.encode(model, job.image_prompts)
        job.loras = prompts.loras[0]
        model.loras.activate(job.adapters.loras)
        job.add_notes(*prompts.notes)
        if not job.needs_torch:
            backends, loras, in_use = self.workload.backends, job.adapters.loras, self.workload.in_use()
            job.backend = backends.select(model, job.size, loras, chunk_count, in_use=in_use)
            rejection = backends.rejection(model, job.size, loras)
            job.add_notes(*([] if rejection is None else [rejection]))
        return job.text

    def _load_adapters(self, job: Job, model: LatentModel) -> None:
        """Load a job's LoRAs and networks, and activate the LoRAs of the request.

        The job keeps its networks until it is done, even if their files are replaced meanwhile. Raises EngineFailed if
        one cannot be used.
        """
        loras = job.adapters.all_loras
        self.cache.ensure_loras_loaded(loras, model, self.workload.in_use())
        job.add_notes(*model.loras.notes(loras))
        vae = job.adapters.network(Kind.VAE)
        controls, adapters = (job.adapters.networks_of(kind) for kind in (Kind.CONTROLNET, Kind.IP_ADAPTER))
        family = families.get(model.spec.family)
        for networks, support in ((controls, family.controlnet), (adapters, family.image_prompts)):
            if networks and model.unet is None and support is None:
                raise EngineFailed(
                    sentence(
                        "{label} takes no {adapter}.", label=model.spec.label, adapter=ADAPTER_LABELS[networks[0].kind]
                    ),
                    code="adapter_unfit",
                )
        if vae is not None and job.vae is None:
            job.vae = self._network(vae)
        if job.controlnets is None:
            job.controlnets = self._controlnets(controls, job, model)
        if adapters and job.image_prompts is None:
            rows = model.rows_for(job.request.settings)
            loaded = {spec.slug: self._network(spec) for spec in adapters}
            job.image_prompts = ip_adapter.encode_prompts(loaded, job.request, model.network, rows)
        model.loras.activate(job.adapters.loras)  # after all loading: evicting another LoRA deactivates these

    def _controlnets(
        self, specs: Sequence[ModelSpec], job: Job, model: LatentModel
    ) -> tuple[ControlNetConditioning, ...]:
        """All ControlNets of a job. Raises EngineFailed if one cannot be used."""
        conditionings = []
        for control in controlnet.requested_controls(specs, job.request):
            network = self._network(control.spec)
            conditionings.append(model.control(network, control, job.request, model.codec(job.vae)))
        return tuple(conditionings)

    def _network(self, spec: ModelSpec) -> Any:
        return self.cache.adapter(spec, self.workload.in_use())
