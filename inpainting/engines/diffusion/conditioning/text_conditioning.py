"""The text of a request on its way to the network: tokenised once, then encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch

from inpainting.core.sentences import sentence


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenizedPrompts:
    """A request's prompts, tokenised once. Each family adds the token ids in its own form.

    notes: sentences for the metadata about words that the model does not read.
    ignored_embeddings: sentences about embeddings that are in neither prompt.
    """

    notes: tuple[str, ...] = ()
    ignored_embeddings: tuple[str, ...] = ()

    @property
    def chunk_count(self) -> int:
        """Chunks of text that the network takes. Samples with equal counts may share a step batch."""
        return 1

    def padded_to(self, chunk_count: int) -> Self:
        """Return the prompts with at least so many chunks of text."""
        return self


def too_long(field: str, tokens: int, ignored: str) -> str:
    """The note about a prompt of more tokens than the model reads. ignored: its words after them."""
    return sentence(
        "The {field} is longer than the model reads ({tokens} tokens); not read: “{words}”.",
        field=field,
        tokens=tokens,
        words=ignored[:200],
    )


@dataclass(frozen=True, slots=True, eq=False)
class TextConditioning:
    """Encoded prompts as the network takes them. Rows: the negative prompt first where there is guidance.

    embeds: [rows, tokens, features]. pooled: [rows, features]. time_ids: [rows, 6], for SDXL alone: original height
    and width, crop top and left, target height and width (Podell et al. 2023, arXiv 2307.01952, section 2.2).
    guidance_embedding: [1, features], for a UNet that was distilled with guidance (`time_cond_proj_dim`).
    lengths: tokens of each row before its padding, for a network that takes rows of different lengths.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    time_ids: torch.Tensor | None = None
    guidance_embedding: torch.Tensor | None = None
    lengths: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return self.embeds.shape[0]

    @property
    def row_embeds(self) -> list[torch.Tensor]:
        """[tokens, features] of each row, without padding."""
        return [row[:length] for row, length in zip(self.embeds, self.lengths, strict=True)]

    @property
    def prompt_only(self) -> TextConditioning:
        """The last row: without the negative prompt."""
        return replace(
            self,
            embeds=self.embeds[-1:],
            pooled=None if self.pooled is None else self.pooled[-1:],
            time_ids=None if self.time_ids is None else self.time_ids[-1:],
            lengths=self.lengths[-1:],
        )
