"""Qwen-Image: a flow matching transformer that takes prompts of any length, encoded by Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import FluxFillPipeline
from torch.nn.utils.rnn import pad_sequence

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning, RequestedControl
from inpainting.engines.diffusion.conditioning.reference_images import seen_images, seen_tokens
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.families.qwen_image import controlnet
from inpainting.families.z_image.network import ZImage


class QwenImageState(DenoisingState):
    """A `DenoisingState` whose guidance keeps the length of each token."""

    __slots__ = ()

    def _guided(self, prediction: torch.Tensor) -> torch.Tensor:
        if len(prediction) == 1:
            return prediction
        height, width = prediction.shape[-2:]
        tokens = apply_guidance(pack(prediction), self.guidance)[:1]
        return torch.as_tensor(FluxFillPipeline._unpack_latents(tokens, height, width, vae_scale_factor=1))


class QwenImage(ZImage):
    """A loaded model of the family qwen-image: schedule and start of Z-Image, with other networks and guidance.

    It was not trained for inpainting either.
    """

    state_class = QwenImageState
    before: ClassVar[str] = (
        "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
        "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
    )
    """The text of the template in `QwenImageInpaintPipeline`, where `skipped_tokens` is from too."""
    skipped_tokens: ClassVar[int] = 34
    sees_images: ClassVar[bool] = False
    """Whether the tokens of the source image and of the reference images follow those of the latents."""

    def _encode(self, ids: list[int]) -> torch.Tensor:
        """Return [tokens, features] by the last layer, for token ids without padding."""
        given = torch.tensor([ids], device=self.hardware.device)
        encoded = self.pipeline.text_encoder(given, output_hidden_states=True, use_cache=False, logits_to_keep=1)
        return torch.as_tensor(encoded.hidden_states[-1][0, self.skipped_tokens :])

    @torch.inference_mode()
    def control(
        self, network: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec
    ) -> ControlNetConditioning:
        return controlnet.condition(network, self.transformer, control, request, codec, self.spec.label)

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes, always by torch: no other backend computes this transformer."""
        group, dtype = group_of(samples), self.transformer.dtype
        tokens, times = pack(group.model_input).to(dtype), group.timesteps / 1000
        embeds, mask = group.once(("text", dtype), lambda: self._texts_of(samples))
        height, width = samples[0].latents.shape[-2:]
        shape = [(1, height // PATCH_SIZE, width // PATCH_SIZE)]
        added = controlnet.block_samples(
            self.transformer, samples, tokens, times, (embeds, mask), shape, self.rows_per_call
        )
        count, images = tokens.shape[1], [samples[0].latents]
        if self.sees_images:
            images += seen_images(samples[0])
            tokens = torch.cat([tokens, group.once(("images", dtype), lambda: seen_tokens(samples).to(dtype))], dim=1)
        shapes = [(1, *(side // PATCH_SIZE for side in image.shape[-2:])) for image in images]
        answers: list[torch.Tensor] = []
        for part in self.parts_of(len(tokens)):
            answers += self.step_network(
                hidden_states=tokens[part],
                timestep=times[part],
                encoder_hidden_states=embeds[part],
                encoder_hidden_states_mask=None if mask is None else mask[part],
                img_shapes=[shapes] * len(tokens[part]),
                controlnet_block_samples=None if added is None else [block[part] for block in added],
                return_dict=False,
            )[0][:, :count]
        velocity = FluxFillPipeline._unpack_latents(torch.stack(answers).float(), height, width, vae_scale_factor=1)
        return list(velocity.split([sample.rows for sample in samples]))

    def _texts_of(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return padded texts, [rows, tokens, features], and True where they are not padding, [rows, tokens].

        The second is None where there is no padding: attention is faster without a mask.
        """
        texts = [row for sample in samples for row in sample.step_text.row_embeds]
        embeds = pad_sequence(texts, batch_first=True).to(self.transformer.dtype)
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in texts], batch_first=True)
        return embeds, None if mask.all() else mask.to(embeds.device)


def apply_guidance(velocity: torch.Tensor, scale: float) -> torch.Tensor:
    """Return [rows, tokens, channels] with guidance in all rows, at the length that each token has without it.

    `QwenImageInpaintPipeline` does the same.
    """
    if len(velocity) == 1:
        return velocity
    unprompted, prompted = velocity.split(1)
    combined = unprompted + scale * (prompted - unprompted)
    length, combined_length = (
        torch.linalg.vector_norm(tokens, dim=-1, keepdim=True) for tokens in (prompted, combined)
    )
    return (combined * (length / combined_length)).expand_as(velocity)
