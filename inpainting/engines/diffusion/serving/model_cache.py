"""Models in the device's memory: loaded on demand, the least recently used evicted when another one needs memory."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from inpainting import metrics
from inpainting.catalog.specs import ModelSpec
from inpainting.engines.diffusion.backends.torch import Backend
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.hardware import Hardware, Offload
from inpainting.engines.diffusion.serving.adapter_loading import load_adapter, load_preview_decoder
from inpainting.engines.diffusion.serving.model_loading import file_fingerprint, load, weights_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InUse:
    """Cached objects that jobs use or are about to use, which must not be evicted. loras: names of LoRA adapters."""

    models: Collection[LatentModel] = ()
    adapters: Collection[ModelSpec] = ()
    backends: Collection[Backend] = ()
    loras: Collection[str] = ()


NOTHING_IN_USE = InUse()


@dataclass(frozen=True, slots=True, eq=False)
class LoadingModel:
    """A model that is being loaded on a thread of its own. byte_count: of its weights, as predicted."""

    spec: ModelSpec
    fingerprint: int
    byte_count: int
    future: Future[LatentModel]

    def is_of(self, spec: ModelSpec) -> bool:
        return self.spec.slug == spec.slug and self.fingerprint == file_fingerprint(spec)


@dataclass(frozen=True, slots=True)
class ModelToLoad:
    """A model in place of which nothing is loaded yet, for the retries when memory is short."""

    cache: ModelCache
    spec: ModelSpec

    def save_memory(self) -> bool:
        """Load more of it into the machine's memory from now on. False if that is not possible."""
        return self.cache.offload_more(self.spec)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedAdapter:
    """A VAE, ControlNet or IP-Adapter in memory. fingerprint: of the files it was read from."""

    fingerprint: int
    network: Any
    byte_count: int


class ModelCache:
    """The models in the device's memory, with their adapters and backends. Only the device's thread uses it.

    Models are loaded on a thread beside it, one at a time, so that the device goes on with others.

    budget_bytes: weights kept at most; one model is always allowed. models_dir: where preview decoders may be.
    """

    def __init__(self, hardware: Hardware, budget_bytes: int, *, models_dir: Path | None = None) -> None:
        self.hardware = hardware
        self.budget_bytes = budget_bytes
        self.models_dir = models_dir
        self.reserved_bytes = 0
        """For backends that are being compiled. Models and adapters ignore it: a backend is optional, they are not."""
        self._preview_decoders: dict[str, torch.nn.Module | None] = {}
        self._models: OrderedDict[str, LatentModel] = OrderedDict()
        self._adapters: OrderedDict[str, LoadedAdapter] = OrderedDict()
        self._sizes: dict[tuple[ModelSpec, int], int] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._loading: LoadingModel | None = None
        self._offloads: dict[str, Offload] = {}
        """Slugs of models that were too large for the device's memory -> how they are loaded."""

    # What is loaded

    @property
    def models(self) -> list[LatentModel]:
        return list(self._models.values())

    @property
    def used_bytes(self) -> int:
        loading = 0 if self._loading is None else self._loading.byte_count
        return loading + sum(one.byte_count for loaded in (self._models, self._adapters) for one in loaded.values())

    @property
    def is_loading(self) -> bool:
        """Whether a model is being loaded that is not ready yet."""
        return self._loading is not None and not self._loading.future.done()

    def loaded(self, spec: ModelSpec) -> LatentModel | None:
        """The model if it is loaded from the files as they are now."""
        model = self._models.get(spec.slug)
        return model if model is not None and model.fingerprint == file_fingerprint(spec) else None

    def has_room(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Whether a model is loaded, or can be without evicting another model or anything in use."""
        if self.loaded(spec) is not None or (self._loading is not None and self._loading.is_of(spec)):
            return True
        key = (spec, file_fingerprint(spec))
        if key not in self._sizes:
            self._sizes[key] = weights_bytes(spec, self.hardware.dtype)
        adapters = sum(self._adapters[slug].byte_count for slug in self._idle_adapters(in_use))
        backends = sum(backend.byte_count for _, _, backend in self._idle_backends(in_use))
        loras = sum(model.loras.idle_bytes(in_use.loras) for model in self._models.values())
        return self.used_bytes - adapters - backends - loras + self._sizes[key] <= self.budget_bytes

    # Load

    def prepare(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Start to load a model; objects not in use may be evicted for it. True once `get` need not wait for it."""
        if self.loaded(spec) is not None:
            return True
        if self._loading is not None and not self._loading.is_of(spec):
            if self.is_loading:
                return False
            self._finish_loading()
        if self._loading is None:
            self._start_loading(spec, in_use)
        return not self.is_loading

    def get(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> Any:
        """The loaded `LatentModel`; waits until it is loaded. Objects not in use may be evicted for it.

        Raises EngineFailed (`model_unavailable`, `model_refused`) if it cannot be loaded.
        """
        if self.loaded(spec) is None:
            if self._loading is not None and not self._loading.is_of(spec):
                self._finish_loading()
            if self._loading is None:
                self._start_loading(spec, in_use)
            if (error := self._finish_loading()) is not None:
                raise error
        self._models.move_to_end(spec.slug)
        return self._models[spec.slug]

    def _start_loading(self, spec: ModelSpec, in_use: InUse) -> None:
        if self._models.pop(spec.slug, None) is not None:  # its files were replaced; batches that use it still hold it
            self._collect_garbage()
        wanted, fingerprint = weights_bytes(spec, self.hardware.dtype), file_fingerprint(spec)
        self._evict_for(wanted, in_use)
        offload = self._offloads.get(spec.slug, Offload.NONE)
        future = self._loader.submit(self._load, spec, offload)
        self._loading = LoadingModel(spec, fingerprint, wanted, future)

    def _load(self, spec: ModelSpec, offload: Offload) -> Any:
        with metrics.MODEL_LOAD_SECONDS.labels(spec.slug).time():
            return load(spec, self.hardware, offload)

    def _finish_loading(self) -> BaseException | None:
        """Wait for the loading model and keep it. Returns the error if it could not be loaded."""
        loading, self._loading = self._loading, None
        if loading is None:
            return None
        error = loading.future.exception()
        if error is None:
            self.add(loading.future.result(), loading.fingerprint)
        return error

    def offload_more(self, spec: ModelSpec) -> bool:
        """Load more of a model into the machine's memory from now on. False if that is not possible."""
        offload = self._offloads.get(spec.slug, Offload.NONE)
        if not self.hardware.can_offload or offload is Offload.LAYERS:
            return False
        self._offloads[spec.slug] = Offload(offload + 1)
        return True

    def add(self, model: LatentModel, fingerprint: int = 0) -> None:
        """Keep a loaded model. fingerprint: of the files it was read from, 0 for none."""
        model.fingerprint = fingerprint
        self._models[model.spec.slug] = model

    def ensure_loras_loaded(self, loras: ActiveLoras, model: LatentModel, in_use: InUse = NOTHING_IN_USE) -> None:
        """Load the LoRAs that are not loaded in a model yet; objects not in use may be evicted for them.

        Raises EngineFailed (`lora_unavailable`, `lora_refused`, `lora_unfit`) if one cannot be loaded.
        """
        missing = model.loras.missing(loras)
        if not missing:
            return
        wanted = sum(weights_bytes(one.spec, self.hardware.dtype) for one in missing)
        keep = {*in_use.loras, *(one.name for one in loras)}
        self._evict_for(wanted, replace(in_use, models=[*in_use.models, model], loras=keep))
        model.loras.unload_idle(keep=keep)
        for one in missing:
            model.loras.load(one)

    def adapter(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> Any:
        """The loaded network of a VAE, ControlNet or IP-Adapter; objects not in use may be evicted for it.

        Raises EngineFailed (`part_unavailable`, `part_refused`) if it cannot be loaded.
        """
        fingerprint, loaded = file_fingerprint(spec), self._adapters.get(spec.slug)
        if loaded is None or loaded.fingerprint != fingerprint:
            self._adapters.pop(spec.slug, None)
            self._evict_for(weights_bytes(spec, self.hardware.dtype), in_use)
            network = load_adapter(spec, self.hardware)
            byte_count = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
            loaded = self._adapters[spec.slug] = LoadedAdapter(fingerprint, network, byte_count)
        self._adapters.move_to_end(spec.slug)
        return loaded.network

    def preview_decoder(self, family: str) -> torch.nn.Module | None:
        """The preview decoder of a family; None if it is not installed or cannot be loaded."""
        if self.models_dir is None:
            return None
        if family not in self._preview_decoders:
            self._preview_decoders[family] = load_preview_decoder(self.models_dir, family, self.hardware)
        return self._preview_decoders[family]

    def reserve(self, byte_count: int, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Reserve memory for a backend to be compiled; backends that are not in use may be evicted for it.

        False if even that is not enough; then nothing is evicted.
        """
        wanted = self.used_bytes + self.reserved_bytes + byte_count - self.budget_bytes
        if wanted > sum(backend.byte_count for _, _, backend in self._idle_backends(in_use)):
            return False
        while wanted > 0:
            wanted -= self._evict_backend(in_use)
        self.reserved_bytes += byte_count
        return True

    # Evict

    def evict(self, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Evict the least recently used backend, else LoRA, else adapter, else model that is not in use.

        In the order of the time it takes to load or compile them again. False if there is none.
        """
        if not self.is_loading:
            self._finish_loading()  # no job may need it any more, and it can be evicted
        if self._idle_backends(in_use):
            self._evict_backend(in_use)
            return True
        if any(model.loras.evict_one(keep=in_use.loras) for model in self._models.values()):
            self.hardware.empty_cache()
            return True
        for loaded, idle in ((self._adapters, self._idle_adapters(in_use)), (self._models, self._idle_models(in_use))):
            if idle:
                del loaded[idle[0]]
                metrics.MODEL_EVICTIONS.labels(idle[0]).inc()
                self._collect_garbage()
                logger.info("Evicted %s", idle[0])
                return True
        return False

    def _evict_for(self, wanted_bytes: int, in_use: InUse) -> None:
        """Evict until so many bytes are free, or nothing is left to evict."""
        while self.used_bytes + wanted_bytes > self.budget_bytes:
            if not self.evict(in_use):
                return

    def _evict_backend(self, in_use: InUse) -> int:
        """Evict the least recently used backend. Returns its bytes, 0 if there was none."""
        for model, key, backend in self._idle_backends(in_use):
            del model.backends[key]
            return backend.byte_count
        return 0

    def _idle_backends(self, in_use: InUse) -> list[tuple[LatentModel, Any, Backend]]:
        """The least recently used first, each with its model and its key in `model.backends`."""
        idle = [
            (model, key, backend)
            for model in self._models.values()
            for key, backend in model.backends.items()
            if not any(backend is one for one in in_use.backends)
        ]
        return sorted(idle, key=lambda one: one[2].last_used)

    def _idle_adapters(self, in_use: InUse) -> list[str]:
        used = {spec.slug for spec in in_use.adapters}
        return [slug for slug in self._adapters if slug not in used]

    def _idle_models(self, in_use: InUse) -> list[str]:
        return [slug for slug, model in self._models.items() if not any(model is one for one in in_use.models)]

    def _collect_garbage(self) -> None:
        gc.collect()  # the components of a pipeline refer to each other
        self.hardware.empty_cache()
