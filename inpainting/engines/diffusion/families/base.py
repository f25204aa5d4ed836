"""What all families share: a pipeline's parts, pictures to latents and back, and what to do when memory is short."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.backends.base import Backend
from inpainting.engines.diffusion.conditioning.lora_adapters import LoadedLoras
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.denoising import DenoisingState, TextConditioning
from inpainting.engines.diffusion.hardware import Hardware


class LatentModel(ABC):
    """A loaded model. Used by one thread alone: the one that owns the device.

    pipeline: any diffusers pipeline of the family; it lends its parts, and nothing of a generation is kept on it.
    """

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        self.pipeline = pipeline
        self.hardware = hardware
        self.spec = spec
        self.vae = pipeline.vae
        self.unet: Any = getattr(pipeline, "unet", None)
        """None in families whose network is another."""
        self.loras = LoadedLoras(pipeline)
        self.scheduler_config: Mapping[str, Any] = pipeline.scheduler.config
        self.memory_fallbacks: list[str] = []
        """What a short memory made us do, for the metadata of all that is painted from then on."""
        self.networks: dict[Any, Backend] = {}
        """What is compiled of it, by size and LoRAs; `openvino.networks` keeps it."""
        self.compiled: Backend | None = None
        """What computes in place of its UNet and VAE now; None is they themselves."""
        self._is_tiled = self._is_offloaded = False

    @property
    def byte_count(self) -> int:
        """Bytes of all weights, those of its LoRAs and of what is compiled of it among them."""
        compiled_bytes = sum(one.byte_count for one in self.networks.values())
        return self._own_bytes + self.loras.byte_count + compiled_bytes

    @cached_property
    def _own_bytes(self) -> int:
        parts = [part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module)]
        whole = sum(tensor.nbytes for part in parts for tensor in (*part.parameters(), *part.buffers()))
        return whole - self.loras.byte_count

    # What each family does in its own way

    @abstractmethod
    def rows_for(self, settings: PaintSettings) -> int:
        """How many rows of the network's batch a picture takes."""

    @abstractmethod
    def read(
        self, settings: PaintSettings, size: Size, vectors: Sequence[EmbeddingVectors] = ()
    ) -> tuple[TextConditioning, tuple[str, ...]]:
        """What the network hears of a request painted at `size`, and sentences about words that it does not hear.

        vectors: what its embeddings give each text encoder; none where it has none.
        """

    def count_chunks(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()) -> int:
        """How many chunks of words the network hears: who hears as many may share its calls."""
        return 1

    def load_embeddings(self, embeddings: Sequence[ModelSpec]) -> tuple[EmbeddingVectors, ...]:
        """For `read`. Raises EngineFailed: `part_unavailable`, `part_refused`, `part_unfit`."""
        raise EngineFailed(f"{self.spec.label} takes no embeddings.", code="part_unfit")

    @abstractmethod
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """The beginning of picture `index` of a request whose image is the window.

        Draws from the generator in the order of diffusers' own pipeline, so that the same seed gives the same picture.
        Also returns sentences about what runs otherwise than asked.
        """

    @abstractmethod
    def predict(self, samples: Sequence[DenoisingState]) -> list[torch.Tensor]:
        """One call of the network for all of them, each at its own time: what each wants for `advance`, in float32."""

    # Encode

    def guidance(self, settings: PaintSettings) -> float:
        return self.spec.guidance_scale if settings.guidance_scale is None else settings.guidance_scale

    def encode_image(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """[1, 3, 8h, 8w], -1 to 1 -> latents [1, c, h, w], drawn from what the VAE says, as diffusers does."""
        state = generator.get_state()
        latents = self._encode(pixels, generator, self.encoding_dtype, self._compiled_vae)
        if not bool(torch.isfinite(latents).all()):
            latents = self._encode(pixels, generator.set_state(state), torch.float32)
        return latents

    def _encode(
        self, pixels: torch.Tensor, generator: torch.Generator, dtype: torch.dtype, compiled: Backend | None = None
    ) -> torch.Tensor:
        with self._vae_in(dtype):
            pixels = pixels.to(self.hardware.device, dtype)
            if compiled is not None:
                drawn = compiled.encode(self.vae, pixels).sample(generator)
            else:
                said = self.vae.encode(pixels)
                drawn = said.latent_dist.sample(generator) if self.draws_latents else said.latents
        config = self.vae.config
        return torch.as_tensor((drawn.float() - shift_of(config)) * config.scaling_factor)

    @property
    def draws_latents(self) -> bool:
        """Whether its VAE says where latents lie, of which some are drawn; a tiny one says the latents themselves."""
        return not isinstance(self.vae, AutoencoderTiny)

    def draw(self, cells: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        """Noise [1, c, h, w]. Drawn on the CPU: the same on every device."""
        shape = (1, self.vae.config.latent_channels, *cells)
        return torch.randn(shape, generator=generator).to(self.hardware.device)

    # Finish

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> list[NDArray[np.uint8]]:
        """[n, c, h, w] -> n pictures [8h, 8w, 3].

        What comes out of a half-precision VAE as not-a-number is decoded again by torch in float32. Raises
        EngineFailed (`model_produced_invalid_output`) where even that is none, and for latents that are not finite.
        """
        if not bool(torch.isfinite(latents).all()):
            raise invalid_output()
        pictures = self._decode(latents, self.decoding_dtype, self._compiled_vae)
        if not bool(torch.isfinite(pictures).all()):
            pictures = self._decode(latents, torch.float32)
            if not bool(torch.isfinite(pictures).all()):
                raise invalid_output()
        whole = (pictures / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return list((whole * 255).round().astype(np.uint8))

    def _decode(self, latents: torch.Tensor, dtype: torch.dtype, compiled: Backend | None = None) -> torch.Tensor:
        config = self.vae.config
        latents = latents / config.scaling_factor
        if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
            deviation = torch.tensor(config.latents_std, device=latents.device).view(1, -1, 1, 1)
            latents = latents * deviation + torch.tensor(config.latents_mean, device=latents.device).view(1, -1, 1, 1)
        latents = latents + shift_of(config)
        with self._vae_in(dtype):
            if compiled is not None:
                return compiled.decode(self.vae, latents.to(dtype))
            return self.vae.decode(latents.to(dtype), return_dict=False)[0].float()

    @property
    def vae_overflows(self) -> bool:
        """Whether its VAE must run in float32. In most families `force_upcast` is but a default of diffusers: never."""
        return False

    @property
    def _compiled_vae(self) -> Backend | None:
        """What computes in place of its VAE; nothing while another VAE paints."""
        return self.compiled if self.vae is self.pipeline.vae else None

    @property
    def encoding_dtype(self) -> torch.dtype:
        return torch.float32 if self.vae_overflows else self.vae.dtype

    @property
    def decoding_dtype(self) -> torch.dtype:
        return torch.float32 if self.vae_overflows and self.vae.dtype == torch.float16 else self.vae.dtype

    @contextmanager
    def _vae_in(self, dtype: torch.dtype) -> Iterator[None]:
        own = self.vae.dtype
        try:
            if own != dtype:
                self.vae.to(dtype)
            yield
        finally:
            if own != dtype:
                self.vae.to(own)

    @contextmanager
    def painting_with(self, vae: Any | None) -> Iterator[None]:
        """While it lasts, another VAE in place of its own; None is its own.

        Raises EngineFailed, `part_unfit`, for one whose latents are of another shape.
        """
        own = self.vae
        if vae is None:
            yield
            return
        if latents_of(vae) != latents_of(own):
            raise EngineFailed(
                f"The VAE gives latents of {latents_of(vae)}; {self.spec.label} wants {latents_of(own)}.",
                code="part_unfit",
            )
        try:
            self.vae = vae
            if self._is_tiled:
                vae.enable_tiling()
            yield
        finally:
            self.vae = own
            vae.disable_tiling()

    # When the device is too small

    @property
    def is_tiled(self) -> bool:
        """Whether pictures are encoded and decoded in tiles."""
        return self._is_tiled

    def save_memory(self) -> bool:
        """Take the next step that needs less memory and more time, and note it. False when there is none left."""
        if not self._is_tiled:
            # Not attention slicing: scaled_dot_product_attention holds less than its slices would.
            self._is_tiled = True
            self.vae.enable_slicing()
            self.vae.enable_tiling()
            self.memory_fallbacks.append("Memory was short: pictures were encoded and decoded in tiles.")
            return True
        if not self._is_offloaded and self.hardware.is_cuda:
            self._is_offloaded = True
            self.pipeline.enable_model_cpu_offload(device=self.hardware.device)
            self.memory_fallbacks.append("Memory was short: parts of the model waited in the machine's memory.")
            return True
        return False


def latents_of(vae: Any) -> str:
    """What they are like, in words."""
    return f"{vae.config.latent_channels} channels, {2 ** (len(vae.config.block_out_channels) - 1)} pixels a side"


def to_tensor(pixels: NDArray[Any]) -> torch.Tensor:
    """[height, width, 3] of 8 bits -> [1, 3, height, width], -1 to 1, in float32."""
    return torch.from_numpy(2 * (pixels.astype(np.float32) / 255) - 1).permute(2, 0, 1)[None]


def invalid_output() -> EngineFailed:
    return EngineFailed(
        "The model gave numbers that are no picture. Another scheduler or more steps may help.",
        code="model_produced_invalid_output",
    )


def shift_of(config: Any) -> float:
    """What is taken from a VAE's latents before they are scaled; 0 where it says nothing."""
    return float(getattr(config, "shift_factor", None) or 0.0)
