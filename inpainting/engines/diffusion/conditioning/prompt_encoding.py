"""Words -> what a text encoder makes of them: weighted, and of any length, in as many chunks as it takes.

A chunk is what the encoder reads at once, chunks stand one behind another in what the UNet hears, and a weight moves a
token away from, or towards, what the encoder says to no words at all. So it is in compel (Damian Stewart) with weights
from 1; below, compel also blends in the prompt without those words, and here the same straight line goes on to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from inpainting.engines.diffusion.conditioning.prompt_weights import Span
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors, pieces

MAX_CHUNKS = 8
"""PromptChunks that are read of a prompt: 600 tokens where one is 75."""
END_OF_WORD = "</w>"


@dataclass(frozen=True, slots=True, eq=False)
class PromptEmbedding:
    """What the UNet hears of a prompt. embeds: [1, tokens, features]. pooled: [1, width], of width 0 where none is."""

    embeds: torch.Tensor
    pooled: torch.Tensor


Places = Mapping[tuple[int, int], torch.Tensor]
"""By chunk and place in it: the vector, [features], that is read there."""
Listen = Callable[[torch.Tensor, Places], tuple[torch.Tensor, torch.Tensor]]
"""Ids [chunks, room] -> what an encoder says to each token, [chunks, room, features], and to all, [chunks, width]."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """ends_word: whether a chunk may end behind it. vector: [features], where an embedding stands, whose id is none."""

    id: int
    weight: float
    ends_word: bool
    vector: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class PromptChunks:
    """A prompt as a tokenizer cuts it, without the marks at the chunks' ends. unread: the words beyond MAX_CHUNKS.

    embeddings: slugs of those that stand in it.
    """

    tokens: list[list[Token]]
    unread: str = ""
    embeddings: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        return len(self.tokens)


def cut(spans: Sequence[Span], tokenizer: Any, vectors: EmbeddingVectors) -> PromptChunks:
    """As many chunks as it takes, at least one; cut behind a word where there is one."""
    room = tokenizer.model_max_length - 2
    parts = [(*piece, span.weight) for span in spans for piece in pieces(span.text, list(vectors))]
    rest = [
        token
        for text, slug, weight in parts
        for token in (words(text, weight, tokenizer) if slug is None else embedding(vectors[slug], weight))
    ]
    used = frozenset(slug for _, slug, _ in parts if slug is not None)
    chunks: list[list[Token]] = []
    while len(chunks) < MAX_CHUNKS and (rest or not chunks):
        length = len(rest)
        if length > room:
            length = next((n for n in range(room, 0, -1) if rest[n - 1].ends_word), room)
        chunks.append(rest[:length])
        rest = rest[length:]
    unread = tokenizer.decode([token.id for token in rest if token.vector is None]) if rest else ""
    return PromptChunks(chunks, str(unread).strip(), used)


def words(text: str, weight: float, tokenizer: Any) -> list[Token]:
    ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
    names = tokenizer.convert_ids_to_tokens(ids)
    return [Token(id_, weight, name.endswith(END_OF_WORD)) for id_, name in zip(ids, names, strict=True)]


def embedding(vectors: torch.Tensor, weight: float) -> list[Token]:
    """A word of as many tokens as it has vectors."""
    last = len(vectors) - 1
    return [Token(0, weight, number == last, vector) for number, vector in enumerate(vectors)]


def hear(chunks: PromptChunks, count: int, tokenizer: Any, listen: Listen) -> PromptEmbedding:
    """What an encoder says to the chunks, and to the first of them as a whole.

    count: how many the UNet is to hear; those that lack are empty. Without weights the first is, to the last bit, what
    diffusers' pipelines make of it.
    """
    rows = [ids_of(chunk, tokenizer) for chunk in chunks.tokens]
    is_weighted = any(token.weight != 1 for chunk in chunks.tokens for token in chunk)
    if is_weighted or len(rows) < count:
        rows.append(ids_of([], tokenizer))
    places = {
        (number, place): token.vector
        for number, chunk in enumerate(chunks.tokens)
        for place, token in enumerate(chunk, start=1)
        if token.vector is not None
    }
    said, pooled = listen(torch.tensor(rows), places)
    heard, empty = said[: chunks.count], said[-1:]
    if is_weighted:
        weights = torch.ones(heard.shape[:2], dtype=torch.float32)
        for number, chunk in enumerate(chunks.tokens):
            weights[number, 1 : len(chunk) + 1] = torch.tensor([token.weight for token in chunk])
        weights = weights[:, :, None].to(heard.device)
        moved = empty.float() + (heard.float() - empty.float()) * weights
        heard = torch.where(weights == 1, heard, moved.to(heard.dtype))
    lacking = empty.expand(count - chunks.count, -1, -1)
    return PromptEmbedding(torch.cat([heard, lacking]).flatten(0, 1)[None], pooled[:1])


def ids_of(chunk: Sequence[Token], tokenizer: Any) -> list[int]:
    """Between its marks, filled up to what the encoder reads at once."""
    ids = [tokenizer.bos_token_id, *(token.id for token in chunk), tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))
