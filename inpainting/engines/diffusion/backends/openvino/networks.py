"""What is compiled for which model, and who makes it ready while torch paints."""

from __future__ import annotations

import itertools
import logging
import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import torch

from inpainting.core.geometry import Size
from inpainting.engines.diffusion.backends.openvino import network
from inpainting.engines.diffusion.backends.openvino.conversion import (
    KINDS,
    ConversionFailed,
    ConversionOrder,
    Convert,
    convert_in_subprocess,
    order_of,
)
from inpainting.engines.diffusion.backends.openvino.library import has_bfloat16
from inpainting.engines.diffusion.backends.openvino.network import CompilationPlan, OpenVinoBackend
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR
from inpainting.engines.diffusion.serving.model_cache import NOTHING, InUse, ModelCache
from inpainting.engines.diffusion.serving.model_loading import fingerprint_of

logger = logging.getLogger(__name__)

MIN_USES_TO_CONVERT = 2
"""LoRAs are fused for those who wear them again: a conversion takes longer than a picture."""
COMPILED_CHUNKS = 1
"""Of words: it is compiled for texts of this length alone."""
MEMORY_FACTOR = 2.5
"""Of the weights' size, free memory that another process with the model needs."""

BackendKey = tuple[Size, ActiveLoras]
Outcome = OpenVinoBackend | str


@dataclass(frozen=True, slots=True, eq=False)
class CompilationTask:
    """To be made ready: what it takes by kind, and for whom, who may be put away meanwhile.

    is_ready_or_delayed: set when it is ready, or cannot be soon because it has to be converted first.
    """

    model: weakref.ref[LatentModel]
    key: BackendKey
    orders: dict[str, ConversionOrder]
    plan: CompilationPlan
    is_ready_or_delayed: threading.Event = field(default_factory=threading.Event)


class OpenVinoBackends:
    """For the models of a cache, on a processor. For the device's thread alone; others make things ready.

    models_dir: the folder of all models, in which the files lie. cache_bytes: what those may take.
    """

    def __init__(
        self, cache: ModelCache, models_dir: Path, cache_bytes: int, *, convert: Convert = convert_in_subprocess
    ) -> None:
        self.cache = cache
        self.models_dir = models_dir
        self.cache_bytes = cache_bytes
        self.convert = convert
        self._rejections: weakref.WeakKeyDictionary[LatentModel, dict[BackendKey, str]] = weakref.WeakKeyDictionary()
        self._pending: weakref.WeakKeyDictionary[LatentModel, set[BackendKey]] = weakref.WeakKeyDictionary()
        self._uses: Counter[ActiveLoras] = Counter()
        self._done: SimpleQueue[tuple[CompilationTask, Outcome | None]] = SimpleQueue()
        self._count = itertools.count(1)
        self._threads: list[threading.Thread] = []

    def wanted(
        self, model: LatentModel, size: Size, worn: ActiveLoras, chunks: int, *, in_use: InUse = NOTHING
    ) -> OpenVinoBackend | None:
        """What computes this; None: torch does.

        What is converted is compiled now, which takes seconds as loading a model does. What is not is converted in the
        background, which takes a minute in which torch has painted something. chunks: of words that are heard.
        """
        self.collect()
        if chunks != COMPILED_CHUNKS or not supports(model, size):
            return None
        key = (size, worn)
        is_new = key not in self._rejections.get(model, {}) and key not in self._pending.get(model, ())
        if key not in model.networks and is_new:
            self._begin(model, key, in_use)
            self.collect()
        found = self.ready(model, size, worn, chunks)
        if found is not None:
            found.used = next(self._count)
        return found

    def ready(self, model: LatentModel, size: Size, worn: ActiveLoras, chunks: int) -> OpenVinoBackend | None:
        """What would compute this now. Only asks: see `wanted`."""
        return model.networks.get((size, worn)) if chunks == COMPILED_CHUNKS and supports(model, size) else None

    def rejection(self, model: LatentModel, size: Size, worn: ActiveLoras) -> str | None:
        """Why there is none, and will be none."""
        return self._rejections.get(model, {}).get((size, worn))

    def collect(self) -> None:
        """Take over what has become ready."""
        while not self._done.empty():
            task, outcome = self._done.get()
            self.cache.reserved_bytes -= task.plan.byte_count
            model = task.model()
            if model is None:
                continue
            self._pending[model].discard(task.key)
            if isinstance(outcome, str):
                self._rejections.setdefault(model, {})[task.key] = outcome
            elif outcome is not None and self.cache.used_bytes + outcome.byte_count <= self.cache.budget_bytes:
                outcome.used = next(self._count)
                model.networks[task.key] = outcome

    def wait(self) -> None:
        """Until all that was begun is ready, or refused."""
        while self._threads:
            self._threads.pop().join()

    def _begin(self, model: LatentModel, key: BackendKey, in_use: InUse) -> None:
        size, worn = key
        fingerprint = fingerprint_of(model.spec)
        orders = {
            kind: order_of(kind, model, fingerprint, worn if kind == "unet" else (), self.models_dir, self.cache_bytes)
            for kind in KINDS
        }
        if worn and not orders["unet"].place.is_dir():
            self._uses[worn] += 1
            if self._uses[worn] < MIN_USES_TO_CONVERT:
                return
        plan = CompilationPlan.of(model, size)
        if not self.cache.reserve(plan.byte_count, in_use):
            logger.info("%s is not compiled at %s: the memory for weights is full", model.spec.slug, size)
            return
        self._pending.setdefault(model, set()).add(key)
        task = CompilationTask(weakref.ref(model), key, orders, plan)
        thread = threading.Thread(target=self._prepare, args=(task,), name=f"openvino {size}", daemon=True)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()
        task.is_ready_or_delayed.wait()

    # On a thread of its own

    def _prepare(self, task: CompilationTask) -> None:
        try:
            outcome = self._outcome(task)
        except Exception as error:
            logger.exception("OpenVINO cannot be used")
            reason = str(error) if isinstance(error, ConversionFailed) else f"{type(error).__name__}"
            outcome = f"OpenVINO was not used: {reason}. Torch painted."
        self._done.put((task, outcome))
        task.is_ready_or_delayed.set()

    def _outcome(self, task: CompilationTask) -> Outcome | None:
        """None where the memory is short or the model gone: not now, and perhaps another time."""
        for order in task.orders.values():
            if not order.store.find(order.place):
                if task.model() is None:
                    return None
                needed, free = MEMORY_FACTOR * task.plan.byte_count, self.cache.hardware.free_bytes()
                if free < needed:
                    logger.info("%s is not converted: %d MB are free", order.slug, free // 10**6)
                    return None
                task.is_ready_or_delayed.set()
                self.convert(order)
                if not order.store.find(order.place):
                    raise ConversionFailed("what was converted cannot be read")
        if task.model() is None:
            return None
        return network.compiled(task.plan, unet_folder=task.orders["unet"].place, vae_folder=task.orders["vae"].place)


def supports(model: LatentModel, size: Size) -> bool:
    """Whether OpenVINO can compute the model as it is, at that size; what it cannot torch does without a word."""
    if model.unet is None:
        return False
    unet, config = model.unet, model.unet.config
    if model.hardware.device.type != "cpu" or model.is_tiled:
        return False
    if unet.dtype is not torch.float32 and not (unet.dtype is torch.bfloat16 and has_bfloat16()):
        return False
    # Others hear more than text and time, or have been distilled to hear their guidance.
    if config.addition_embed_type not in (None, "text_time") or config.time_cond_proj_dim is not None:
        return False
    if config.class_embed_type is not None or config.encoder_hid_dim_type is not None:
        return False
    # The trace holds no sizes that halve to odd numbers: torch then tells each layer what to come back to.
    whole = VAE_SCALE_FACTOR * 2 ** (len(config.block_out_channels) - 1)
    return size.width % whole == 0 and size.height % whole == 0
