"""Stable Diffusion 3 and 3.5: a flow matching transformer that reads a prompt by two CLIPs and T5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.prompt_weights import ignored_weights
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning, TokenizedPrompts
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.denoising import DenoisingState, group_of
from inpainting.families.flux.network import pad_or_truncate, read_by_t5
from inpainting.families.z_image.network import ZImage

MAX_TOKENS = 256
"""Tokens of a prompt that T5 reads, as in `StableDiffusion3InpaintPipeline`; the CLIPs read 77."""


class Sd3Prompt(NamedTuple):
    """Token ids of one prompt by both CLIPs and T5, [1, tokens] each."""

    clip: torch.Tensor
    clip_2: torch.Tensor
    t5: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sd3Prompts(TokenizedPrompts):
    """The prompts, the negative one first where there is guidance."""

    rows: tuple[Sd3Prompt, ...]


class StableDiffusion3(ZImage):
    """A loaded model of the family sd3: guidance and start of Z-Image, with other networks.

    It was not trained for inpainting either.
    """

    def levels(self, scheduler: Any, steps: int) -> NDArray[np.float64]:
        """Return levels from the scheduler's highest to its lowest, which it shifts in its configuration too."""
        return np.linspace(scheduler.sigma_max, scheduler.sigma_min, steps)

    # Tokenise and encode

    def tokenize(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()) -> Sd3Prompts:
        """Tokenize the prompts. Notes are about T5 alone, which reads most."""
        notes: list[str] = []
        fields = ("negative_prompt", "prompt") if self.is_guided(settings) else ("prompt",)
        rows = tuple(self._tokenize_all(field, getattr(settings, field), notes) for field in fields)
        return Sd3Prompts(notes=tuple(dict.fromkeys(notes)), rows=rows)

    def _tokenize_all(self, field: str, prompt: str, notes: list[str]) -> Sd3Prompt:
        """Return the tokens of a prompt. Appends notes about what of it the model does not read."""
        clips = [
            pad_or_truncate(clip(prompt, truncation=False, verbose=False).input_ids, clip.model_max_length, pad)
            for clip in (self.pipeline.tokenizer, self.pipeline.tokenizer_2)
            for pad in (clip.pad_token_id,)
        ]
        t5 = self.pipeline.tokenizer_3
        tokens, more = read_by_t5(t5, field, prompt, MAX_TOKENS)
        notes += [*ignored_weights(prompt), *more]
        return Sd3Prompt(*clips, pad_or_truncate(tokens, MAX_TOKENS, t5.pad_token_id))

    @torch.inference_mode()
    def encode_prompts(self, prompts: Sd3Prompts, settings: PaintSettings, size: Size) -> TextConditioning:
        """Return `embeds` of [rows, 77 + MAX_TOKENS, features] by all encoders, and `pooled` by both CLIPs.

        `clip_skip` is for the prompt alone, as in diffusers' pipeline.
        """
        rows = []
        for number, row in enumerate(reversed(prompts.rows)):
            skipped = (settings.clip_skip or 1) - 1 if number == 0 else 0
            key = tuple(number for ids in row for number in ids[0].tolist())
            rows.append(self.encoded_once((key, skipped), partial(self._encode_all, row, skipped)))
        embeds, pooled = (torch.cat(parts[::-1]) for parts in zip(*rows, strict=True))
        return TextConditioning(embeds, pooled)

    def _encode_all(self, prompt: Sd3Prompt, skipped: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [1, tokens, features] and [1, features] of a prompt. skipped: last layers of the CLIPs, but one."""
        device, pipeline = self.hardware.device, self.pipeline
        outputs = [
            encoder(ids.to(device), output_hidden_states=True)
            for ids, encoder in ((prompt.clip, pipeline.text_encoder), (prompt.clip_2, pipeline.text_encoder_2))
        ]
        by_clip = torch.cat([output.hidden_states[-(skipped + 2)] for output in outputs], dim=-1)
        by_t5 = pipeline.text_encoder_3(prompt.t5.to(device))[0]
        padded = torch.nn.functional.pad(by_clip, (0, by_t5.shape[-1] - by_clip.shape[-1]))
        pooled = torch.cat([output.text_embeds for output in outputs], dim=-1)
        return torch.cat([padded, by_t5], dim=1), pooled

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes, always by torch: no other backend computes this transformer."""
        group, dtype = group_of(samples), self.transformer.dtype
        latents, times = group.model_input.to(dtype), group.timesteps
        embeds, pooled = group.once(("text", dtype), lambda: self._texts_of(samples))
        answers = [
            self.step_network(
                hidden_states=latents[part],
                timestep=times[part],
                encoder_hidden_states=embeds[part],
                pooled_projections=pooled[part],
                return_dict=False,
            )[0]
            for part in self.parts_of(len(latents))
        ]
        return list(torch.cat(answers).float().split([sample.rows for sample in samples]))

    def _texts_of(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the texts of this step, [rows, tokens, features] and [rows, features]."""
        texts, dtype = [sample.step_text for sample in samples], self.transformer.dtype
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return torch.cat([text.embeds for text in texts]).to(dtype), torch.cat(pooled).to(dtype)
