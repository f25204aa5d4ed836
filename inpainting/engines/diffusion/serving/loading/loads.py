"""What is to be read for a model, an adapter or a LoRA, and where it is kept when it is ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from inpainting import families, metrics
from inpainting.catalog.specs import Kind, LoraSpec, ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora, LoraFile
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.serving.device_memory import DeviceMemory, LoadedAdapter
from inpainting.engines.diffusion.serving.loading.adapter_loading import load_adapter, load_preview_decoder
from inpainting.engines.diffusion.serving.loading.background_loader import Load
from inpainting.engines.diffusion.serving.loading.model_loading import hardware_for, load, weights_bytes
from inpainting.networks import interrupted_loads
from inpainting.networks.device.hardware import Hardware, Offload
from inpainting.networks.device.memory import free_machine_bytes
from inpainting.networks.files import fingerprint

NOT_OFFLOADED = Offload.NONE, 0


class LoadKey(NamedTuple):
    """Equal for a model or adapter that is loaded from the same files."""

    name: str
    fingerprint: int


class Loads:
    """Makes each `Load`. models_dir: the folder where preview decoders may be."""

    def __init__(self, hardware: Hardware, memory: DeviceMemory, models_dir: Path | None) -> None:
        self.hardware = hardware
        self.memory = memory
        self.models_dir = models_dir
        self.offloads: dict[str, tuple[Offload, int]] = {}
        """Slugs of models that were too large for the device's memory -> how they are loaded, the bytes that were free
        or could be."""
        self._preview_decoders: dict[str, torch.nn.Module | None] = {}
        self._sizes: dict[LoadKey, int] = {}
        self._fingerprints: dict[Path, int] | None = None
        """The fingerprints of the files that were looked at, inside `one_look`."""

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

    def fingerprint(self, spec: ModelSpec | LoraSpec) -> int:
        """The fingerprint of the files of a model, adapter or LoRA as they are now.

        Callers ask too, on their own threads, and the device's thread may end its look meanwhile.
        """
        found = self._fingerprints
        if found is None or spec.path is None:
            return fingerprint(spec.path)
        if spec.path not in found:
            found[spec.path] = fingerprint(spec.path)
        return found[spec.path]

    def key(self, spec: ModelSpec | LoraSpec) -> LoadKey:
        return LoadKey(spec.slug, self.fingerprint(spec))

    def model(self, spec: ModelSpec) -> Load:
        """A model from the machine's memory, else from its files."""
        self.memory.forget(spec.slug)  # its files were replaced
        key, (offload, _) = self.key(spec), self.offloads.get(spec.slug, NOT_OFFLOADED)
        byte_count = self._bytes_of(spec, key)

        def read() -> Any:
            model = self.memory.host_memory.take(*key)
            timed = metrics.MODEL_LOAD_SECONDS.labels(spec.slug, "disk" if model is None else "memory").time()
            with interrupted_loads.recorded(spec, key.fingerprint), timed:
                if model is None:
                    self.memory.host_memory.drop_removed()
                    self.memory.host_memory.make_room(byte_count)  # it is read into the machine's memory first
                    model = load(spec, self.hardware, offload)
                else:
                    model.enter_device(offload)
            self.preview_decoder(spec.family)  # so that it need not be loaded when the first image starts
            return model

        return Load(key, byte_count, read, lambda model: self.memory.add(model, key.fingerprint))

    def adapter(self, spec: ModelSpec) -> Load:
        """The network of a VAE, ControlNet or IP-Adapter."""
        self.memory.adapters.pop(spec.slug, None)  # its files were replaced
        key = self.key(spec)

        def keep(network: Any) -> None:
            byte_count = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
            self.memory.adapters[spec.slug] = LoadedAdapter(key.fingerprint, network, byte_count)

        family, hardware = families.get(spec.family), self.hardware
        has_transformer = {Kind.CONTROLNET: family.controlnet, Kind.IP_ADAPTER: family.image_prompts}.get(spec.kind)
        if has_transformer is not None:
            hardware = hardware_for(family, hardware)  # as the model's own network

        def read() -> Any:
            with interrupted_loads.recorded(spec, key.fingerprint):
                return load_adapter(spec, hardware)

        return Load(key, self._bytes_of(spec, key), read, keep)

    def lora(self, lora: ActiveLora, model: LatentModel) -> Load:
        """A LoRA for a loaded model. Reading it raises torch.OutOfMemoryError where less memory is free than it takes.

        A processor would have the process ended in place of that.
        """
        byte_count, read_from = self.weights_bytes(lora.spec), self.fingerprint(lora.spec)

        def read() -> LoraFile:
            is_on_device = model.loras.device.type == self.hardware.device.type
            free = self.hardware.free_bytes() if is_on_device else free_machine_bytes()
            if byte_count > free:
                raise torch.OutOfMemoryError(
                    sentence(
                        "The LoRA {slug} takes {byte_count} bytes; {free} are free.",
                        slug=lora.spec.slug,
                        byte_count=byte_count,
                        free=free,
                    )
                )
            with interrupted_loads.recorded(lora.spec, read_from), self.hardware.copying():
                return model.loras.read(lora)

        return Load((lora.name, id(model)), byte_count, read, partial(model.loras.load, lora))

    def weights_bytes(self, spec: ModelSpec | LoraSpec) -> int:
        """Bytes that the weights in its files will take."""
        return self._bytes_of(spec, self.key(spec))

    def _bytes_of(self, spec: ModelSpec | LoraSpec, key: LoadKey) -> int:
        if key not in self._sizes:
            self._sizes[key] = weights_bytes(spec, self.hardware.dtype, self.hardware.quantization)
        return self._sizes[key]

    def offload_more(self, spec: ModelSpec) -> bool:
        """Load more of a model into the machine's memory from now on. False if that is not possible."""
        offload, _ = self.offloads.get(spec.slug, NOT_OFFLOADED)
        if not self.hardware.can_offload or offload is Offload.LAYERS:
            return False
        self.offloads[spec.slug] = Offload(offload + 1), self.hardware.free_bytes()
        return True

    def preview_decoder(self, family: str) -> torch.nn.Module | None:
        """The preview decoder of a family; None if it is not installed or cannot be loaded."""
        if self.models_dir is None:
            return None
        if family not in self._preview_decoders:
            self._preview_decoders[family] = load_preview_decoder(self.models_dir, family, self.hardware)
        return self._preview_decoders[family]


@dataclass(frozen=True, slots=True)
class ModelToLoad:
    """A model in place of which nothing is loaded yet, for the retries when memory is short."""

    loads: Loads
    spec: ModelSpec

    def reduce_memory(self, size: Size) -> bool:
        """Load more of it into the machine's memory from now on. False if that is not possible."""
        return self.loads.offload_more(self.spec)
