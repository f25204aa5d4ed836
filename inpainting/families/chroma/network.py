"""Chroma: the transformer of FLUX.1 with classifier-free guidance, and T5 alone as its text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import FluxFillPipeline
from torch.nn.utils.rnn import pad_sequence
from transformers import T5TokenizerFast

from inpainting.catalog import configurations
from inpainting.catalog.specs import ModelSpec
from inpainting.engines.diffusion.backends.torch import TORCH, Backend
from inpainting.engines.diffusion.conditioning.prompt_weights import ignored_weights
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latents import PATCH_SIZE
from inpainting.engines.diffusion.sampling.denoising import DenoisingState, group_of
from inpainting.families.chroma.declaration import T5_ALONE
from inpainting.families.flux.network import MAX_TOKENS, pad_or_truncate, read_by_t5
from inpainting.families.z_image.network import ZImage
from inpainting.networks.device.hardware import Hardware

HIDDEN = -1e4
"""The mask of a token that no other one reads. It is finite, so that the attention of padding has no row of nothing."""


class Chroma(ZImage):
    """A loaded model of the family chroma: guidance and start of Z-Image, with other networks.

    It was not trained for inpainting either. Of the padding of a text its transformer was trained to see one token.
    """

    def __init__(self, pipeline: Any, hardware: Hardware, spec: ModelSpec) -> None:
        super().__init__(pipeline, hardware, spec)
        if spec.path is not None and not (spec.path / "tokenizer/tokenizer.json").is_file():
            pipeline.register_modules(tokenizer=published_tokenizer())

    # Tokenise and encode

    def _tokenize(self, field: str, prompt: str, notes: list[str]) -> list[int]:
        tokens, ignored = read_by_t5(self.pipeline.tokenizer, field, prompt, MAX_TOKENS)
        notes += [*ignored_weights(prompt), *ignored]
        return [*tokens[: MAX_TOKENS - 1], tokens[-1]] if ignored else tokens

    def _encode(self, ids: list[int]) -> torch.Tensor:
        """Return [tokens, features] by T5: of the prompt, which do not attend to the padding, and one of the padding.

        T5 counts places from each token to the next, so more padding would change none of them.
        """
        count = min(len(ids) + 1, MAX_TOKENS)
        padded = pad_or_truncate(ids, count, self.pipeline.tokenizer.pad_token_id).to(self.hardware.device)
        is_read = torch.arange(count, device=padded.device)[None] < len(ids)
        return torch.as_tensor(self.pipeline.text_encoder(padded, attention_mask=is_read.long())[0][0])

    # Predict

    @torch.inference_mode()
    def predict(self, samples: Sequence[DenoisingState], backend: Backend = TORCH) -> list[torch.Tensor]:
        """Predict as `LatentModel.predict` describes, always by torch: no other backend computes this transformer."""
        group, dtype = group_of(samples), self.transformer.dtype
        embeds, mask, places = group.once(("constants", dtype), lambda: self._constants(samples))
        tokens, times = pack(group.model_input).to(dtype), group.timesteps / 1000
        answers = [
            self.step_network(
                hidden_states=tokens[part],
                timestep=times[part],
                encoder_hidden_states=embeds[part],
                attention_mask=None if mask is None else mask[part],
                return_dict=False,
                **places,
            )[0]
            for part in self.parts_of(len(tokens))
        ]
        size = samples[0].latents.shape[-2:]
        velocity = FluxFillPipeline._unpack_latents(torch.cat(answers).float(), *size, vae_scale_factor=1)
        return list(velocity.split([sample.rows for sample in samples]))

    def _constants(self, samples: Sequence[DenoisingState]) -> tuple[torch.Tensor, torch.Tensor | None, dict[str, Any]]:
        """Return what stays the same of these images in each step.

        Their texts, [rows, tokens, features], padded to the longest; the mask of the tokens of text and image, [rows,
        tokens], None where no text is padded; and the places of all tokens, as further keyword arguments.

        The transformer adds the product of two tokens' masks to their logits: 1 for all that are read, which changes
        nothing, and HIDDEN where one is padding. `ChromaInpaintPipeline` pads each text to 256 tokens with a mask of 0,
        which hides nothing (github.com/huggingface/diffusers/issues/12116).
        """
        device, dtype = self.hardware.device, self.transformer.dtype
        texts = [row for sample in samples for row in sample.step_text.row_embeds]
        embeds = pad_sequence(texts, batch_first=True).to(dtype)
        rows, columns = (side // PATCH_SIZE for side in samples[0].latents.shape[-2:])
        mask = torch.ones(len(texts), embeds.shape[1] + rows * columns)
        for row, text in zip(mask, texts, strict=True):
            row[len(text) : embeds.shape[1]] = HIDDEN
        places = FluxFillPipeline._prepare_latent_image_ids(1, rows, columns, device, dtype)
        return (
            embeds,
            mask.to(device, dtype) if (mask == HIDDEN).any() else None,
            {"txt_ids": places.new_zeros(embeds.shape[1], 3), "img_ids": places},
        )


def published_tokenizer() -> Any:
    """Return the tokenizer of T5-XXL, for a folder whose vocabulary, a `spiece.model`, was not installed."""
    with TemporaryDirectory() as folder:
        configurations.write_components(T5_ALONE, Path(folder), {"tokenizer"})
        return T5TokenizerFast.from_pretrained(Path(folder) / "tokenizer", local_files_only=True)
