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
from inpainting.engines.diffusion.conditioning.active_adapters import Fittings
from inpainting.engines.diffusion.conditioning.lora_adapters import worn_by
from inpainting.engines.diffusion.conditioning.textual_inversion import Vectors
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.hardware import is_out_of_memory
from inpainting.engines.diffusion.serving.batch_tuner import Pace
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS, Pulse
from inpainting.engines.diffusion.serving.jobs import (
    ALL,
    MOST_ROWS,
    Failed,
    Group,
    Key,
    Live,
    Painted,
    Ticket,
    computed_by,
    holds,
    may_be_compiled,
    rows_of,
)
from inpainting.engines.diffusion.serving.model_cache import InUse, Shelf

if TYPE_CHECKING:
    from inpainting.engines.diffusion.backends.openvino.networks import Networks

logger = logging.getLogger(__name__)

PREVIEW_EVERY_SECONDS = 0.5
SIGN_OF_LIFE_SECONDS = 1.0
"""How often a caller's `on_step` is called at least, as engines promise, however long a step takes."""
MEMORY_SHARE = 0.9
"""Of the free memory of a GPU that rows may take together."""
MOST_PACES = 64
"""Of a model: sizes, fittings and lengths of text at which it is remembered how fast it is."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher:
    """Paints what `paint` is asked for, as much at once as pays.

    most_rows: rows of the UNet's batch at most; None is as many as memory holds and still make it faster, measured.
    1 is the deterministic mode: nothing is ever computed in company. networks: what computes in torch's place where it
    can; None is nothing.
    """

    def __init__(self, shelf: Shelf, *, most_rows: int | None = None, networks: Networks | None = None) -> None:
        self.shelf = shelf
        self.networks = networks
        self.most_rows = most_rows
        self.pulse = Pulse()
        self._arrivals: SimpleQueue[Ticket | ModelSpec] = SimpleQueue()
        self._waiting: deque[tuple[Ticket, int]] = deque()
        self._groups: list[Group] = []
        self._paces: WeakKeyDictionary[LatentModel, OrderedDict[Key, Pace]] = WeakKeyDictionary()
        self._entering: Ticket | None = None
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
        ticket = Ticket(
            request, spec, Fittings(worn_by(request.settings.loras, loras), tuple(parts)), embeddings=embeddings
        )
        self._ensure_thread()
        self._arrivals.put(ticket)
        step = Step(0, 0)
        try:
            while True:
                try:
                    message = ticket.messages.get(timeout=SIGN_OF_LIFE_SECONDS)
                except Empty:
                    if self.pulse.is_broken or not (self._thread and self._thread.is_alive()):
                        raise DeviceLost("The device answers no more.") from None
                    # Said only while the device's thread is within its time: a hung device must look hung.
                    if self.pulse.is_alive:
                        on_step(Step(step.done, step.of))
                    continue
                match message:
                    case Step():
                        step = message
                        on_step(message)
                    case Failed(error):
                        raise error
                    case Painted(pictures, notes):
                        return pictures, notes
        finally:
            ticket.is_over = True

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
        while not self.pulse.is_broken:
            try:
                self._take_arrivals()
                self.turn()
            except DeviceLost:
                # Who waits hears it from the pulse: their generations are not to blame, and run again elsewhere.
                self.pulse.is_broken = True
            except Exception as error:
                logger.exception("The diffusion loop broke; what it held fails")
                held = [one.ticket for group in self._groups for one in group.live]
                self._groups.clear()
                for ticket in [*held, *(ticket for ticket, _ in self._waiting)]:
                    if not ticket.is_over:
                        ticket.fail(broken(error))
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

    def turn(self) -> None:
        """Let in who may start, take one step with one group, decode what is done."""
        self._let_go()
        self._admit()
        group = min(self._groups, key=lambda one: one.last_stepped, default=None)
        if group is not None:
            self._step(group)
            self._finish(group)
            self._let_go()

    def _load_early(self, spec: ModelSpec) -> None:
        with self.pulse.works(LOADING_SECONDS):
            try:
                if not self.shelf.fits(spec, self._in_use()):
                    logger.info("%s is not loaded early: other models fill the memory", spec.slug)
                    return
                model = self.shelf.get(spec, self._in_use())
                if self.networks is not None:
                    self.networks.wanted(model, Size(spec.width, spec.height), (), 1, in_use=self._in_use())
            except Exception as error:
                logger.warning("%s cannot be loaded early: %s", spec.slug, error)
            else:
                logger.info("%s is loaded and warm", spec.slug)

    def _let_go(self) -> None:
        """Whoever cancelled, or failed in one of several pictures, leaves before the next step; empty groups go."""
        self._waiting = deque((ticket, index) for ticket, index in self._waiting if not ticket.is_over)
        for group in self._groups:
            group.live = [one for one in group.live if not one.ticket.is_over]
        self._groups = [group for group in self._groups if group.live]

    def _in_use(self) -> InUse:
        """By what somebody is painted, is about to be, or, of what is compiled, goes on with his next picture."""
        entering = [] if self._entering is None else [self._entering]
        models = [*(group.model for group in self._groups), *(self.shelf.loaded(one.spec) for one in entering)]
        worn = [*(group.fittings for group in self._groups), *(one.fittings for one in entering)]
        begun = [*entering, *(ticket for ticket, _ in self._waiting)]
        compiled = [*(group.compiled for group in self._groups), *(one.compiled for one in begun if not one.is_over)]
        return InUse(
            models=[one for one in models if one is not None],
            parts=[part for fittings in worn for part in fittings.parts],
            compiled=[one for one in compiled if one is not None],
            loras=[lora.name for fittings in worn for lora in fittings.loras],
        )

    def _admit(self) -> None:
        """Start those who wait, in their order, while their group has room."""
        held_back: deque[tuple[Ticket, int]] = deque()
        for ticket, index in self._waiting:
            if ticket.is_over:
                continue
            try:
                if not self._may_start(ticket, held_back):
                    held_back.append((ticket, index))
                    continue
            except Exception as error:
                self._give_up(ticket, self._noted(error))
                continue
            self._entering = ticket
            try:
                with self.pulse.works(LOADING_SECONDS):
                    started = self._enter(ticket, index)
            finally:
                self._entering = None
            if isinstance(started, Exception):
                self._give_up(ticket, started)
        self._waiting = held_back

    def _may_start(self, ticket: Ticket, held_back: Sequence[tuple[Ticket, int]]) -> bool:
        """Whether one more picture may start now, given those before it in line that may not."""
        model = self.shelf.loaded(ticket.spec)
        key = self._key(ticket, model)
        # No overtaking: not in one's own group, nor while a model waits for the others to be done.
        if any(one.spec.slug == ticket.spec.slug and self._key(one, model) == key for one, _ in held_back):
            return False
        in_use = self._in_use()
        waited_for = {one.spec.slug: one.spec for one, _ in held_back}
        if not all(self.shelf.fits(spec, in_use) for spec in waited_for.values()):
            return False
        if not self.shelf.fits(ticket.spec, in_use):
            return not in_use.models
        group = self._group(model, key) if model is not None else None
        if model is None or group is None:
            return True
        if len(group.live) >= group.at_once:
            return False
        return group.most_rows + model.rows_for(ticket.request.settings) <= self._most_rows(group)

    def _most_rows(self, group: Group) -> int:
        if self.most_rows is not None:
            return self.most_rows
        fitting = MOST_ROWS
        if group.pace.row_bytes:
            # Asked between two steps, when what runs holds none of it.
            fitting = int(self.shelf.hardware.free_bytes() * MEMORY_SHARE / group.pace.row_bytes)
        return min(group.pace.rows, fitting)

    def _key(self, ticket: Ticket, model: LatentModel | None) -> Key:
        """The group of a ticket whose model is this one, None while it is not there: then as far as that is known."""
        is_compiled = False
        if model is not None:
            if not ticket.chunks:
                ticket.chunks = model.count_chunks(ticket.request.settings, self._vectors(ticket, model))
            is_compiled = self._computes(ticket, model) is not None
        return Key(ticket.spec.slug, ticket.size, ticket.fittings, ticket.chunks, is_compiled)

    def _computes(self, ticket: Ticket, model: LatentModel) -> Backend | None:
        """What computes its next picture; None is torch. Only asks: nothing is begun for it."""
        if ticket.text is not None:
            return ticket.compiled if holds(model, ticket.compiled) else None
        if self.networks is None or not may_be_compiled(ticket):
            return None
        return self.networks.ready(model, ticket.size, ticket.fittings.loras, ticket.chunks)

    def _group(self, model: LatentModel, key: Key) -> Group | None:
        return next((group for group in self._groups if group.model is model and group.key == key), None)

    def _pace(self, model: LatentModel, key: Key) -> Pace:
        """What is known of that kind, of which the least used are forgotten, and all with the model."""
        paces = self._paces.setdefault(model, OrderedDict())
        pace = paces.setdefault(key, Pace(MOST_ROWS))
        paces.move_to_end(key)
        if len(paces) > MOST_PACES:
            paces.popitem(last=False)
        return pace

    def _vectors(self, ticket: Ticket, model: LatentModel) -> Sequence[Vectors]:
        if ticket.vectors is None:
            ticket.vectors = model.vectors_of(ticket.embeddings) if ticket.embeddings else ()
        return ticket.vectors

    def _enter(self, ticket: Ticket, index: int) -> Live | Exception:
        """A picture that has begun, or why it could not."""
        (model,) = self._attempt(lambda _: [self.shelf.get(ticket.spec, self._in_use())], [ticket], None)
        if isinstance(model, Exception):
            return model
        (started,) = self._attempt(lambda _: [self._start(ticket, index)], [ticket], model)
        return started

    def _start(self, ticket: Ticket, index: int) -> Live:
        model = self.shelf.get(ticket.spec, self._in_use())
        loras = ticket.fittings.loras
        self.shelf.bring(loras, model, self._in_use())
        self._bring_parts(ticket, model)
        model.adapters.wear(loras)  # when all is here: a LoRA that makes room for it takes the others off
        if ticket.text is None:
            ticket.text, notes = model.read(ticket.request.settings, ticket.size, self._vectors(ticket, model))
            ticket.note(*notes)
            self._choose(ticket, model)
        if not holds(model, ticket.compiled):
            ticket.compiled = None  # the model was loaded anew between two of its pictures
        model.compiled = ticket.compiled
        with model.painting_with(ticket.vae):
            denoising, notes = model.start(ticket.request, index, ticket.text)
        denoising.lead, denoising.image_prompt = ticket.lead, ticket.image_prompt
        ticket.note(*notes)
        if ticket.lead is not None and ticket.lead.strength and not ticket.lead.leads_in(len(denoising.timesteps)):
            ticket.note(controlnet.NEVER_LED)
        ticket.steps_of = len(denoising.timesteps) * ticket.request.settings.num_images
        window = np.asarray(ticket.request.image.pixels, np.uint8)
        preview = previews.previewer(window, denoising, self.shelf.preview_decoder(ticket.spec.family))
        key = self._key(ticket, model)
        group = self._group(model, key)
        if group is None:
            group = Group(model, key, self._pace(model, key))
            self._groups.append(group)
        live = Live(ticket, index, denoising, preview)
        group.live.append(live)
        return live

    def _bring_parts(self, ticket: Ticket, model: LatentModel) -> None:
        """What all of a ticket's pictures are painted with beside the model, held by it whatever becomes of its files.

        Raises EngineFailed where a part does not do.
        """
        kinds = (Kind.VAE, Kind.CONTROLNET, Kind.IP_ADAPTER)
        vae, control, adapter = (ticket.fittings.part(kind) for kind in kinds)
        if model.unet is None and (control or adapter):
            raise EngineFailed(f"{model.spec.label} is led by words alone.", code="part_unfit")
        if vae is not None and ticket.vae is None:
            ticket.vae = self._part(vae)
        if control is not None and ticket.lead is None:
            network = self._part(control)
            controlnet.check_fits(network, model.unet, control, model.spec.label)
            ticket.lead = controlnet.lead(network, control, ticket.request, self.shelf.hardware.device)
        if adapter is not None and ticket.image_prompt is None:
            rows = model.rows_for(ticket.request.settings)
            ticket.image_prompt = self._part(adapter).prompt(ticket.request, model.unet, rows)

    def _part(self, spec: ModelSpec) -> Any:
        return self.shelf.part(spec, self._in_use())

    def _choose(self, ticket: Ticket, model: LatentModel) -> None:
        """What computes all of a request is what is ready now: no picture begins in one way and ends in another."""
        if self.networks is None or not may_be_compiled(ticket):
            return
        wanted, chunks = (model, ticket.size, ticket.fittings.loras), self._key(ticket, model).chunks
        ticket.compiled = self.networks.wanted(*wanted, chunks, in_use=self._in_use())
        refusal = self.networks.refusal(*wanted)
        if refusal is not None:
            ticket.note(refusal)

    def _step(self, group: Group) -> None:
        """One step for all of a group, in as few calls of the UNet as memory holds."""
        group.last_stepped = time.monotonic()
        live, hardware = list(group.live), self.shelf.hardware

        def predict(some: Sequence[Live]) -> list[torch.Tensor]:
            before, started = hardware.forget_peak(), time.perf_counter()
            group.model.adapters.wear(group.fittings.loras)
            group.model.compiled = group.compiled
            answers = group.model.predict([one.denoising for one in some])
            hardware.synchronize()
            group.pace.note(rows_of(some), time.perf_counter() - started, hardware.peak_bytes() - before)
            return answers

        answers: list[torch.Tensor | Exception] = []
        while len(answers) < len(live):
            some = live[len(answers) : len(answers) + group.at_once]
            with self.pulse.works_a_step(group.pace.seconds(rows_of(some))):
                answers += self._attempt(predict, some, group.model, group)
        for one, answer in zip(live, answers, strict=True):
            self._advance(one, answer, group.model)

    def _advance(self, one: Live, answer: torch.Tensor | Exception, model: LatentModel) -> None:
        ticket = one.ticket
        if not isinstance(answer, Exception):
            try:
                one.denoising.advance(answer)
            except Exception as error:
                answer = self._noted(error)
        if isinstance(answer, Exception):
            self._give_up(ticket, answer)
            return
        ticket.steps_done += 1
        way = computed_by(ticket, model.hardware.dtype)
        ticket.messages.put(Step(ticket.steps_done, ticket.steps_of, self._preview_of(one), computed_by=way))

    def _preview_of(self, one: Live) -> NDArray[np.uint8] | None:
        now = time.monotonic()
        if one.preview is None or now - one.ticket.previewed_at < PREVIEW_EVERY_SECONDS:
            return None
        one.ticket.previewed_at = now
        try:
            return one.preview(one.denoising)
        except Exception as error:  # a preview is not worth a picture
            logger.warning("No more previews of a picture by %s: %s", one.ticket.spec.slug, self._noted(error))
            one.preview = None
            return None

    def _finish(self, group: Group) -> None:
        """Decode those that are done, in a batch of their own."""
        done = [one for one in group.live if one.denoising.is_done and not one.ticket.is_over]
        if not done:
            return

        def decode(some: Sequence[Live]) -> list[NDArray[np.uint8]]:
            vaes = {id(one.ticket.vae): one.ticket.vae for one in some}
            if len(vaes) > 1:  # its files were replaced while some are painted
                return [picture for one in some for picture in decode([one])]
            group.model.compiled = group.compiled
            with group.model.painting_with(*vaes.values()):
                return group.model.decode(torch.cat([one.denoising.latents for one in some]))

        with self.pulse.works(LOADING_SECONDS):
            results = self._attempt(decode, done, group.model)
        for one, result in zip(done, results, strict=True):
            if isinstance(result, Exception):
                self._give_up(one.ticket, result)
            else:
                self._keep(one.ticket, one.index, result, group.model)
        group.live = [one for one in group.live if not one.denoising.is_done]

    def _keep(self, ticket: Ticket, index: int, picture: NDArray[np.uint8], model: LatentModel) -> None:
        ticket.pictures[index] = picture
        if len(ticket.pictures) == ticket.request.settings.num_images and not ticket.is_over:
            ticket.note(*model.sacrifices, *(ticket.compiled.notes if ticket.compiled is not None else ()))
            ticket.is_over = True
            pictures = [ticket.pictures[n] for n in sorted(ticket.pictures)]
            ticket.messages.put(Painted(pictures, tuple(ticket.notes)))

    # When something fails

    def _attempt(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        items: Sequence[Item],
        model: LatentModel | None,
        group: Group | None = None,
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
                self.shelf.hardware.empty_cache()
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
        if self.shelf.put_away(self._in_use()):
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

    def _give_up(self, ticket: Ticket, error: Exception) -> None:
        """Its caller hears why."""
        if is_out_of_memory(error):
            error = out_of_memory(ticket)
        ticket.fail(error if isinstance(error, PaintingError) else broken(error))


def is_device_lost(error: BaseException) -> bool:
    """CUDA's sticky errors: nothing but another process gets an answer from the device."""
    is_cudas = isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    return is_cudas and not is_out_of_memory(error)


def out_of_memory(ticket: Ticket) -> EngineFailed:
    return EngineFailed(
        f"The device's memory is too small for {ticket.size} pixels with this model; "
        "ask for a smaller width and height.",
        code=OUT_OF_MEMORY,
    )


def broken(error: Exception) -> EngineFailed:
    """What a caller hears of an error that is nobody's fault but ours."""
    return EngineFailed(f"The model failed ({type(error).__name__}); the server's log says why.", code="model_failed")
