"""What is in the device's memory, and what of it may be evicted, the least recently used first."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from inpainting import metrics
from inpainting.catalog.specs import ModelSpec
from inpainting.engines.diffusion.backends.torch import Backend
from inpainting.engines.diffusion.conditioning.active_adapters import ActiveAdapters
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.host_memory import HostMemory
from inpainting.networks.device.hardware import Hardware

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InUse:
    """Loaded objects that jobs use or are about to use, which must not be evicted."""

    models: Collection[LatentModel] = ()
    adapters: Collection[ModelSpec] = ()
    backends: Collection[Backend] = ()
    loras: Collection[str] = ()
    """The names of LoRAs inside their models."""

    def with_job(self, model: LatentModel, adapters: ActiveAdapters) -> InUse:
        """These and what a job of a model uses."""
        return replace(
            self,
            models=[*self.models, model],
            adapters=[*self.adapters, *adapters.networks],
            loras=[*self.loras, *(lora.name for lora in adapters.all_loras)],
        )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedAdapter:
    """A VAE, ControlNet or IP-Adapter in memory."""

    fingerprint: int
    """The fingerprint of the files that it was read from."""
    network: Any
    byte_count: int


NOTHING_IN_USE = InUse()


class DeviceMemory:
    """The models in the device's memory, with their adapters and backends. Only the device's thread changes them."""

    def __init__(self, hardware: Hardware, host_memory: HostMemory) -> None:
        self.hardware = hardware
        self.host_memory = host_memory
        """It keeps evicted models, where the device has a memory of its own."""
        self.models: OrderedDict[str, LatentModel] = OrderedDict()
        """The models by slug, the least recently used first."""
        self.adapters: OrderedDict[str, LoadedAdapter] = OrderedDict()
        """The networks of adapters, likewise."""
        self._leaving: list[LatentModel] = []
        """Evicted models that are still in the device's memory."""

    @property
    def byte_count(self) -> int:
        models = sum(model.byte_count for model in self.models.values())
        return models + sum(adapter.byte_count for adapter in self.adapters.values())

    def evictable_bytes(self, in_use: InUse, *, evicts_models: bool) -> int:
        """Bytes of what is not in use. evicts_models: whether that includes models."""
        models = [self.models[slug] for slug in self.idle_models(in_use)] if evicts_models else []
        kept = [model for model in self.models.values() if not any(model is other for other in models)]
        return sum(
            [
                *(model.byte_count for model in models),
                *(self.adapters[slug].byte_count for slug in self._idle_adapters(in_use)),
                *(model.loras.evictable_bytes(in_use.loras) for model in kept),
                *(
                    backend.byte_count
                    for model, _, backend in self._idle_backends(in_use)
                    if any(model is other for other in kept)
                ),
            ]
        )

    def evictable_backend_bytes(self, in_use: InUse) -> int:
        """Bytes of the backends that are not in use."""
        return sum(backend.byte_count for _, _, backend in self._idle_backends(in_use))

    def evict_one(self, in_use: InUse) -> bool:
        """Evict fused weights, else a backend, LoRA, adapter or model, in the order of the time it takes to load again.

        False if there is nothing to evict.
        """
        if self.unfuse():
            return True
        if self._idle_backends(in_use):
            self.evict_backend(in_use)
            return True
        if any(model.loras.evict_one(keep=in_use.loras) for model in self.models.values()):
            self.hardware.empty_cache()
            return True
        for loaded, idle in ((self.adapters, self._idle_adapters(in_use)), (self.models, self.idle_models(in_use))):
            if idle:
                if not self._keep_for_host(loaded.pop(idle[0])):
                    self.collect_garbage()
                metrics.MODEL_EVICTIONS.labels(idle[0]).inc()
                logger.info("Evicted %s", idle[0])
                return True
        return False

    def unfuse(self, *, for_good: bool = False) -> bool:
        """Drop the fused weights of a model, whose LoRAs then are hooks. False if there are none."""
        model = next((model for model in self.models.values() if model.loras.fused), None)
        if model is not None:
            model.loras.unfuse(for_good=for_good)
            self.hardware.empty_cache()
        return model is not None

    def evict_backend(self, in_use: InUse) -> int:
        """Evict the least recently used backend. Returns its bytes, 0 if there was none."""
        for model, key, backend in self._idle_backends(in_use):
            del model.backends[key]
            return backend.byte_count
        return 0

    def add(self, model: LatentModel, fingerprint: int = 0) -> None:
        """Keep a loaded model. fingerprint: of the files that it was read from, 0 for none."""
        model.fingerprint = fingerprint
        self.models[model.spec.slug] = model

    def forget(self, slug: str) -> None:
        """Drop a model whose files were replaced; batches that use it still hold it."""
        if self.models.pop(slug, None) is not None:
            self.collect_garbage()

    def evict_later(self, model: LatentModel) -> None:
        """Evict a model into the machine's memory with the next load."""
        self._leaving.append(self.models.pop(model.spec.slug))

    def take_leaving(self) -> list[LatentModel]:
        """The evicted models that are still in the device's memory, for `remove`."""
        leaving, self._leaving = self._leaving, []
        return leaving

    def remove(self, leaving: list[LatentModel]) -> None:
        """Move evicted models from the device's memory into the machine's. On any thread."""
        if not leaving:
            return
        while leaving:
            self.host_memory.keep(leaving.pop())
        self.collect_garbage()

    def idle_models(self, in_use: InUse) -> list[str]:
        return [slug for slug, model in self.models.items() if not any(model is used for used in in_use.models)]

    def collect_garbage(self) -> None:
        gc.collect()  # the components of a pipeline refer to each other
        self.hardware.empty_cache()

    def _keep_for_host(self, evicted: LatentModel | LoadedAdapter) -> bool:
        """Whether it was a model that `remove` moves into the machine's memory."""
        if isinstance(evicted, LatentModel) and self.hardware.can_offload and self.host_memory.share:
            self._leaving.append(evicted)
            return True
        return False

    def _idle_adapters(self, in_use: InUse) -> list[str]:
        used = {spec.slug for spec in in_use.adapters}
        return [slug for slug in self.adapters if slug not in used]

    def _idle_backends(self, in_use: InUse) -> list[tuple[LatentModel, Any, Backend]]:
        """The least recently used first, each with its model and its key in `model.backends`."""
        idle = [
            (model, key, backend)
            for model in self.models.values()
            for key, backend in model.backends.items()
            if not any(backend is used for used in in_use.backends)
        ]
        return sorted(idle, key=lambda found: found[2].last_used)
