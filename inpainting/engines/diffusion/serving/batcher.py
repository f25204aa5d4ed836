"""The loop: one thread owns the device, many generations share each call of the UNet, wherever each is in its steps.

Whoever wants a picture calls `paint` on a thread of their own and waits there; only tensors and messages cross over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import Kind, LoraSpec, ModelSpec
from inpainting.core.errors import OUT_OF_MEMORY, DeviceLost, EngineFailed, PaintingError
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import OnStep, Step
from inpainting.engines.diffusion import previews
from inpainting.engines.diffusion.backends.base import Backend
from inpainting.engines.diffusion.conditioning import controlnet
from inpainting.engines.diffusion.conditioning.active_adapters import ActiveAdapters
from inpainting.engines.diffusion.conditioning.lora_adapters import active_loras
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.hardware import is_out_of_memory
from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS, DeviceWatchdog
from inpainting.engines.diffusion.serving.jobs import (
    ALL,
    MAX_ROWS,
    InFlightSample,
    Job,
    JobFailed,
    JobSucceeded,
    Key,
    StepBatch,
    computed_by,
    holds,
    may_be_compiled,
    rows_of,
)
from inpainting.engines.diffusion.serving.model_cache import InUse, ModelCache

if TYPE_CHECKING:
    from inpainting.engines.diffusion.backends.openvino.networks import OpenVinoBackends

logger = logging.getLogger(__name__)

PREVIEW_INTERVAL_SECONDS = 0.5
KEEPALIVE_SECONDS = 1.0
"""How often a caller's `on_step` is called at least, as engines promise, however long a step takes."""
MEMORY_SHARE = 0.9
"""Of the free memory of a GPU that rows may take together."""
MAX_TUNERS = 64
"""Of a model: sizes, fittings and lengths of text at which it is remembered how fast it is."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher:
    """Paints what `paint` is asked for, as much at once as pays.

    max_rows: rows of the UNet's batch at most; None is as many as memory holds and still make it faster, measured.
    1 is the deterministic mode: nothing is ever computed in company. networks: what computes in torch's place where it
    can; None is nothing.
    """

    def __init__(
        self, cache: ModelCache, *, max_rows: int | None = None, networks: OpenVinoBackends | None = None
    ) -> None:
        self.cache = cache
        self.networks = networks
        self.max_rows = max_rows
        self.watchdog = DeviceWatchdog()
        self._arrivals: SimpleQueue[Job | ModelSpec] = SimpleQueue()
        self._waiting: deque[tuple[Job, int]] = deque()
        self._groups: list[StepBatch] = []
        self._tuners: WeakKeyDictionary[LatentModel, OrderedDict[Key, BatchSizeTuner]] = WeakKeyDictionary()
        self._entering: Job | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    # On the callers' threads

    def paint(
        self,
        request: InpaintRequest,
        spec: ModelSpec,
        on_step: OnStep,
        loras: Sequence[LoraSpec] = (),
        parts: Sequence[ModelSpec] = (),
        embeddings: Sequence[ModelSpec] = (),
    ) -> tuple[list[NDArray[np.uint8]], tuple[str, ...]]:
        """`settings.num_images` pictures of the request's size, and sentences about what ran otherwise than asked.

        The request's sides are multiples of 8. loras: what `settings.loras` names, in that order; parts: what other
        settings of it name, and embeddings what those of that name do.

        Raises EngineFailed, and DeviceLost where only another process can go on; what `on_step` raises stops the
        painting.
        """
        job = Job(
            request,
            spec,
            ActiveAdapters(active_loras(request.settings.loras, loras), tuple(parts)),
            embeddings=embeddings,
        )
        self._ensure_thread()
        self._arrivals.put(job)
        step = Step(0, 0)
        try:
            while True:
                try:
                    message = job.messages.get(timeout=KEEPALIVE_SECONDS)
                except Empty:
                    if self.watchdog.is_broken or not (self._thread and self._thread.is_alive()):
                        raise DeviceLost("The device answers no more.") from None
                    # Said only while the device's thread is within its time: a hung device must look hung.
                    if self.watchdog.is_alive:
                        on_step(Step(step.done, step.of))
                    continue
                match message:
                    case Step():
                        step = message
                        on_step(message)
                    case JobFailed(error):
                        raise error
                    case JobSucceeded(pictures, notes):
                        return pictures, notes
        finally:
            job.is_done = True

    def warm(self, spec: ModelSpec) -> None:
        """Load a model before anybody asks for it. Returns at once; what goes wrong is a warning in the log."""
        self._ensure_thread()
        self._arrivals.put(spec)

    def _ensure_thread(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="diffusion", daemon=True)
                self._thread.start()

    # On the device's thread

    def _run(self) -> None:
        while not self.watchdog.is_broken:
            try:
                self._take_arrivals()
                self.run_once()
            except DeviceLost:
                # Who waits hears it from the watchdog: their generations are not to blame, and run again elsewhere.
                self.watchdog.is_broken = True
            except Exception as error:
                logger.exception("The diffusion loop broke; what it held fails")
                held = [one.job for group in self._groups for one in group.samples]
                self._groups.clear()
                for job in [*held, *(job for job, _ in self._waiting)]:
                    if not job.is_done:
                        job.fail(broken(error))
                self._waiting.clear()

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._groups

    def _take_arrivals(self) -> None:
        """Waits only where there is nothing to do."""
        while not self._arrivals.empty() or self.is_idle:
            arrival = self._arrivals.get()
            if isinstance(arrival, ModelSpec):
                self._load_early(arrival)
            else:
                self._waiting.extend((arrival, index) for index in range(arrival.request.settings.num_images))

    def run_once(self) -> None:
        """Let in who may start, take one step with one group, decode what is done."""
        self._drop_finished()
        self._admit()
        group = min(self._groups, key=lambda one: one.last_stepped, default=None)
        if group is not None:
            self._step(group)
            self._finish(group)
            self._drop_finished()

    def _load_early(self, spec: ModelSpec) -> None:
        with self.watchdog.deadline(LOADING_SECONDS):
            try:
                if not self.cache.fits(spec, self._in_use()):
                    logger.info("%s is not loaded early: other models fill the memory", spec.slug)
                    return
                model = self.cache.get(spec, self._in_use())
                if self.networks is not None:
                    self.networks.wanted(model, Size(spec.width, spec.height), (), 1, in_use=self._in_use())
            except Exception as error:
                logger.warning("%s cannot be loaded early: %s", spec.slug, error)
            else:
                logger.info("%s is loaded and warm", spec.slug)

    def _drop_finished(self) -> None:
        """Whoever cancelled, or failed in one of several pictures, leaves before the next step; empty groups go."""
        self._waiting = deque((job, index) for job, index in self._waiting if not job.is_done)
        for group in self._groups:
            group.samples = [one for one in group.samples if not one.job.is_done]
        self._groups = [group for group in self._groups if group.samples]

    def _in_use(self) -> InUse:
        """By what somebody is painted, is about to be, or, of what is compiled, goes on with his next picture."""
        entering = [] if self._entering is None else [self._entering]
        models = [*(group.model for group in self._groups), *(self.cache.loaded(one.spec) for one in entering)]
        worn = [*(group.fittings for group in self._groups), *(one.fittings for one in entering)]
        begun = [*entering, *(job for job, _ in self._waiting)]
        compiled = [*(group.compiled for group in self._groups), *(one.compiled for one in begun if not one.is_done)]
        return InUse(
            models=[one for one in models if one is not None],
            parts=[part for fittings in worn for part in fittings.parts],
            compiled=[one for one in compiled if one is not None],
            loras=[lora.name for fittings in worn for lora in fittings.loras],
        )

    def _admit(self) -> None:
        """Start those who wait, in their order, while their group has room."""
        deferred: deque[tuple[Job, int]] = deque()
        for job, index in self._waiting:
            if job.is_done:
                continue
            try:
                if not self._may_start(job, deferred):
                    deferred.append((job, index))
                    continue
            except Exception as error:
                self._give_up(job, self._noted(error))
                continue
            self._entering = job
            try:
                with self.watchdog.deadline(LOADING_SECONDS):
                    started = self._enter(job, index)
            finally:
                self._entering = None
            if isinstance(started, Exception):
                self._give_up(job, started)
        self._waiting = deferred

    def _may_start(self, job: Job, deferred: Sequence[tuple[Job, int]]) -> bool:
        """Whether one more picture may start now, given those before it in line that may not."""
        model = self.cache.loaded(job.spec)
        key = self._key(job, model)
        # No overtaking: not in one's own group, nor while a model waits for the others to be done.
        if any(one.spec.slug == job.spec.slug and self._key(one, model) == key for one, _ in deferred):
            return False
        in_use = self._in_use()
        waited_for = {one.spec.slug: one.spec for one, _ in deferred}
        if not all(self.cache.fits(spec, in_use) for spec in waited_for.values()):
            return False
        if not self.cache.fits(job.spec, in_use):
            return not in_use.models
        group = self._group(model, key) if model is not None else None
        if model is None or group is None:
            return True
        if len(group.samples) >= group.at_once:
            return False
        return group.max_rows + model.rows_for(job.request.settings) <= self._max_rows(group)

    def _max_rows(self, group: StepBatch) -> int:
        if self.max_rows is not None:
            return self.max_rows
        fitting = MAX_ROWS
        if group.tuner.row_bytes:
            # Asked between two steps, when what runs holds none of it.
            fitting = int(self.cache.hardware.free_bytes() * MEMORY_SHARE / group.tuner.row_bytes)
        return min(group.tuner.rows, fitting)

    def _key(self, job: Job, model: LatentModel | None) -> Key:
        """The group of a job whose model is this one, None while it is not there: then as far as that is known."""
        is_compiled = False
        if model is not None:
            if not job.chunks:
                job.chunks = model.count_chunks(job.request.settings, self._vectors(job, model))
            is_compiled = self._computes(job, model) is not None
        return Key(job.spec.slug, job.size, job.fittings, job.chunks, is_compiled)

    def _computes(self, job: Job, model: LatentModel) -> Backend | None:
        """What computes its next picture; None is torch. Only asks: nothing is begun for it."""
        if job.text is not None:
            return job.compiled if holds(model, job.compiled) else None
        if self.networks is None or not may_be_compiled(job):
            return None
        return self.networks.ready(model, job.size, job.fittings.loras, job.chunks)

    def _group(self, model: LatentModel, key: Key) -> StepBatch | None:
        return next((group for group in self._groups if group.model is model and group.key == key), None)

    def _tuner(self, model: LatentModel, key: Key) -> BatchSizeTuner:
        """What is known of that kind, of which the least used are forgotten, and all with the model."""
        paces = self._tuners.setdefault(model, OrderedDict())
        tuner = paces.setdefault(key, BatchSizeTuner(MAX_ROWS))
        paces.move_to_end(key)
        if len(paces) > MAX_TUNERS:
            paces.popitem(last=False)
        return tuner

    def _vectors(self, job: Job, model: LatentModel) -> Sequence[EmbeddingVectors]:
        if job.vectors is None:
            job.vectors = model.load_embeddings(job.embeddings) if job.embeddings else ()
        return job.vectors

    def _enter(self, job: Job, index: int) -> InFlightSample | Exception:
        """A picture that has begun, or why it could not."""
        (model,) = self._attempt(lambda _: [self.cache.get(job.spec, self._in_use())], [job], None)
        if isinstance(model, Exception):
            return model
        (started,) = self._attempt(lambda _: [self._start(job, index)], [job], model)
        return started

    def _start(self, job: Job, index: int) -> InFlightSample:
        model = self.cache.get(job.spec, self._in_use())
        loras = job.fittings.loras
        self.cache.bring(loras, model, self._in_use())
        self._bring_parts(job, model)
        model.loras.activate(loras)  # when all is here: a LoRA that makes room for it takes the others off
        if job.text is None:
            job.text, notes = model.read(job.request.settings, job.size, self._vectors(job, model))
            job.note(*notes)
            self._choose(job, model)
        if not holds(model, job.compiled):
            job.compiled = None  # the model was loaded anew between two of its pictures
        model.compiled = job.compiled
        with model.painting_with(job.vae):
            denoising, notes = model.start(job.request, index, job.text)
        denoising.lead, denoising.image_prompt = job.lead, job.image_prompt
        job.note(*notes)
        if job.lead is not None and job.lead.strength and not job.lead.is_active_in(len(denoising.timesteps)):
            job.note(controlnet.NO_STEP_CONTROLLED)
        job.steps_of = len(denoising.timesteps) * job.request.settings.num_images
        window = np.asarray(job.request.image.pixels, np.uint8)
        preview = previews.previewer(window, denoising, self.cache.preview_decoder(job.spec.family))
        key = self._key(job, model)
        group = self._group(model, key)
        if group is None:
            group = StepBatch(model, key, self._tuner(model, key))
            self._groups.append(group)
        samples = InFlightSample(job, index, denoising, preview)
        group.samples.append(samples)
        return samples

    def _bring_parts(self, job: Job, model: LatentModel) -> None:
        """What all of a job's pictures are painted with beside the model, held by it whatever becomes of its files.

        Raises EngineFailed where a part does not do.
        """
        kinds = (Kind.VAE, Kind.CONTROLNET, Kind.IP_ADAPTER)
        vae, control, adapter = (job.fittings.part(kind) for kind in kinds)
        if model.unet is None and (control or adapter):
            raise EngineFailed(f"{model.spec.label} is led by words alone.", code="part_unfit")
        if vae is not None and job.vae is None:
            job.vae = self._part(vae)
        if control is not None and job.lead is None:
            network = self._part(control)
            controlnet.check_fits(network, model.unet, control, model.spec.label)
            job.lead = controlnet.condition(network, control, job.request, self.cache.hardware.device)
        if adapter is not None and job.image_prompt is None:
            rows = model.rows_for(job.request.settings)
            job.image_prompt = self._part(adapter).prompt(job.request, model.unet, rows)

    def _part(self, spec: ModelSpec) -> Any:
        return self.cache.part(spec, self._in_use())

    def _choose(self, job: Job, model: LatentModel) -> None:
        """What computes all of a request is what is ready now: no picture begins in one way and ends in another."""
        if self.networks is None or not may_be_compiled(job):
            return
        wanted, chunks = (model, job.size, job.fittings.loras), self._key(job, model).chunks
        job.compiled = self.networks.wanted(*wanted, chunks, in_use=self._in_use())
        refusal = self.networks.rejection(*wanted)
        if refusal is not None:
            job.note(refusal)

    def _step(self, group: StepBatch) -> None:
        """One step for all of a group, in as few calls of the UNet as memory holds."""
        group.last_stepped = time.monotonic()
        samples, hardware = list(group.samples), self.cache.hardware

        def predict(some: Sequence[InFlightSample]) -> list[torch.Tensor]:
            before, started = hardware.reset_peak(), time.perf_counter()
            group.model.loras.activate(group.fittings.loras)
            group.model.compiled = group.compiled
            answers = group.model.predict([one.denoising for one in some])
            hardware.synchronize()
            group.tuner.note(rows_of(some), time.perf_counter() - started, hardware.peak_bytes() - before)
            return answers

        answers: list[torch.Tensor | Exception] = []
        while len(answers) < len(samples):
            some = samples[len(answers) : len(answers) + group.at_once]
            with self.watchdog.step_deadline(group.tuner.seconds(rows_of(some))):
                answers += self._attempt(predict, some, group.model, group)
        for one, answer in zip(samples, answers, strict=True):
            self._advance(one, answer, group.model)

    def _advance(self, one: InFlightSample, answer: torch.Tensor | Exception, model: LatentModel) -> None:
        job = one.job
        if not isinstance(answer, Exception):
            try:
                one.denoising.advance(answer)
            except Exception as error:
                answer = self._noted(error)
        if isinstance(answer, Exception):
            self._give_up(job, answer)
            return
        job.steps_done += 1
        way = computed_by(job, model.hardware.dtype)
        job.messages.put(Step(job.steps_done, job.steps_of, self._preview_of(one), computed_by=way))

    def _preview_of(self, one: InFlightSample) -> NDArray[np.uint8] | None:
        now = time.monotonic()
        if one.preview is None or now - one.job.previewed_at < PREVIEW_INTERVAL_SECONDS:
            return None
        one.job.previewed_at = now
        try:
            return one.preview(one.denoising)
        except Exception as error:  # a preview is not worth a picture
            logger.warning("No more previews of a picture by %s: %s", one.job.spec.slug, self._noted(error))
            one.preview = None
            return None

    def _finish(self, group: StepBatch) -> None:
        """Decode those that are done, in a batch of their own."""
        done = [one for one in group.samples if one.denoising.is_done and not one.job.is_done]
        if not done:
            return

        def decode(some: Sequence[InFlightSample]) -> list[NDArray[np.uint8]]:
            vaes = {id(one.job.vae): one.job.vae for one in some}
            if len(vaes) > 1:  # its files were replaced while some are painted
                return [picture for one in some for picture in decode([one])]
            group.model.compiled = group.compiled
            with group.model.painting_with(*vaes.values()):
                return group.model.decode(torch.cat([one.denoising.latents for one in some]))

        with self.watchdog.deadline(LOADING_SECONDS):
            results = self._attempt(decode, done, group.model)
        for one, result in zip(done, results, strict=True):
            if isinstance(result, Exception):
                self._give_up(one.job, result)
            else:
                self._keep(one.job, one.index, result, group.model)
        group.samples = [one for one in group.samples if not one.denoising.is_done]

    def _keep(self, job: Job, index: int, picture: NDArray[np.uint8], model: LatentModel) -> None:
        job.pictures[index] = picture
        if len(job.pictures) == job.request.settings.num_images and not job.is_done:
            job.note(*model.memory_fallbacks, *(job.compiled.notes if job.compiled is not None else ()))
            job.is_done = True
            pictures = [job.pictures[n] for n in sorted(job.pictures)]
            job.messages.put(JobSucceeded(pictures, tuple(job.notes)))

    # When something fails

    def _attempt(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        items: Sequence[Item],
        model: LatentModel | None,
        group: StepBatch | None = None,
    ) -> list[Result | Exception]:
        """A result of `work`, or what went wrong, for each item.

        Where memory is short it is tried again in halves, then with less and less beside it, and of the model that
        works; for any other reason one by one, so that a bad one harms only itself. group: is to know how many fit.
        Raises DeviceLost.
        """
        while True:
            try:
                return list(work(items))
            except Exception as error:
                failure = self._noted(error)
            if is_out_of_memory(failure):
                self.cache.hardware.empty_cache()
            if len(items) > 1:
                size = 1
                if is_out_of_memory(failure):
                    size = -(-len(items) // 2)
                    if group is not None:
                        group.at_once = min(group.at_once, size)
                parts = [items[start : start + size] for start in range(0, len(items), size)]
                return [result for part in parts for result in self._attempt(work, part, model, group)]
            if not is_out_of_memory(failure) or not self._make_room(model):
                return [failure]
            if group is not None:
                group.at_once = ALL  # with more room that is to be found out anew

    def _make_room(self, model: LatentModel | None) -> bool:
        """The next step down: put others away, then what the model can do without. False: there is none."""
        if self.cache.evict(self._in_use()):
            return True
        return model is not None and model.save_memory()

    def _noted(self, error: Exception) -> Exception:
        """The error without its trace, which goes to the log and would keep tensors alive. Raises DeviceLost."""
        if not isinstance(error, PaintingError):
            logger.error("Diffusion failed: %s", error, exc_info=error)
        if is_device_lost(error):
            raise DeviceLost(str(error)) from None
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)

    def _give_up(self, job: Job, error: Exception) -> None:
        """Its caller hears why."""
        if is_out_of_memory(error):
            error = out_of_memory(job)
        job.fail(error if isinstance(error, PaintingError) else broken(error))


def is_device_lost(error: BaseException) -> bool:
    """CUDA's sticky errors: nothing but another process gets an answer from the device."""
    is_cudas = isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    return is_cudas and not is_out_of_memory(error)


def out_of_memory(job: Job) -> EngineFailed:
    return EngineFailed(
        f"The device's memory is too small for {job.size} pixels with this model; ask for a smaller width and height.",
        code=OUT_OF_MEMORY,
    )


def broken(error: Exception) -> EngineFailed:
    """What a caller hears of an error that is nobody's fault but ours."""
    return EngineFailed(f"The model failed ({type(error).__name__}); the server's log says why.", code="model_failed")
