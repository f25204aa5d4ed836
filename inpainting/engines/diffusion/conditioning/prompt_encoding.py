"""Prompts of any length and with weights: split into chunks that a text encoder takes, and encoded.

A chunk holds as many tokens as the encoder takes at once (75 for CLIP); the embeddings of a prompt's chunks are
concatenated. A weight scales the difference between a token's embedding and that of the empty prompt. compel (Damian
Stewart) does the same for weights from 1; for weights below 1 compel also blends in the prompt without those words,
whereas here the same line continues down to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from inpainting.engines.diffusion.conditioning.prompt_weights import Span
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors, split_at_placeholders

MAX_CHUNKS = 8
"""Chunks read of one prompt: 600 tokens with CLIP."""
END_OF_WORD = "</w>"
"""Suffix of CLIP's tokens that end a word."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptEmbedding:
    """One encoded prompt. embeds: [1, tokens, features]. pooled: [1, width], of width 0 where the encoder has none."""

    embeds: torch.Tensor
    pooled: torch.Tensor


VectorPositions = Mapping[tuple[int, int], torch.Tensor]
"""(chunk, position in it) -> the vector, [features], that replaces the token's embedding there."""
RunEncoder = Callable[[torch.Tensor, VectorPositions], tuple[torch.Tensor, torch.Tensor]]
"""Token ids [chunks, length] -> embeddings of the tokens, [chunks, length, features], and pooled, [chunks, width]."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """ends_word: a chunk may end after it. vector: [features], of a textual inversion; `id` then means nothing."""

    id: int
    weight: float
    ends_word: bool
    vector: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class PromptChunks:
    """A prompt as one tokenizer splits it, without start and end tokens. ignored: the words after MAX_CHUNKS.

    embeddings: slugs of the textual inversions that the prompt names.
    """

    tokens: list[list[Token]]
    ignored: str = ""
    embeddings: frozenset[str] = frozenset()

    @property
    def words(self) -> tuple[tuple[tuple[int, float], ...], ...] | None:
        """(id, weight) of each token of each chunk, which decide the encoding; None with textual inversions."""
        if self.embeddings:
            return None
        return tuple(tuple((token.id, token.weight) for token in chunk) for chunk in self.tokens)


def split_into_chunks(spans: Sequence[Span], tokenizer: Any, vectors: EmbeddingVectors) -> PromptChunks:
    """Tokenize a prompt and split it into at least one chunk, after the end of a word where there is one."""
    room = tokenizer.model_max_length - 2
    pieces = [(*piece, span.weight) for span in spans for piece in split_at_placeholders(span.text, list(vectors))]
    rest = [
        token
        for text, slug, weight in pieces
        for token in (word_tokens(text, weight, tokenizer) if slug is None else embedding_tokens(vectors[slug], weight))
    ]
    used = frozenset(slug for _, slug, _ in pieces if slug is not None)
    chunks: list[list[Token]] = []
    while len(chunks) < MAX_CHUNKS and (rest or not chunks):
        length = len(rest)
        if length > room:
            length = next((n for n in range(room, 0, -1) if rest[n - 1].ends_word), room)
        chunks.append(rest[:length])
        rest = rest[length:]
    ignored = tokenizer.decode([token.id for token in rest if token.vector is None]) if rest else ""
    return PromptChunks(chunks, str(ignored).strip(), used)


def word_tokens(text: str, weight: float, tokenizer: Any) -> list[Token]:
    ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
    names = tokenizer.convert_ids_to_tokens(ids)
    return [Token(id_, weight, name.endswith(END_OF_WORD)) for id_, name in zip(ids, names, strict=True)]


def embedding_tokens(vectors: torch.Tensor, weight: float) -> list[Token]:
    """A textual inversion as one word of as many tokens as it has vectors, [vectors, features]."""
    last = len(vectors) - 1
    return [Token(0, weight, number == last, vector) for number, vector in enumerate(vectors)]


def encode_chunks(chunks: PromptChunks, count: int, tokenizer: Any, run_encoder: RunEncoder) -> PromptEmbedding:
    """Encode a prompt and fill it up with empty chunks to `count`. The pooled embedding is the first chunk's.

    Without weights the first chunk is bit for bit what diffusers' pipelines compute.
    """
    rows = [padded_ids(chunk, tokenizer) for chunk in chunks.tokens]
    is_weighted = any(token.weight != 1 for chunk in chunks.tokens for token in chunk)
    if is_weighted or len(rows) < count:
        rows.append(padded_ids([], tokenizer))
    positions = {
        (number, position): token.vector
        for number, chunk in enumerate(chunks.tokens)
        for position, token in enumerate(chunk, start=1)
        if token.vector is not None
    }
    encoded, pooled = run_encoder(torch.tensor(rows), positions)
    embeds, empty = encoded[: len(chunks.tokens)], encoded[-1:]
    if is_weighted:
        weights = torch.ones(embeds.shape[:2], dtype=torch.float32)
        for number, chunk in enumerate(chunks.tokens):
            weights[number, 1 : len(chunk) + 1] = torch.tensor([token.weight for token in chunk])
        weights = weights[:, :, None].to(embeds.device)
        moved = empty.float() + (embeds.float() - empty.float()) * weights
        embeds = torch.where(weights == 1, embeds, moved.to(embeds.dtype))
    filling = empty.expand(count - len(chunks.tokens), -1, -1)
    return PromptEmbedding(torch.cat([embeds, filling]).flatten(0, 1)[None], pooled[:1])


def padded_ids(chunk: Sequence[Token], tokenizer: Any) -> list[int]:
    """Token ids with start and end tokens, padded to the encoder's length."""
    ids = [tokenizer.bos_token_id, *(token.id for token in chunk), tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))
