"""Stable Diffusion 3 and 3.5: a flow matching transformer that reads a prompt by two CLIPs and T5."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning, RequestedControl
from inpainting.engines.diffusion.conditioning.prompt_weights import ignored_weights
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.families.flux.network import pad_or_truncate, read_by_t5
from inpainting.families.sd3 import controlnet
from inpainting.families.z_image.network import ZImage, ZImagePrompts
from inpainting.networks.device.hardware import Hardware

MAX_TOKENS = 256
"""Tokens of a prompt that T5 reads, as in `StableDiffusion3InpaintPipeline`; the CLIPs read 77."""


class StableDiffusion3(ZImage):
    """A loaded model of the family sd3: guidance and start of Z-Image, with other networks.

    It was not trained for inpainting either.
    """

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        # The class does not name them for compiling, as those of the other transformers do.
        pipeline.transformer._repeated_blocks = pipeline.transformer._no_split_modules
        super().__init__(pipeline, hardware, spec)

    def levels(self, scheduler: Any, steps: int) -> NDArray[np.float64]:
        """Return levels from the scheduler's highest to its lowest, which it shifts in its configuration too."""
        return np.linspace(scheduler.sigma_max, scheduler.sigma_min, steps)

    # Tokenise and encode

    def _tokenize(self, field: str, prompt: str, notes: list[str]) -> list[int]:
        """Return the token ids by both CLIPs and by T5, one after the other. Notes are about T5, which reads most."""
        ids: list[int] = []
        for clip in (self.pipeline.tokenizer, self.pipeline.tokenizer_2):
            tokens = clip(prompt, truncation=False, verbose=False).input_ids
            ids += pad_or_truncate(tokens, clip.model_max_length, clip.pad_token_id)[0].tolist()
        t5 = self.pipeline.tokenizer_3
        tokens, more = read_by_t5(t5, field, prompt, MAX_TOKENS)
        notes += [*ignored_weights(prompt), *more]
        return [*ids, *pad_or_truncate(tokens, MAX_TOKENS, t5.pad_token_id)[0].tolist()]

    @torch.inference_mode()
    def encode_prompts(self, prompts: ZImagePrompts, settings: PaintSettings, size: Size) -> TextConditioning:
        """Return `embeds` of [rows, 77 + MAX_TOKENS, features] by all encoders, and `pooled` by both CLIPs.

        `clip_skip` is for the prompt alone, as in diffusers' pipeline.
        """
        skipped = [*[0] * (len(prompts.ids) - 1), (settings.clip_skip or 1) - 1]
        rows = [
            self.encoded_once((*ids, -layers), partial(self._encode_all, ids, layers))
            for ids, layers in zip(prompts.ids, skipped, strict=True)
        ]
        embeds, pooled = (torch.cat(parts) for parts in zip(*rows, strict=True))
        return TextConditioning(embeds, pooled)

    def _encode_all(self, ids: list[int], skipped: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [1, tokens, features] and [1, features] of a prompt. skipped: last layers of the CLIPs, but one."""
        pipeline, given = self.pipeline, torch.tensor([ids], device=self.hardware.device)
        lengths = (pipeline.tokenizer.model_max_length, pipeline.tokenizer_2.model_max_length, MAX_TOKENS)
        *clips, t5 = given.split(lengths, dim=1)
        outputs = [
            encoder(clip, output_hidden_states=True)
            for clip, encoder in zip(clips, (pipeline.text_encoder, pipeline.text_encoder_2), strict=True)
        ]
        by_clip = torch.cat([output.hidden_states[-(skipped + 2)] for output in outputs], dim=-1)
        by_t5 = pipeline.text_encoder_3(t5)[0]
        padded = torch.nn.functional.pad(by_clip, (0, by_t5.shape[-1] - by_clip.shape[-1]))
        pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
        return torch.cat([padded, by_t5], dim=1), pooled

    @torch.inference_mode()
    def control(
        self, network: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec
    ) -> ControlNetConditioning:
        return controlnet.condition(network, self.transformer, control, request, codec, self.spec.label)

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes, always by torch: no other backend computes this transformer."""
        group, dtype = group_of(samples), self.transformer.dtype
        latents, times = group.model_input.to(dtype), group.timesteps
        embeds, pooled = group.once(("text", dtype), lambda: self._texts_of(samples))
        controls = [sample.controls for sample in samples for _ in range(sample.rows)]
        answers: list[torch.Tensor] = []
        for part in self.parts_of(len(latents)):
            inputs = latents[part], times[part], embeds[part], pooled[part]
            added = controlnet.block_samples(self.transformer, controls[part], *inputs)
            answers += self.step_network(
                hidden_states=inputs[0],
                timestep=inputs[1],
                encoder_hidden_states=inputs[2],
                pooled_projections=inputs[3],
                block_controlnet_hidden_states=added,
                return_dict=False,
            )[0]
        return list(torch.stack(answers).float().split([sample.rows for sample in samples]))

    def _texts_of(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the texts of this step, [rows, tokens, features] and [rows, features]."""
        texts, dtype = [sample.step_text for sample in samples], self.transformer.dtype
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return torch.cat([text.embeds for text in texts]).to(dtype), torch.cat(pooled).to(dtype)
