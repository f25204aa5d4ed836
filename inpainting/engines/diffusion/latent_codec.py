"""Images to latents and back: one VAE, computed by one backend."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray

from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.encoding_cache import EncodingCache
from inpainting.engines.diffusion.vae_formats import latent_statistics, scaling_factor, shift_factor


@dataclass(frozen=True, slots=True, eq=False)
class LatentCodec:
    """Encodes and decodes with a VAE whose configuration gives the scaling of the latents.

    overflows: the VAE's activations exceed float16, so it runs in float32 where it is held in float16. is_tiled: the
    VAE works in tiles during each call, to save memory. images: keeps encoded images, of other VAEs too. Neither
    the VAE's dtype nor its tiling is different after a call.
    """

    vae: Any
    device: torch.device
    backend: Backend = TORCH
    overflows: bool = False
    is_tiled: bool = False
    images: EncodingCache | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What it encodes and decodes in. bfloat16 has the range of float32."""
        return torch.float32 if self.overflows and self.vae.dtype == torch.float16 else self.vae.dtype

    @property
    def samples_latents(self) -> bool:
        """Whether the VAE encodes to a distribution, which takes random numbers; an AutoencoderTiny does not."""
        return not isinstance(self.vae, AutoencoderTiny)

    # Encode

    def encode(self, pixels: torch.Tensor, generator: torch.Generator | None, key: bytes | None = None) -> torch.Tensor:
        """[1, 3, 8h, 8w], -1 to 1 -> scaled latents [1, c, h, w] in float32, sampled as diffusers does.

        generator: draws the sample; None takes the mode of the distribution. key: equal for equal pixels, which are
        encoded once, and sampled for each call; None keeps no encoding.
        """
        if key is None or self.images is None:
            encoded = self._encode_finite(pixels)
        else:
            place = (weakref.ref(self.vae), self.backend.name, key)
            encoded = self.images.get(place, lambda: self._encode_finite(pixels))
        if self.samples_latents:
            distribution = DiagonalGaussianDistribution(encoded)
            encoded = distribution.mode() if generator is None else distribution.sample(generator)
        config, encoded = self.vae.config, encoded.float() - shift_factor(self.vae.config)
        if (statistics := latent_statistics(self.vae, encoded)) is not None:
            mean, deviation = statistics
            encoded = (encoded - mean) / deviation
        return torch.as_tensor(encoded * scaling_factor(config))

    def _encode_finite(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `Backend.encode`. What is not finite in half precision is computed again by torch in float32."""
        encoded = self._encode(pixels, self.dtype, self.backend)
        return encoded if are_finite(encoded) else self._encode(pixels, torch.float32, TORCH)

    def _encode(self, pixels: torch.Tensor, dtype: torch.dtype, backend: Backend) -> torch.Tensor:
        with self._vae_in(dtype):
            return backend.encode(self.vae, pixels.to(self.device, dtype))

    # Decode

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> list[NDArray[np.uint8]]:
        """[n, c, h, w] -> n images [8h, 8w, 3].

        Pixels that are not finite in half precision are computed again by torch in float32. Raises EngineFailed
        (`model_produced_invalid_output`) if those are not finite either, and for latents that are not finite.
        """
        pixels = self._decode(latents, self.dtype, self.backend)
        if not are_finite(latents, pixels):
            pixels = self._decode(latents, torch.float32, TORCH)
            if not are_finite(latents, pixels):
                raise invalid_output()
        shares = (pixels.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        # A quarter of the bytes are copied to the host, and the device rounds them.
        return list((shares * 255).round().to(torch.uint8).cpu().numpy())

    def _decode(self, latents: torch.Tensor, dtype: torch.dtype, backend: Backend) -> torch.Tensor:
        config = self.vae.config
        latents = latents / scaling_factor(config)
        if (statistics := latent_statistics(self.vae, latents)) is not None:
            mean, deviation = statistics
            latents = latents * deviation + mean
        latents = latents + shift_factor(config)
        with self._vae_in(dtype):
            return backend.decode(self.vae, latents.to(dtype))

    @contextmanager
    def _vae_in(self, dtype: torch.dtype) -> Iterator[None]:
        own = self.vae.dtype
        try:
            if self.is_tiled:
                self.vae.enable_tiling()
            if own != dtype:
                self.vae.to(dtype)
            yield
        finally:
            if own != dtype:
                self.vae.to(own)
            if self.is_tiled:
                self.vae.disable_tiling()


def are_finite(*tensors: torch.Tensor) -> bool:
    """Whether all numbers of all tensors are finite. Waits for the device once."""
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())


def to_tensor(pixels: NDArray[Any]) -> torch.Tensor:
    """8-bit pixels [height, width, 3] -> [1, 3, height, width], -1 to 1, in float32."""
    return torch.from_numpy(2 * (pixels.astype(np.float32) / 255) - 1).permute(2, 0, 1)[None]


def invalid_output() -> EngineFailed:
    """The error for latents or pixels that are not finite."""
    return EngineFailed(
        sentence("The model gave numbers that are no image. Another scheduler or more steps may help."),
        code="model_produced_invalid_output",
    )
