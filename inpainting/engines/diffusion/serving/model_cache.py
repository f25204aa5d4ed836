"""Models in the device's memory: loaded on demand, the least recently used evicted when another one needs memory."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch

from inpainting import metrics
from inpainting.catalog.specs import Kind, LoraSpec, ModelSpec
from inpainting.core.geometry import Size
from inpainting.engines.diffusion.backends.torch import Backend
from inpainting.engines.diffusion.conditioning.active_adapters import ActiveAdapters
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora, ActiveLoras, LoraFile
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.serving.adapter_loading import load_adapter, load_preview_decoder
from inpainting.engines.diffusion.serving.background_loader import BackgroundLoader, Load
from inpainting.engines.diffusion.serving.host_memory import HostMemory
from inpainting.engines.diffusion.serving.model_loading import load, weights_bytes
from inpainting.networks.device.hardware import Hardware, Offload, is_out_of_memory
from inpainting.networks.files import fingerprint
from inpainting.networks.load_lock import is_held_elsewhere
from inpainting.networks.network_cache import NetworkCache, network_cache

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InUse:
    """Cached objects that jobs use or are about to use, which must not be evicted. loras: names of LoRA adapters."""

    models: Collection[LatentModel] = ()
    adapters: Collection[ModelSpec] = ()
    backends: Collection[Backend] = ()
    loras: Collection[str] = ()

    def with_job(self, model: LatentModel, adapters: ActiveAdapters) -> InUse:
        """These and what a job of a model uses."""
        return replace(
            self,
            models=[*self.models, model],
            adapters=[*self.adapters, *adapters.networks],
            loras=[*self.loras, *(lora.name for lora in adapters.loras)],
        )


class LoadKey(NamedTuple):
    """Equal for a model or adapter that is loaded from the same files."""

    name: str
    fingerprint: int


NOTHING_IN_USE = InUse()
NOT_OFFLOADED = Offload.NONE, 0
WHOLE_FACTOR = 1.2
"""A model in the machine's memory is placed whole again where so many times the bytes of its weights are free."""


@dataclass(frozen=True, slots=True)
class ModelToLoad:
    """A model in place of which nothing is loaded yet, for the retries when memory is short."""

    cache: ModelCache
    spec: ModelSpec

    def save_memory(self, size: Size) -> bool:
        """Load more of it into the machine's memory from now on. False if that is not possible."""
        return self.cache.offload_more(self.spec)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedAdapter:
    """A VAE, ControlNet or IP-Adapter in memory. fingerprint: of the files it was read from."""

    fingerprint: int
    network: Any
    byte_count: int


class ModelCache:
    """The models in the device's memory, with their adapters and backends. Only the device's thread uses it, but for
    the functions that read a `Load`.

    Models and adapters are loaded on a thread beside it, one at a time, so that the device goes on with others.

    budget_bytes: weights kept at most; one model is always allowed. models_dir: where preview decoders may be.
    host_memory: of evicted models, where the device has a memory of its own. other_networks: those of segmenters,
    preprocessors and others, whose memory on the device goes to models that need it.
    """

    def __init__(
        self,
        hardware: Hardware,
        budget_bytes: int,
        *,
        models_dir: Path | None = None,
        host_memory: HostMemory | None = None,
        other_networks: NetworkCache = network_cache,
    ) -> None:
        self.hardware = hardware
        self.budget_bytes = budget_bytes
        self.models_dir = models_dir
        self.reserved_bytes = 0
        """For backends that are being compiled. Models and adapters ignore it: a backend is optional, they are not."""
        self._preview_decoders: dict[str, torch.nn.Module | None] = {}
        self._models: OrderedDict[str, LatentModel] = OrderedDict()
        self._adapters: OrderedDict[str, LoadedAdapter] = OrderedDict()
        self._sizes: dict[LoadKey, int] = {}
        self._loader = BackgroundLoader()
        self._host_memory = host_memory or HostMemory()
        self._other_networks = other_networks
        self._fingerprints: dict[Path, int] | None = None
        """The fingerprints of the files that were looked at, inside `one_look`."""
        self._leaving: list[LatentModel] = []
        """Evicted models that are still in the device's memory."""
        self._offloads: dict[str, tuple[Offload, int]] = {}
        """Slugs of models that were too large for the device's memory -> how they are loaded, the bytes that were free
        or could be."""

    # What is loaded

    @property
    def models(self) -> list[LatentModel]:
        return list(self._models.values())

    @property
    def used_bytes(self) -> int:
        models = sum(model.byte_count for model in self._models.values())
        return self._loader.byte_count + models + sum(adapter.byte_count for adapter in self._adapters.values())

    @property
    def is_loading(self) -> bool:
        """Whether a model or adapter is being loaded that is not ready yet."""
        return self._loader.is_busy

    @property
    def waits_for_a_load(self) -> bool:
        """Whether images may have to wait until a network is loaded, for this cache or by another thread."""
        return self.is_loading or is_held_elsewhere()

    def loaded(self, spec: ModelSpec) -> LatentModel | None:
        """The model if it is loaded from the files as they are now."""
        model = self._models.get(spec.slug)
        return model if model is not None and model.fingerprint == self._fingerprint(spec) else None

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Look at the files of each model and adapter once inside the context, and anew in a context inside it.

        A folder takes a tenth of a millisecond or more, and several questions are asked about each waiting image.
        """
        outer, self._fingerprints = self._fingerprints, {}
        try:
            yield
        finally:
            self._fingerprints = None if outer is None else {}

    def _fingerprint(self, spec: ModelSpec | LoraSpec) -> int:
        if self._fingerprints is None or spec.path is None:
            return fingerprint(spec.path)
        if spec.path not in self._fingerprints:
            self._fingerprints[spec.path] = fingerprint(spec.path)
        return self._fingerprints[spec.path]

    def _load_key(self, spec: ModelSpec | LoraSpec) -> LoadKey:
        return LoadKey(spec.slug, self._fingerprint(spec))

    def has_room(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE, *, evicts_models: bool = False) -> bool:
        """Whether a model is loaded, or can be without evicting anything in use.

        evicts_models: whether other models that are not in use may be evicted for it.
        """
        if self.loaded(spec) is not None or self._loader.has(self._load_key(spec)):
            return True
        models = [self._models[slug] for slug in self._idle_models(in_use)] if evicts_models else []
        kept = [model for model in self._models.values() if not any(model is evictable for evictable in models)]
        evictable = sum(
            [
                *(model.byte_count for model in models),
                *(self._adapters[slug].byte_count for slug in self._idle_adapters(in_use)),
                *(model.loras.evictable_bytes(in_use.loras) for model in kept),
                *(
                    backend.byte_count
                    for model, _, backend in self._idle_backends(in_use)
                    if any(model is other for other in kept)
                ),
            ]
        )
        return self.used_bytes - evictable + self._weights_bytes(spec) <= self.budget_bytes

    # Load

    def prepare(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Start to load a model; objects not in use may be evicted for it. True once `get` need not wait for it."""
        return self.loaded(spec) is not None or self._prepare(self._model_load(spec), in_use)

    def prepare_adapters(self, adapters: ActiveAdapters, model: LatentModel, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Load the adapters of a job with a loaded model in the background; objects not in use may be evicted for them.

        True once `ensure_loras_loaded` and `adapter` need not wait for them. Raises EngineFailed if one cannot be
        loaded; when memory is short they are left to load it.
        """
        if is_held_elsewhere() and self._builds_layers(adapters, model):
            return False  # others paint while another thread loads a network, such as that of a segmenter
        in_use = in_use.with_job(model, adapters)
        missing = (self._adapter_load(spec) for spec in adapters.networks if self._loaded_adapter(spec) is None)
        missing_loras = (self._lora_load(lora, model) for lora in model.loras.missing(adapters.loras))
        for adapter_load in chain(missing, missing_loras):
            if not self._prepare(adapter_load, in_use):
                return False
            if (error := self._loader.finish()) is not None:
                if is_out_of_memory(error):
                    return True
                raise error
        return not (self.is_loading and self._builds_layers(adapters, model))

    def _builds_layers(self, adapters: ActiveAdapters, model: LatentModel) -> bool:
        """Whether a job adds layers to its UNet, which would wait for a network that is being loaded."""
        if model.loras.missing(adapters.loras):
            return True
        adapter = adapters.network(Kind.IP_ADAPTER)
        loaded = None if adapter is None else self._loaded_adapter(adapter)
        return loaded is not None and not loaded.network.has_processors(model.unet)

    def get(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> Any:
        """The loaded `LatentModel`; waits until it is loaded. Objects not in use may be evicted for it.

        Raises EngineFailed (`model_unavailable`, `model_refused`) if it cannot be loaded.
        """
        if self.loaded(spec) is None:
            self._load(self._model_load(spec), in_use)
        self._models.move_to_end(spec.slug)
        return self._models[spec.slug]

    def _prepare(self, load: Load, in_use: InUse) -> bool:
        """Start to load an object. True once it is ready or has failed."""
        if not self._loader.has(load.key):
            if self._loader.is_busy:
                return False
            self._loader.finish()  # of an object that no job may need any more
            self._start_loading(load, in_use)
        return not self._loader.is_busy

    def _load(self, load: Load, in_use: InUse) -> None:
        """Load an object and wait for it. Raises the error if that is not possible."""
        if not self._loader.has(load.key):
            self._loader.finish()
            self._start_loading(load, in_use)
        if (error := self._loader.finish()) is not None:
            raise error

    def _start_loading(self, load: Load, in_use: InUse) -> None:
        self._evict_for(load.byte_count, in_use)
        leaving, self._leaving = self._leaving, []

        def read() -> Any:
            self._remove(leaving)
            return load.read()

        self._loader.start(replace(load, read=read))

    def _model_load(self, spec: ModelSpec) -> Load:
        if self._models.pop(spec.slug, None) is not None:  # its files were replaced; batches that use it still hold it
            self._collect_garbage()
        key, (offload, _) = self._load_key(spec), self._offloads.get(spec.slug, NOT_OFFLOADED)
        byte_count = self._weights_bytes(spec)

        def read() -> Any:
            model = self._host_memory.take(*key)
            with metrics.MODEL_LOAD_SECONDS.labels(spec.slug, "disk" if model is None else "memory").time():
                if model is None:
                    self._host_memory.drop_removed()
                    self._host_memory.make_room(byte_count)  # it is read into the machine's memory first
                    model = load(spec, self.hardware, offload)
                else:
                    model.enter_device(offload)
            self.preview_decoder(spec.family)  # so that it need not be loaded when the first image starts
            return model

        return Load(key, byte_count, read, lambda model: self.add(model, key.fingerprint))

    def _adapter_load(self, spec: ModelSpec) -> Load:
        self._adapters.pop(spec.slug, None)  # its files were replaced
        key = self._load_key(spec)

        def keep(network: Any) -> None:
            byte_count = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
            self._adapters[spec.slug] = LoadedAdapter(key.fingerprint, network, byte_count)

        return Load(key, self._weights_bytes(spec), partial(load_adapter, spec, self.hardware), keep)

    def _lora_load(self, lora: ActiveLora, model: LatentModel) -> Load:
        def read() -> LoraFile:
            with self.hardware.copying():
                return model.loras.read(lora)

        return Load((lora.name, id(model)), self._weights_bytes(lora.spec), read, partial(model.loras.load, lora))

    def _weights_bytes(self, spec: ModelSpec | LoraSpec) -> int:
        key = self._load_key(spec)
        if key not in self._sizes:
            self._sizes[key] = weights_bytes(spec, self.hardware.dtype, self.hardware.quantization)
        return self._sizes[key]

    def offload_more(self, spec: ModelSpec) -> bool:
        """Load more of a model into the machine's memory from now on. False if that is not possible."""
        offload, _ = self._offloads.get(spec.slug, NOT_OFFLOADED)
        if not self.hardware.can_offload or offload is Offload.LAYERS:
            return False
        self._offloads[spec.slug] = Offload(offload + 1), self.hardware.free_bytes()
        return True

    def stop_saving_memory(self, model: LatentModel, size: Size, in_use: InUse) -> None:
        """Let a model compute as it did before memory was short, if it is idle and memory suffices for an image again.

        A model that waits in the machine's memory is evicted, to be loaded whole.
        """
        is_saving = model.memory_fallbacks or model.offload is not Offload.NONE
        if not is_saving or any(model is used for used in in_use.models) or not model.fits_unsaved(size):
            return
        if model.offload is Offload.NONE:
            model.stop_saving()
            return
        _, room_before = self._offloads.get(model.spec.slug, NOT_OFFLOADED)
        evictable = [self._models[slug] for slug in self._idle_models(in_use) if self._models[slug] is not model]
        room = self.hardware.free_bytes() + self._other_networks.used_bytes(str(self.hardware.device))
        room += sum(other.byte_count for other in evictable if other.offload is Offload.NONE)
        if room >= model.byte_count * WHOLE_FACTOR and room > room_before:
            self._offloads.pop(model.spec.slug, None)
            self._leaving.append(self._models.pop(model.spec.slug))

    def add(self, model: LatentModel, fingerprint: int = 0) -> None:
        """Keep a loaded model. fingerprint: of the files it was read from, 0 for none."""
        model.fingerprint = fingerprint
        self._models[model.spec.slug] = model

    def ensure_loras_loaded(self, loras: ActiveLoras, model: LatentModel, in_use: InUse = NOTHING_IN_USE) -> None:
        """Load the LoRAs that are not loaded in a model yet; objects not in use may be evicted for them.

        Raises EngineFailed (`lora_unavailable`, `lora_refused`, `lora_unfit`) if one cannot be loaded.
        """
        in_use = in_use.with_job(model, ActiveAdapters(loras))
        for lora in model.loras.missing(loras):
            self._load(self._lora_load(lora, model), in_use)
        model.loras.unload_idle(keep=in_use.loras)

    def adapter(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> Any:
        """The loaded network of a VAE, ControlNet or IP-Adapter; objects not in use may be evicted for it.

        Raises EngineFailed (`adapter_unavailable`, `adapter_refused`) if it cannot be loaded.
        """
        if self._loaded_adapter(spec) is None:
            self._load(self._adapter_load(spec), in_use)
        self._adapters.move_to_end(spec.slug)
        return self._adapters[spec.slug].network

    def _loaded_adapter(self, spec: ModelSpec) -> LoadedAdapter | None:
        """The adapter if it is loaded from the files as they are now."""
        adapter = self._adapters.get(spec.slug)
        return adapter if adapter is not None and adapter.fingerprint == self._fingerprint(spec) else None

    def preview_decoder(self, family: str) -> torch.nn.Module | None:
        """The preview decoder of a family; None if it is not installed or cannot be loaded."""
        if self.models_dir is None:
            return None
        if family not in self._preview_decoders:
            self._preview_decoders[family] = load_preview_decoder(self.models_dir, family, self.hardware)
        return self._preview_decoders[family]

    def has_room_to_fuse(self, byte_count: int) -> bool:
        """Whether so many bytes of fused weights fit without evicting anything."""
        is_in_budget = self.used_bytes + self.reserved_bytes + byte_count <= self.budget_bytes
        return is_in_budget and self.hardware.free_bytes() >= byte_count * WHOLE_FACTOR

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
        """Evict the networks of others, else fused weights, else the least recently used object that is not in use.

        That is a backend, LoRA, adapter or model. LoRAs that were fused are not fused again, so that memory is not
        short again. False if there is nothing to evict.
        """
        is_evicted = self._leave_to_others(0) or self._unfuse(for_good=True) or self._evict_one(in_use)
        self._remove(self._leaving)
        return is_evicted

    def _evict_one(self, in_use: InUse) -> bool:
        """Evict in the order of the time it takes to fuse, compile or load again."""
        if not self.is_loading:
            self._loader.finish()  # no job may need it any more, and it can be evicted
        if self._unfuse():
            return True
        if self._idle_backends(in_use):
            self._evict_backend(in_use)
            return True
        if any(model.loras.evict_one(keep=in_use.loras) for model in self._models.values()):
            self.hardware.empty_cache()
            return True
        for loaded, idle in ((self._adapters, self._idle_adapters(in_use)), (self._models, self._idle_models(in_use))):
            if idle:
                if not self._keep_for_host(loaded.pop(idle[0])):
                    self._collect_garbage()
                metrics.MODEL_EVICTIONS.labels(idle[0]).inc()
                logger.info("Evicted %s", idle[0])
                return True
        return False

    def _leave_to_others(self, byte_count: int) -> bool:
        """Evict the networks of others until they take so many bytes of the device at most. False if they did.

        No garbage is collected, which would delay steps: these networks are freed with their last use.
        """
        return self._other_networks.evict_to(str(self.hardware.device), byte_count)

    def _unfuse(self, *, for_good: bool = False) -> bool:
        """Drop the fused weights of a model, whose LoRAs then are hooks. False if there are none."""
        model = next((model for model in self._models.values() if model.loras.fused), None)
        if model is not None:
            model.loras.unfuse(for_good=for_good)
            self.hardware.empty_cache()
        return model is not None

    def _evict_for(self, wanted_bytes: int, in_use: InUse) -> None:
        """Evict until so many bytes are free, or nothing is left to evict."""
        self._leave_to_others(self.budget_bytes - self.used_bytes - wanted_bytes)
        while self.used_bytes + wanted_bytes > self.budget_bytes:
            if not self._evict_one(in_use):
                return

    def _keep_for_host(self, evicted: LatentModel | LoadedAdapter) -> bool:
        """Whether it was a model that `_remove` moves into the machine's memory."""
        if isinstance(evicted, LatentModel) and self.hardware.can_offload and self._host_memory.share:
            self._leaving.append(evicted)
            return True
        return False

    def _remove(self, leaving: list[LatentModel]) -> None:
        """Move evicted models from the device's memory into the machine's. On any thread."""
        if not leaving:
            return
        while leaving:
            self._host_memory.keep(leaving.pop())
        self._collect_garbage()

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
            if not any(backend is used for used in in_use.backends)
        ]
        return sorted(idle, key=lambda found: found[2].last_used)

    def _idle_adapters(self, in_use: InUse) -> list[str]:
        used = {spec.slug for spec in in_use.adapters}
        return [slug for slug in self._adapters if slug not in used]

    def _idle_models(self, in_use: InUse) -> list[str]:
        return [slug for slug, model in self._models.items() if not any(model is used for used in in_use.models)]

    def _collect_garbage(self) -> None:
        gc.collect()  # the components of a pipeline refer to each other
        self.hardware.empty_cache()
