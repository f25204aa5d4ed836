"""The text of a request on its way to the network: tokenised once, then encoded."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenizedPrompts:
    """A request's prompts, tokenised once. Each family adds the token ids in its own form.

    notes: sentences for the metadata about words that the model does not read.
    """

    notes: tuple[str, ...] = ()

    @property
    def chunk_count(self) -> int:
        """Chunks of text that the network takes. Samples with equal counts may share a step batch."""
        return 1


@dataclass(frozen=True, slots=True, eq=False)
class TextConditioning:
    """Encoded prompts as the network takes them. Rows: the negative prompt first where there is guidance.

    embeds: [rows, tokens, features]. pooled: [rows, features]. time_ids: [rows, 6], for SDXL alone: original height
    and width, crop top and left, target height and width (Podell et al. 2023, arXiv 2307.01952, section 2.2).
    guidance_embedding: [1, features], for a UNet that was distilled with guidance (`time_cond_proj_dim`).
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    time_ids: torch.Tensor | None = None
    guidance_embedding: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        return self.embeds.shape[0]

    @property
    def prompt_only(self) -> TextConditioning:
        """The last row: without the negative prompt."""
        pooled, time_ids = self.pooled, self.time_ids
        return TextConditioning(
            self.embeds[-1:],
            None if pooled is None else pooled[-1:],
            None if time_ids is None else time_ids[-1:],
            self.guidance_embedding,
        )
