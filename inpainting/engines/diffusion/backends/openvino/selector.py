"""Selects OpenVINO for the jobs that it can compute, and prepares it in the background while torch paints."""

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
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.openvino import backend
from inpainting.engines.diffusion.backends.openvino.backend import CompilationPlan, OpenVinoBackend
from inpainting.engines.diffusion.backends.openvino.conversion import (
    KINDS,
    ConversionFailed,
    ConversionRequest,
    Convert,
    convert_in_subprocess,
    make_request,
)
from inpainting.engines.diffusion.backends.openvino.library import has_bfloat16
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR
from inpainting.engines.diffusion.serving.backend_selection import BackendSelector
from inpainting.engines.diffusion.serving.device_memory import NOTHING_IN_USE, InUse
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.files import fingerprint

logger = logging.getLogger(__name__)

MIN_USES_TO_CONVERT = 2
"""Jobs with the same LoRAs before a UNet with these is converted, which takes longer than painting one image."""
COMPILED_CHUNKS = 1
"""Chunks of text that networks are compiled for. Longer prompts are computed by torch."""
MEMORY_FACTOR = 2.5
"""Free memory that a conversion needs, as a multiple of the weights: it loads the model in another process."""

BackendKey = tuple[Size, ActiveLoras]
Outcome = OpenVinoBackend | str
"""A backend, or the reason for the metadata why there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class CompilationTask:
    """A backend to prepare. conversions: those that it needs, by kind of network.

    The model is referenced weakly: it may be evicted in the meantime. is_ready_or_delayed: set when the task has
    ended, or starts a conversion, which takes too long to wait for.
    """

    model: weakref.ref[LatentModel]
    key: BackendKey
    conversions: dict[str, ConversionRequest]
    plan: CompilationPlan
    is_ready_or_delayed: threading.Event = field(default_factory=threading.Event)


class OpenVinoSelector(BackendSelector):
    """A `BackendSelector` for models on a CPU. Only the device's thread calls it; other threads prepare backends.

    models_dir: folder of all models, which also holds the converted files. cache_bytes: disk space for those.
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
        self._use_counter = itertools.count(1)
        self._threads: list[threading.Thread] = []

    def select(
        self, model: LatentModel, size: Size, loras: ActiveLoras, chunk_count: int, *, in_use: InUse = NOTHING_IN_USE
    ) -> Backend:
        """See `BackendSelector.select`.

        Converted networks are compiled at once, which takes seconds as loading a model does. Others are converted in
        the background, which takes about a minute; torch computes meanwhile.
        """
        self.collect()
        if chunk_count != COMPILED_CHUNKS or not supports(model, size):
            return TORCH
        key = (size, loras)
        is_new = key not in self._rejections.get(model, {}) and key not in self._pending.get(model, ())
        if key not in model.backends and is_new:
            self._begin(model, key, in_use)
            self.collect()
        found = self.ready(model, size, loras, chunk_count)
        if found is not TORCH:
            found.last_used = next(self._use_counter)
        return found

    def ready(self, model: LatentModel, size: Size, loras: ActiveLoras, chunk_count: int) -> Backend:
        if chunk_count != COMPILED_CHUNKS or not supports(model, size):
            return TORCH
        return model.backends.get((size, loras), TORCH)

    def rejection(self, model: LatentModel, size: Size, loras: ActiveLoras) -> str | None:
        return self._rejections.get(model, {}).get((size, loras))

    def collect(self) -> None:
        """Add the backends that have become ready to their models."""
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
                outcome.last_used = next(self._use_counter)
                model.backends[task.key] = outcome

    def wait(self) -> None:
        """Wait until every task has ended."""
        while self._threads:
            self._threads.pop().join()

    def _begin(self, model: LatentModel, key: BackendKey, in_use: InUse) -> None:
        size, loras = key
        read_from, store = fingerprint(model.spec.path), (self.models_dir, self.cache_bytes)
        conversions = {
            kind: make_request(kind, model, read_from, loras if kind == "unet" else (), *store) for kind in KINDS
        }
        if loras and not conversions["unet"].folder.is_dir():
            self._uses[loras] += 1
            if self._uses[loras] < MIN_USES_TO_CONVERT:
                return
        plan = CompilationPlan.for_model(model, size)
        if not self.cache.reserve(plan.byte_count, in_use):
            logger.info("%s is not compiled at %s: the memory for weights is full", model.spec.slug, size)
            return
        self._pending.setdefault(model, set()).add(key)
        task = CompilationTask(weakref.ref(model), key, conversions, plan)
        thread = threading.Thread(target=self._prepare, args=(task,), name=f"openvino {size}", daemon=True)
        self._threads = [*(running for running in self._threads if running.is_alive()), thread]
        thread.start()
        task.is_ready_or_delayed.wait()

    # The methods below run on the task's thread.

    def _prepare(self, task: CompilationTask) -> None:
        try:
            outcome = self._outcome(task)
        except Exception as error:
            logger.exception("OpenVINO cannot be used")
            reason = str(error) if isinstance(error, ConversionFailed) else type(error).__name__
            outcome = sentence("OpenVINO was not used: {reason}. Torch painted.", reason=reason)
        self._done.put((task, outcome))
        task.is_ready_or_delayed.set()

    def _outcome(self, task: CompilationTask) -> Outcome | None:
        """The result of a task. None if memory is short or the model was evicted: a later task may succeed."""
        for conversion in task.conversions.values():
            if not conversion.store.use(conversion.folder):
                if task.model() is None:
                    return None
                needed, free = MEMORY_FACTOR * task.plan.byte_count, self.cache.hardware.free_bytes()
                if free < needed:
                    logger.info("%s is not converted: %d MB are free", conversion.slug, free // 10**6)
                    return None
                task.is_ready_or_delayed.set()
                self.convert(conversion)
                if not conversion.store.use(conversion.folder):
                    raise ConversionFailed(sentence("the converted files cannot be read"))
        if task.model() is None:
            return None
        unet_folder, vae_folder = task.conversions["unet"].folder, task.conversions["vae"].folder
        return backend.compile_backend(task.plan, unet_folder=unet_folder, vae_folder=vae_folder)


def supports(model: LatentModel, size: Size) -> bool:
    """Whether OpenVINO can compute the model in its current state at an image size. If not, torch does so silently."""
    if model.unet is None:
        return False
    unet, config = model.unet, model.unet.config
    if model.hardware.device.type != "cpu" or model.is_tiled:
        return False
    if unet.dtype is not torch.float32 and not (unet.dtype is torch.bfloat16 and has_bfloat16()):
        return False
    # Other UNets take more inputs than text and timestep, or a guidance scale that they were distilled with.
    if config.addition_embed_type not in (None, "text_time") or config.time_cond_proj_dim is not None:
        return False
    if config.class_embed_type is not None or config.encoder_hid_dim_type is not None:
        return False
    # The trace needs sizes that every block halves evenly: otherwise the UNet passes output sizes to its upsamplers.
    multiple = VAE_SCALE_FACTOR * 2 ** (len(config.block_out_channels) - 1)
    return size.width % multiple == 0 and size.height % multiple == 0
