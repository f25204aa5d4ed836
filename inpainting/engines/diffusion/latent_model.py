"""A loaded model: what all families share, and what each one implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

import torch

from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning, RequestedControl
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompts
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning, TokenizedPrompts
from inpainting.engines.diffusion.conditioning.textual_inversion import Embedding, EmbeddingVectors
from inpainting.engines.diffusion.encoding_cache import Encoded
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.placed_model import PlacedModel
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.vae_formats import latent_channels, latent_format


class LatentModel(PlacedModel, ABC):
    """A loaded model. Only the device's thread uses it."""

    respects_force_upcast: ClassVar[bool] = False
    """Whether `force_upcast` in a VAE's configuration is true of the family, or only diffusers' default."""

    # What each family implements

    @abstractmethod
    def rows_for(self, settings: PaintSettings) -> int:
        """Rows of a step batch that an image takes at most."""

    @abstractmethod
    def tokenize(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()) -> TokenizedPrompts:
        """Tokenize a request's prompts. vectors: of its textual inversions, for each text encoder."""

    @abstractmethod
    def encode_prompts(self, prompts: Any, settings: PaintSettings, size: Size) -> TextConditioning:
        """Encode what `tokenize` returned, for an image of `size`."""

    def encode_request(self, prompts: Any, request: InpaintRequest) -> TextConditioning:
        """Encode what `tokenize` returned, for a request. Models whose text encoder sees its images override it."""
        return self.encode_prompts(prompts, request.settings, request.image.size)

    def with_image_prompts(self, text: TextConditioning, prompts: ImagePrompts | None) -> TextConditioning:
        """Add image prompts to the encoded text. To a UNet they are no text: its layers attend to them apart."""
        return text

    def embedding_vectors(self, embeddings: Sequence[Embedding]) -> tuple[EmbeddingVectors, ...]:
        """The vectors of textual inversions for `tokenize`. Raises EngineFailed, `adapter_unfit`."""
        raise EngineFailed(sentence("{label} takes no embeddings.", label=self.spec.label), code="adapter_unfit")

    def control(
        self, network: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec
    ) -> ControlNetConditioning:
        """Check that a ControlNet of a request fits, and prepare what it sees.

        network: loaded from the ControlNet's files. Raises EngineFailed: `adapter_unfit`, `control_image_missing`.
        """
        raise EngineFailed(sentence("{label} takes no ControlNet.", label=self.spec.label), code="adapter_unfit")

    @abstractmethod
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """The state before the first step of image `index` of a request whose source image is the window.

        Draws random numbers in the order of diffusers' pipeline, so that a seed gives the same image. codec: another
        than the model's own. Also returns notes for the metadata.
        """

    @abstractmethod
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """One call of the network for samples of one size, each at its own timestep.

        Returns the prediction for each one's `advance`, in float32.
        """

    # Shared by the families

    def encoded_once(self, key: Hashable, encode: Callable[[], Encoded]) -> Encoded:
        """What `encode` returns for a text, or returned for the same key with the same active LoRAs before."""
        active = self.loras.active
        return encode() if active is None else self._texts.get((active, key), encode)

    def guidance(self, settings: PaintSettings) -> float:
        return self.spec.guidance_scale if settings.guidance_scale is None else settings.guidance_scale

    def draw_noise(self, latent_size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        """Noise [1, c, h, w], drawn on the CPU: the same on every device."""
        shape = (1, latent_channels(self.vae), *latent_size)
        return torch.randn(shape, generator=generator).to(self.hardware.device)

    def codec(self, vae: Any | None = None, backend: Backend = TORCH) -> LatentCodec:
        """Encode and decode with the model's own VAE by `backend`, or with another VAE by torch.

        A VAE that overflows float16 is held in bfloat16 from the first call on, where the device computes that: it
        takes as much memory, and need not be converted for each call.

        Raises EngineFailed, `adapter_unfit`, for another VAE with another format of latents.
        """
        is_own = vae is None
        vae = self.vae if vae is None else vae
        if not is_own and latent_format(vae) != latent_format(self.vae):
            raise EngineFailed(
                sentence(
                    "The VAE gives latents of {given}; {label} wants {wanted}.",
                    given=latent_format(vae),
                    label=self.spec.label,
                    wanted=latent_format(self.vae),
                ),
                code="adapter_unfit",
            )
        overflows = self.respects_force_upcast and bool(getattr(vae.config, "force_upcast", False))
        if overflows and vae.dtype == torch.float16 and self.hardware.has_bfloat16:
            vae.to(torch.bfloat16)
        device, images = self.hardware.device, self._images
        if is_own:
            return LatentCodec(vae, device, backend, overflows, images=images)
        return LatentCodec(vae, device, TORCH, overflows, self.is_tiled, images)
