"""The networks of a loaded model: where their weights are, what is compiled, and what is done when memory is short."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import torch

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.torch import Backend
from inpainting.engines.diffusion.conditioning.lora_adapters import LoadedLoras
from inpainting.engines.diffusion.encoding_cache import MAX_IMAGES, MAX_TEXTS, EncodingCache
from inpainting.engines.diffusion.first_block_cache import FirstBlockCache
from inpainting.engines.diffusion.memory_shortage import MemoryShortage
from inpainting.networks.device.compilation import BLOCKS, TRANSFORMERS, CompiledNetwork
from inpainting.networks.device.float8 import holds_float8
from inpainting.networks.device.hardware import Hardware, Offload, is_out_of_memory
from inpainting.networks.device.quantization import QUANTIZATIONS, is_quantized, stored_bytes

OVERFLOWED = sentence("Numbers of the model left the range of float16: it computed in bfloat16.")
WAITED = {
    Offload.COMPONENTS: sentence("Memory was short: parts of the model waited in the machine's memory."),
    Offload.LAYERS: sentence("Memory was short: layers of the model waited in the machine's memory."),
}


class PlacedModel:
    """The networks of a loaded model on a device. Only the device's thread uses it.

    pipeline: a diffusers pipeline of the family. Its components are used, but its `__call__` is not, and no state of a
    generation is kept on it.
    """

    splits_rows: ClassVar[bool] = False
    """Whether `predict` follows `rows_per_call`."""

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        self.pipeline = pipeline
        self.hardware = hardware
        self.spec = spec
        self.vae = pipeline.vae
        self.unet: Any = getattr(pipeline, "unet", None)
        """None in families with a transformer."""
        support = families.get(spec.family).lora
        self.loras = LoadedLoras(pipeline, support)
        self._texts = EncodingCache(MAX_TEXTS)
        self._images = EncodingCache(MAX_IMAGES)
        self.scheduler_config: Mapping[str, Any] = pipeline.scheduler.config
        self.memory_fallbacks: list[str] = []
        """Sentences about what was done to save memory, for the metadata of every image painted since."""
        self.notes: list[str] = []
        """Sentences about how its files were read and it computes, for the metadata of every image painted since."""
        self.backends: dict[Any, Backend] = {}
        """Other backends compiled from this model, by image size and LoRAs."""
        self.is_tiled = False
        """Whether images are encoded and decoded in tiles, to save memory."""
        self.fingerprint = 0
        """Of the files that it was read from; 0 for none."""
        self.offload = Offload.NONE
        self.rows_per_call: int | None = None
        """Rows of a step batch that are computed at a time; None is all."""
        self.memory_shortage = MemoryShortage()
        self.block_cache = FirstBlockCache()
        self._compiled: CompiledNetwork | None = None
        self._prepare_compilation()

    @property
    def byte_count(self) -> int:
        """Bytes of all weights, including those of its LoRAs and of its other backends."""
        backend_bytes = sum(backend.byte_count for backend in self.backends.values())
        return self._own_bytes + self.loras.byte_count + backend_bytes

    @cached_property
    def _own_bytes(self) -> int:
        modules = [part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module)]
        return sum(stored_bytes(tensor) for module in modules for tensor in (*module.parameters(), *module.buffers()))

    @property
    def network(self) -> Any:
        """The network that takes the steps: a UNet or a transformer."""
        return self.pipeline.transformer if self.unet is None else self.unet

    @property
    def step_network(self) -> Any:
        """What computes a step of `network`: it may be compiled, but not with hooks of LoRAs, which change its layers,
        nor with a cache, which skips them."""
        is_plain = self._compiled is None or self.loras.are_hooks or self.block_cache.is_applied
        return self.network if is_plain else self._compiled

    @property
    def compilation_notes(self) -> tuple[str, ...]:
        """Why its network is not compiled although that was asked for, for the metadata."""
        return () if self._compiled is None or self._compiled.rejection is None else (self._compiled.rejection,)

    @property
    def is_compiled(self) -> bool:
        """Whether a step may have to wait for the compiler."""
        return self._compiled is not None

    @property
    def _is_transformer_to_compile(self) -> bool:
        """Compiled by default. Of quantised ones, only those that multiply numbers of 8 bits need it.

        Those in float8 are not, because Triton converts their numbers on GPUs of compute capability 8.9 alone.
        """
        if self.unet is not None or is_quantized(self.network) or holds_float8(self.network):
            return False
        word = self.hardware.quantization
        return not word or QUANTIZATIONS[word].quantizes_activations

    def _prepare_compilation(self) -> None:
        """Compile from the next step on. The network must be without adapters, and whole on its device."""
        if self.hardware.compilation == BLOCKS or (
            self.hardware.compilation == TRANSFORMERS and self._is_transformer_to_compile
        ):
            self._compiled = CompiledNetwork(self.network, self.spec.slug)

    def use_bfloat16(self) -> None:
        """Compute the network in bfloat16, which has the range of float32, until the model is loaded again."""
        self.loras.unfuse()
        self.hardware = replace(self.hardware, dtype=torch.bfloat16)
        self.network.to(torch.bfloat16)
        if self.offload is Offload.NONE:
            self._prepare_compilation()
        self.notes.append(OVERFLOWED)

    # When memory is short

    def reduce_memory(self, size: Size) -> bool:
        """Switch to the next way of computing that needs less memory and more time. False if there is none left.

        size: of the image that memory was too short for.
        """
        self.memory_shortage.begin(size)
        if not self.is_tiled:
            # No attention slicing: scaled_dot_product_attention already holds less memory than the slices would.
            self.is_tiled = True
            self.vae.enable_slicing()
            self.vae.enable_tiling()
            self.memory_fallbacks.append(sentence("Memory was short: images were encoded and decoded in tiles."))
            return True
        if self.splits_rows and self.rows_per_call is None:
            self.rows_per_call = 1
            self.memory_fallbacks.append(
                sentence("Memory was short: the rows of a step were computed one after another.")
            )
            return True
        return self.offload_more()

    def offload_more(self) -> bool:
        """Keep more of the model in the machine's memory. False if that is not possible."""
        if not self.hardware.can_offload or self.offload is Offload.LAYERS:
            return False
        self.offload_to(Offload(self.offload + 1))
        return True

    def offload_to(self, offload: Offload) -> None:
        self._forget_encodings()
        self.block_cache.remove()  # before the blocks get other hooks
        self.loras.unfuse()
        self._compiled = None
        try:
            self.hardware.offload(self.pipeline, offload)
        except Exception as error:
            # Not even the VAE fits, which is never apart. What is half moved could not compute the next image.
            if offload is Offload.LAYERS and is_out_of_memory(error):
                self.hardware.remove(self.pipeline)
                self.hardware.offload(self.pipeline, Offload.COMPONENTS)
                self.offload = Offload.COMPONENTS
            raise
        self.offload = offload
        self.memory_fallbacks.append(WAITED[offload])

    def stop_reducing(self) -> None:
        """Undo `reduce_memory`, except for the placement of the weights."""
        self.is_tiled, self.rows_per_call = False, None
        self.memory_shortage.end()
        self.vae.disable_slicing()
        self.vae.disable_tiling()
        self.memory_fallbacks.clear()

    def leave_device(self) -> None:
        """Move all weights into the machine's memory, and forget LoRAs, backends and how memory was saved."""
        self.block_cache.remove()
        self.loras.unload_all()
        self.backends.clear()
        self._compiled = None
        self._forget_encodings()
        self.hardware.remove(self.pipeline)
        self.stop_reducing()
        self.offload = Offload.NONE

    def _forget_encodings(self) -> None:
        """Free what the cached encodings of texts and images take of the device's memory."""
        self._texts.clear()
        self._images.clear()

    def enter_device(self, offload: Offload) -> None:
        """Place the weights, which are in the machine's memory. offload: what of them stays there."""
        if offload is Offload.NONE:
            self.hardware.place(self.pipeline)
            self._prepare_compilation()
        else:
            self.offload_to(offload)
