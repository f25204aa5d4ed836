"""Models in the device's memory: loaded on demand, the least recently used evicted when another one needs memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from inpainting.catalog.specs import Kind, ModelSpec
from inpainting.core.geometry import Size
from inpainting.engines.diffusion.conditioning.active_adapters import ActiveAdapters
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.device_memory import NOTHING_IN_USE, DeviceMemory, InUse, LoadedAdapter
from inpainting.engines.diffusion.serving.host_memory import HostMemory
from inpainting.engines.diffusion.serving.loading.background_loader import BackgroundLoader, Load
from inpainting.engines.diffusion.serving.loading.loads import NOT_OFFLOADED, Loads
from inpainting.networks.device.hardware import Hardware, Offload, is_out_of_memory
from inpainting.networks.load_lock import is_held_elsewhere
from inpainting.networks.network_cache import NetworkCache, network_cache

WHOLE_FACTOR = 1.2
"""A model in the machine's memory is placed whole again where so many times the bytes of its weights are free."""


class ModelCache:
    """The models in the device's memory, with their adapters and backends. Only the device's thread uses it, but for
    the functions that read a `Load`; and for `loaded` and `weights_bytes`, by which waiting callers say what is loaded.

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
        self.reserved_bytes = 0
        """For backends that are being compiled. Models and adapters ignore it: a backend is optional, they are not."""
        self.memory = DeviceMemory(hardware, host_memory or HostMemory())
        self.loads = Loads(hardware, self.memory, models_dir)
        self._loader = BackgroundLoader()
        self._other_networks = other_networks

    # What is loaded

    @property
    def models(self) -> list[LatentModel]:
        return list(self.memory.models.values())

    @property
    def used_bytes(self) -> int:
        return self._loader.byte_count + self.memory.byte_count

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
        model = self.memory.models.get(spec.slug)
        return model if model is not None and model.fingerprint == self.loads.fingerprint(spec) else None

    def has_room(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE, *, evicts_models: bool = False) -> bool:
        """Whether a model is loaded, or can be without evicting anything in use.

        evicts_models: whether other models that are not in use may be evicted for it.
        """
        if self.loaded(spec) is not None or self._loader.has(self.loads.key(spec)):
            return True
        evictable = self.memory.evictable_bytes(in_use, evicts_models=evicts_models)
        return self.used_bytes - evictable + self.loads.weights_bytes(spec) <= self.budget_bytes

    # Load

    def prepare(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Start to load a model; objects not in use may be evicted for it. True once `get` need not wait for it."""
        return self.loaded(spec) is not None or self._prepare(self.loads.model(spec), in_use)

    def prepare_adapters(self, adapters: ActiveAdapters, model: LatentModel, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Load the adapters of a job with a loaded model in the background; objects not in use may be evicted for them.

        True once `ensure_loras_loaded` and `adapter` need not wait for them. Raises EngineFailed if one cannot be
        loaded; when memory is short they are left to load it.
        """
        if is_held_elsewhere() and self._builds_layers(adapters, model):
            return False  # others paint while another thread loads a network, such as that of a segmenter
        in_use = in_use.with_job(model, adapters)
        missing = (self.loads.adapter(spec) for spec in adapters.networks if self._loaded_adapter(spec) is None)
        missing_loras = (self.loads.lora(lora, model) for lora in model.loras.missing(adapters.all_loras))
        for load in chain(missing, missing_loras):
            if not self._prepare(load, in_use):
                return False
            if (error := self._loader.finish()) is not None:
                if is_out_of_memory(error):
                    return True
                raise error
        return not (self.is_loading and self._builds_layers(adapters, model))

    def _builds_layers(self, adapters: ActiveAdapters, model: LatentModel) -> bool:
        """Whether a job adds layers to its network, which would wait for a network that is being loaded."""
        adapter = adapters.network(Kind.IP_ADAPTER)
        loaded = None if adapter is None else self._loaded_adapter(adapter)
        return loaded is not None and not loaded.network.has_processors(model.network)

    def get(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> Any:
        """The loaded `LatentModel`; waits until it is loaded. Objects not in use may be evicted for it.

        Raises EngineFailed (`model_unavailable`, `model_refused`) if it cannot be loaded.
        """
        if self.loaded(spec) is None:
            self._load(self.loads.model(spec), in_use)
        self.memory.models.move_to_end(spec.slug)
        return self.memory.models[spec.slug]

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
        leaving = self.memory.take_leaving()

        def read() -> Any:
            self.memory.remove(leaving)
            return load.read()

        self._loader.start(replace(load, read=read))

    def stop_reducing_memory(self, model: LatentModel, size: Size, in_use: InUse) -> None:
        """Let a model compute as it did before memory was short, if that may suffice for an image again.

        Between images of a model in use only after `memory_shortage.is_over`: sizes that take turns would else be tried
        with each image. A model that waits in the machine's memory is evicted, once it is idle, to be loaded whole.
        """
        is_reduced = model.memory_fallbacks or model.offload is not Offload.NONE
        is_idle = not any(model is used for used in in_use.models)
        shortage = model.memory_shortage
        if not is_reduced or not (shortage.is_over or (is_idle and shortage.fits(size))):
            return
        if model.offload is Offload.NONE:
            model.stop_reducing()
            return
        if not is_idle:
            return
        _, room_before = self.loads.offloads.get(model.spec.slug, NOT_OFFLOADED)
        evictable = [self.memory.models[slug] for slug in self.memory.idle_models(in_use)]
        room = self.hardware.free_bytes() + self._other_networks.used_bytes(str(self.hardware.device))
        room += sum(other.byte_count for other in evictable if other is not model and other.offload is Offload.NONE)
        if room >= model.byte_count * WHOLE_FACTOR and room > room_before:
            self.loads.offloads.pop(model.spec.slug, None)
            self.memory.evict_later(model)

    def ensure_loras_loaded(self, loras: ActiveLoras, model: LatentModel, in_use: InUse = NOTHING_IN_USE) -> None:
        """Load the LoRAs that are not loaded in a model yet; objects not in use may be evicted for them.

        Raises EngineFailed (`lora_unavailable`, `lora_refused`, `lora_unfit`) if one cannot be loaded.
        """
        in_use = in_use.with_job(model, ActiveAdapters(loras))
        for lora in model.loras.missing(loras):
            self._load(self.loads.lora(lora, model), in_use)
        model.loras.unload_idle(keep=in_use.loras)

    def adapter(self, spec: ModelSpec, in_use: InUse = NOTHING_IN_USE) -> Any:
        """The loaded network of a VAE, ControlNet or IP-Adapter; objects not in use may be evicted for it.

        Raises EngineFailed (`adapter_unavailable`, `adapter_refused`) if it cannot be loaded.
        """
        if self._loaded_adapter(spec) is None:
            self._load(self.loads.adapter(spec), in_use)
        self.memory.adapters.move_to_end(spec.slug)
        return self.memory.adapters[spec.slug].network

    def _loaded_adapter(self, spec: ModelSpec) -> LoadedAdapter | None:
        """The adapter if it is loaded from the files as they are now."""
        adapter = self.memory.adapters.get(spec.slug)
        return adapter if adapter is not None and adapter.fingerprint == self.loads.fingerprint(spec) else None

    def preview_decoder(self, family: str) -> torch.nn.Module | None:
        """The preview decoder of a family; None if it is not installed or cannot be loaded."""
        return self.loads.preview_decoder(family)

    def has_room_to_fuse(self, byte_count: int) -> bool:
        """Whether so many bytes of fused weights fit without evicting anything."""
        is_in_budget = self.used_bytes + self.reserved_bytes + byte_count <= self.budget_bytes
        return is_in_budget and self.hardware.free_bytes() >= byte_count * WHOLE_FACTOR

    def reserve(self, byte_count: int, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Reserve memory for a backend to be compiled; backends that are not in use may be evicted for it.

        False if even that is not enough; then nothing is evicted.
        """
        wanted = self.used_bytes + self.reserved_bytes + byte_count - self.budget_bytes
        if wanted > self.memory.evictable_backend_bytes(in_use):
            return False
        while wanted > 0:
            wanted -= self.memory.evict_backend(in_use)
        self.reserved_bytes += byte_count
        return True

    # Evict

    def evict(self, in_use: InUse = NOTHING_IN_USE) -> bool:
        """Evict the networks of others, else fused weights, else the least recently used object that is not in use.

        That is a backend, LoRA, adapter or model. LoRAs that were fused are not fused again, so that memory is not
        short again. False if there is nothing to evict.
        """
        is_evicted = self._leave_to_others(0) or self.memory.unfuse(for_good=True) or self._evict_one(in_use)
        self.memory.remove(self.memory.take_leaving())
        return is_evicted

    def _evict_one(self, in_use: InUse) -> bool:
        if not self.is_loading:
            self._loader.finish()  # no job may need it any more, and it can be evicted
        return self.memory.evict_one(in_use)

    def _leave_to_others(self, byte_count: int) -> bool:
        """Evict the networks of others until they take so many bytes of the device at most. False if they did.

        No garbage is collected, which would delay steps: these networks are freed with their last use.
        """
        return self._other_networks.evict_to(str(self.hardware.device), byte_count)

    def _evict_for(self, wanted_bytes: int, in_use: InUse) -> None:
        """Evict until so many bytes are free, or nothing is left to evict."""
        self._leave_to_others(self.budget_bytes - self.used_bytes - wanted_bytes)
        while self.used_bytes + wanted_bytes > self.budget_bytes:
            if not self._evict_one(in_use):
                return
