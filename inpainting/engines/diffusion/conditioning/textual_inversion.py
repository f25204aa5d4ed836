"""Textual inversion: vectors that an embedding puts in the place of `<slug>` in a prompt.

R. Gal et al., "An Image is Worth One Word" (2022, arXiv 2208.01618). Nothing is added to the tokenizer or to the text
encoder: while a prompt is encoded, a forward hook replaces the token embeddings at the placeholders. So an embedding
affects only the requests that name it, and never has to be unloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file

from inpainting.catalog.inspection.embedding_files import check_embedding, tensor_names
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.networks.unreadable_files import READ_ERRORS, unreadable

EmbeddingVectors = Mapping[str, torch.Tensor]
"""Slug -> [vectors, features], for one text encoder."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The content of an embedding's file. tensors: one for each text encoder of its family, [vectors, features]."""

    slug: str
    tensors: tuple[torch.Tensor, ...]


def read_embedding(spec: ModelSpec) -> Embedding:
    """Read an embedding.

    Raises EngineFailed: `adapter_unavailable` without its file or a readable one, `adapter_refused` by its check.
    """
    if spec.path is None or not spec.path.is_file():
        raise EngineFailed(
            sentence("The embedding {slug} is not installed any more.", slug=spec.slug), code="adapter_unavailable"
        )
    try:
        check_embedding(spec.path, spec.family)
    except ModelRefused as error:
        raise EngineFailed(
            sentence("The embedding {slug} is refused: {message}", slug=spec.slug, message=error.message),
            code="adapter_refused",
        ) from error
    try:
        tensors = load_file(spec.path)
    except READ_ERRORS as error:
        raise unreadable(
            sentence("The embedding {slug}", slug=spec.slug), spec.path, error, "adapter_unavailable"
        ) from error
    return Embedding(spec.slug, tuple(tensors[name] for name in tensor_names(read_header(spec.path), spec.family)))


def embedding_vectors(
    embeddings: Sequence[Embedding], encoders: Sequence[Any], label: str
) -> tuple[EmbeddingVectors, ...]:
    """The vectors of embeddings for each text encoder of the model called `label`.

    Raises EngineFailed, `adapter_unfit`, for vectors of another width than the encoder's.
    """
    found: tuple[dict[str, torch.Tensor], ...] = tuple({} for _ in encoders)
    for embedding in embeddings:
        for vectors, tensor, encoder in zip(found, embedding.tensors, encoders, strict=True):
            width = encoder.get_input_embeddings().weight.shape[-1]
            if tensor.shape[-1] != width:
                raise EngineFailed(
                    sentence(
                        "The embedding {slug} has vectors of {features} features; {label} reads {width}.",
                        slug=embedding.slug,
                        features=tensor.shape[-1],
                        label=label,
                        width=width,
                    ),
                    code="adapter_unfit",
                )
            vectors[embedding.slug] = tensor.reshape(-1, width)
    return found


def placeholder(slug: str) -> str:
    """The text that refers to an embedding in a prompt."""
    return f"<{slug}>"


def split_at_placeholders(text: str, slugs: Sequence[str]) -> list[tuple[str, str | None]]:
    """Split a text, in its order, into (words, None) and (placeholder, slug)."""
    if not slugs:
        return [(text, None)]
    placeholders = {placeholder(slug): slug for slug in slugs}
    pieces = re.split(f"({'|'.join(map(re.escape, placeholders))})", text, flags=re.IGNORECASE)
    return [(piece, placeholders.get(piece.lower())) for piece in pieces]


@contextmanager
def replace_embeddings(encoder: Any, positions: Mapping[tuple[int, int], torch.Tensor]) -> Iterator[None]:
    """Let a text encoder read these vectors at (row, column) of its token ids while the context lasts."""
    if not positions:
        yield
        return

    def replace(module: torch.nn.Module, ids: Any, embeddings: torch.Tensor) -> torch.Tensor:
        embeddings = embeddings.clone()
        for (row, column), vector in positions.items():
            embeddings[row, column] = vector.to(embeddings)
        return embeddings

    hook = encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
