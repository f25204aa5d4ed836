"""FLUX.1: what the models of the FLUX families share, which differ in what their transformer is conditioned on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from diffusers import FluxFillPipeline

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.ip_adapter import ImagePrompts
from inpainting.engines.diffusion.conditioning.prompt_weights import ignored_weights
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning, TokenizedPrompts, too_long
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors
from inpainting.engines.diffusion.flow_model import FlowModel, pack
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.networks.device.hardware import Hardware

MAX_TOKENS = 512
"""Tokens of the prompt that the T5 encoder takes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FluxPrompt(TokenizedPrompts):
    """Token ids of the prompt."""

    clip_ids: torch.Tensor
    """[1, 77]"""
    t5_ids: torch.Tensor
    """[1, max_tokens]"""


@dataclass(slots=True, eq=False, kw_only=True)
class FluxState(DenoisingState):
    """A `DenoisingState` for a guidance-distilled transformer that takes patches. Its text has one row."""

    condition: torch.Tensor
    """What the transformer takes beside the patches of the latents, [1, tokens, channels]."""


class Flux(FlowModel):
    """A loaded model of a family of FLUX.1: guidance-distilled, so one row an image and no negative prompt."""

    trained_for: ClassVar[str]
    """What its transformer was trained for, in a word: its input channels differ."""
    condition_dim: ClassVar[int]
    """The dimension of [n, tokens, channels] in which the condition follows the latents."""
    max_tokens = MAX_TOKENS
    """Tokens of the prompt that it reads by T5, padding included."""

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        self.transformer = pipeline.transformer
        seen = self.transformer.config.in_channels
        if seen != (wanted := self.input_channels):
            raise EngineFailed(
                sentence(
                    "{model} was not trained for {task}: its transformer takes {seen} channels, not {wanted}.",
                    model=spec.label,
                    task=self.trained_for,
                    seen=seen,
                    wanted=wanted,
                ),
                code="model_refused",
            )

    @property
    @abstractmethod
    def input_channels(self) -> int:
        """Return the channels of a token that the transformer was trained on."""

    def rows_for(self, settings: PaintSettings) -> int:
        return 1

    # Tokenise and encode

    def tokenize(self, settings: PaintSettings, vectors: Sequence[EmbeddingVectors] = ()) -> FluxPrompt:
        """Tokenize the prompt. CLIP takes 77 tokens of it and T5 `max_tokens`; notes are about T5 alone."""
        prompt, clip, t5 = settings.prompt, self.pipeline.tokenizer, self.pipeline.tokenizer_2
        clip_tokens = clip(prompt, truncation=False, verbose=False).input_ids
        t5_tokens, notes = read_by_t5(t5, "prompt", prompt, self.max_tokens)
        return FluxPrompt(
            notes=(*ignored_weights(prompt), *notes),
            clip_ids=pad_or_truncate(clip_tokens, clip.model_max_length, clip.pad_token_id),
            t5_ids=pad_or_truncate(t5_tokens, self.max_tokens, t5.pad_token_id),
        )

    @torch.inference_mode()
    def encode_prompts(self, prompts: FluxPrompt, settings: PaintSettings, size: Size) -> TextConditioning:
        """Return `embeds` of [1, max_tokens, features] by T5 and `pooled` of [1, features] by CLIP."""
        key = (*prompts.clip_ids[0].tolist(), *prompts.t5_ids[0].tolist())
        return self.encoded_once(key, lambda: self._encode(prompts))

    def with_image_prompts(self, text: TextConditioning, prompts: ImagePrompts | None) -> TextConditioning:
        """Let the tokens of the images follow those of the prompt, as `FluxPriorReduxPipeline` does.

        What it returns for each image, the prompt's tokens and pooled features too, is multiplied by the image's scale
        and added up. Raises EngineFailed, `adapter_unfit`, for IP-Adapters that give other numbers of tokens.
        """
        if prompts is None:
            return text
        if len({tokens.shape for tokens in prompts.tokens}) > 1:
            raise EngineFailed(
                sentence("The IP-Adapters of the request give other numbers of tokens."), code="adapter_unfit"
            )
        embeds = [
            torch.cat([text.embeds, tokens.to(text.embeds)], dim=1) * scale
            for tokens, scale in zip(prompts.tokens, prompts.scales, strict=True)
        ]
        pooled = None if text.pooled is None else text.pooled * sum(prompts.scales)
        return replace(text, embeds=torch.stack(embeds).sum(dim=0), pooled=pooled)

    def _encode(self, prompts: FluxPrompt) -> TextConditioning:
        device = self.hardware.device
        pooled = self.pipeline.text_encoder(prompts.clip_ids.to(device), output_hidden_states=False).pooler_output
        embeds = self.pipeline.text_encoder_2(prompts.t5_ids.to(device), output_hidden_states=False)[0]
        return TextConditioning(embeds, pooled)

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes, always by torch: no other backend computes this transformer."""
        group, dtype = group_of(samples), self.transformer.dtype
        condition, arguments = group.once(("constants", dtype), lambda: self._constants(samples))
        latents, times = pack(group.latents), group.timesteps / 1000
        prediction = self.step_network(
            hidden_states=torch.cat([latents, condition], dim=self.condition_dim).to(dtype),
            timestep=times,
            return_dict=False,
            **arguments,
            **self.controlled(samples, latents.to(dtype), times, arguments),
        )[0]
        size, count = samples[0].latents.shape[-2:], latents.shape[1]
        velocities = FluxFillPipeline._unpack_latents(prediction[:, :count].float(), *size, vae_scale_factor=1)
        return list(velocities.split(1))

    def controlled(
        self,
        samples: Sequence[DenoisingState],
        tokens: torch.Tensor,
        times: torch.Tensor,
        arguments: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the transformer's keyword arguments with what ControlNets add to its blocks; none where it takes none.

        tokens: of the latents, [rows, tokens, channels]. times: [rows]. arguments: the transformer's others.
        """
        return {}

    def _constants(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return what stays the same of these images in each step: their conditions, and keyword arguments."""
        device, dtype = self.hardware.device, self.transformer.dtype
        texts = [sample.text for sample in samples]
        embeds = torch.cat([text.embeds for text in texts]).to(dtype)
        guidance = torch.tensor([sample.guidance for sample in samples], device=device)
        rows, columns = (side // PATCH_SIZE for side in samples[0].latents.shape[-2:])
        return torch.cat([sample.condition for sample in samples if isinstance(sample, FluxState)]), {
            "guidance": guidance if self.transformer.config.guidance_embeds else None,
            "pooled_projections": torch.cat([text.pooled for text in texts if text.pooled is not None]).to(dtype),
            "encoder_hidden_states": embeds,
            "txt_ids": torch.zeros(embeds.shape[1], 3, device=device, dtype=dtype),
            "img_ids": self.token_places(rows, columns).to(device, dtype),
        }

    def token_places(self, rows: int, columns: int) -> torch.Tensor:
        """Return [tokens, 3]: image, row and column of each token; those of the image that is painted come first."""
        return torch.as_tensor(FluxFillPipeline._prepare_latent_image_ids(1, rows, columns, "cpu", torch.float32))


def read_by_t5(tokenizer: Any, field: str, prompt: str, max_tokens: int) -> tuple[list[int], list[str]]:
    """Return the tokens of a prompt, the end token included, and a note where there are more than `max_tokens`."""
    tokens: list[int] = tokenizer(prompt, truncation=False, verbose=False).input_ids
    if len(tokens) <= max_tokens:
        return tokens, []
    ignored = str(tokenizer.decode(tokens[max_tokens - 1 : -1])).strip()
    return tokens, [too_long(field, max_tokens - 1, ignored)]


class UnmaskedFlux(Flux):
    """A loaded model of FLUX.1 that was not trained for masks: kept parts are restored in each step.

    What its transformer sees beside the latents follows them as further tokens.
    """

    condition_dim: ClassVar[int] = 1

    @property
    def input_channels(self) -> int:
        """Return the channels of a token: those of the patch of latents."""
        return int(PATCH_SIZE**2 * self.vae.config.latent_channels)

    def references(self, request: InpaintRequest, codec: LatentCodec) -> tuple[torch.Tensor, ...]:
        """Return the latents of the reference images that it reads, [1, c, h, w] each."""
        return ()

    @abstractmethod
    def condition(self, image: torch.Tensor, references: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the tokens that follow those of the latents, [1, tokens, channels]. image: [1, c, h, w]."""

    @torch.inference_mode()
    def start(
        self, request: InpaintRequest, index: int, text: TextConditioning, codec: LatentCodec | None = None
    ) -> tuple[DenoisingState, tuple[str, ...]]:
        """Start an image as `LatentModel.start` describes. The window's sides are multiples of 16."""
        codec = codec or self.codec()
        begun = self.begin(request, index, codec)
        references = self.references(request, codec)
        state = FluxState(
            latents=begun.latents,
            text=text,
            guidance=self.guidance(request.settings),
            schedule=begun.schedule,
            mask=begun.inputs.mask,
            masked_image=None,
            image=begun.image,
            noise=begun.noise,
            generator=begun.inputs.generator,
            references=references,
            condition=self.condition(begun.image, references),
        )
        return state, begun.notes


def pad_or_truncate(tokens: list[int], length: int, pad_token_id: int) -> torch.Tensor:
    """Return the tokens as [1, length]: truncated before the end token, or padded."""
    kept = tokens if len(tokens) <= length else [*tokens[: length - 1], tokens[-1]]
    return torch.tensor([kept + [pad_token_id] * (length - len(kept))])
