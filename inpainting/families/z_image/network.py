"""Z-Image: a flow matching transformer that takes prompts of any length, encoded by Qwen3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch.nn.utils.rnn import pad_sequence

from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.controlnet import ControlNetConditioning, RequestedControl
from inpainting.engines.diffusion.conditioning.prompt_weights import ignored_weights
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning, TokenizedPrompts, too_long
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.flow_model import FlowModel
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.families.z_image import controlnet
from inpainting.networks.device.hardware import Hardware

MAX_TOKENS = 512
"""Tokens that the transformer takes, with those of the template."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ZImagePrompts(TokenizedPrompts):
    """Token ids of each prompt, the negative one first where there is guidance."""

    ids: tuple[list[int], ...]


class ZImage(FlowModel):
    """A loaded model of the family z-image.

    It was not trained for inpainting: kept parts are restored in each step, unless a ControlNet sees them.
    """

    splits_rows = True
    state_class: ClassVar[type[DenoisingState]] = DenoisingState
    before: ClassVar[str] = "<|im_start|>user\n"
    """The text of Qwen's chat template before a prompt. The template in a model's files is a program and is not run."""
    after: ClassVar[str] = "<|im_end|>\n<|im_start|>assistant\n"
    """The text of the template after a prompt."""
    skipped_tokens: ClassVar[int] = 0
    """First tokens of the template, which the text encoder reads and the transformer does not."""

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        self.transformer = pipeline.transformer

    def is_guided(self, settings: PaintSettings) -> bool:
        return self.guidance(settings) > 1

    def rows_for(self, settings: PaintSettings) -> int:
        return 2 if self.is_guided(settings) else 1

    # Tokenise and encode

    def tokenize(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()) -> ZImagePrompts:
        notes: list[str] = []
        fields = ("negative_prompt", "prompt") if self.is_guided(settings) else ("prompt",)
        ids = tuple(self._tokenize(field, getattr(settings, field), notes) for field in fields)
        return ZImagePrompts(notes=tuple(dict.fromkeys(notes)), ids=ids)

    def _tokenize(self, field: str, prompt: str, notes: list[str]) -> list[int]:
        """The token ids of a prompt that are encoded. Appends notes about what of it the model does not read."""
        notes += ignored_weights(prompt)
        tokenizer, count = self.pipeline.tokenizer, self.skipped_tokens + MAX_TOKENS
        ids: list[int] = tokenizer(f"{self.before}{prompt}{self.after}", truncation=False, verbose=False).input_ids
        ignored = str(tokenizer.decode(ids[count:]))
        if len(ignored) > len(self.after):
            notes.append(too_long(field, MAX_TOKENS, ignored.removesuffix(self.after).strip()))
        return ids[:count]

    @torch.inference_mode()
    def encode_prompts(self, prompts: ZImagePrompts, settings: PaintSettings, size: Size) -> TextConditioning:
        """Return `embeds` of [rows, tokens, features] by the layer that the transformer was trained on."""
        rows = [self.encoded_once(tuple(ids), partial(self._encode, ids)) for ids in prompts.ids]
        return TextConditioning(pad_sequence(rows, batch_first=True), lengths=tuple(len(row) for row in rows))

    def _encode(self, ids: list[int]) -> torch.Tensor:
        """Return [tokens, features] by the layer before the last, for token ids without padding.

        A token attends only to those before it.
        """
        given = torch.tensor([ids], device=self.hardware.device)
        hidden_states = self.pipeline.text_encoder(given, output_hidden_states=True, use_cache=False).hidden_states
        return torch.as_tensor(hidden_states[-2][0])

    # Start

    @torch.inference_mode()
    def control(
        self, network: Any, control: RequestedControl, request: InpaintRequest, codec: LatentCodec
    ) -> ControlNetConditioning:
        return controlnet.condition(network, self.transformer, control, request, codec, self.spec.label)

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """Start an image as `LatentModel.start` describes. The window's sides are multiples of 16."""
        settings, begun = request.settings, self.begin(request, index, codec or self.codec())
        schedule, notes = begun.schedule, begun.notes
        guided = schedulers.steps_within(len(schedule), settings.guidance_start, settings.guidance_end)
        if self.is_guided(settings) and not guided:
            notes = (*notes, schedulers.NONE_GUIDED)
        state = self.state_class(
            latents=begun.latents,
            text=text,
            # The pipeline of diffusers counts guidance from 0: its scale is lower by 1.
            guidance=self.guidance(settings),
            schedule=schedule,
            mask=begun.inputs.mask,
            masked_image=None,
            image=begun.image,
            noise=begun.noise,
            generator=begun.inputs.generator,
            guided=guided,
            guidance_rescale=settings.guidance_rescale or 0.0,
        )
        return state, notes

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes, always by torch: no other backend computes this transformer."""
        group, dtype = group_of(samples), self.transformer.dtype
        # Each row is an image of one frame; the transformer counts time from noise to image.
        frames = group.model_input.to(dtype)[:, :, None]
        times = 1 - group.timesteps / 1000
        embeds = group.once(
            ("text", dtype), lambda: [row.to(dtype) for sample in samples for row in sample.step_text.row_embeds]
        )
        controls = [sample.controls for sample in samples for _ in range(sample.rows)]
        answers: list[torch.Tensor] = []
        for part in self.parts_of(len(frames)):
            inputs = frames[part], times[part], embeds[part]
            more = controlnet.block_samples(self.transformer, controls[part], *inputs)
            answers += self.step_network(list(inputs[0]), *inputs[1:], **more, return_dict=False)[0]
        velocity = -torch.stack(answers)[:, :, 0].float()
        return list(velocity.split([sample.rows for sample in samples]))
