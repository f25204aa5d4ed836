"""Vectors in the place of words: `<slug>` in the prompt of whoever asked for that embedding, and in nobody else's.

Nothing is put into a tokenizer or an encoder to stay: for a prompt with an embedding the vectors take the places of
tokens while that prompt is read. So none is ever loaded for others, and none has to be put away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_file

from inpainting.catalog.inspection.embedding_files import check_embedding, names_in
from inpainting.catalog.inspection.model_files import ModelRefused, header_of
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed

EmbeddingVectors = Mapping[str, torch.Tensor]
"""By slug: [vectors, features], for one text encoder."""


def load_embedding_vectors(
    specs: Sequence[ModelSpec], encoders: Sequence[Any], label: str
) -> tuple[EmbeddingVectors, ...]:
    """For each encoder of the model called `label`, what the embeddings give it.

    Raises EngineFailed: `part_unavailable` where a file is gone, `part_refused` by the check, `part_unfit` where it was
    made for encoders of another width.
    """
    found: tuple[dict[str, torch.Tensor], ...] = tuple({} for _ in encoders)
    for spec in specs:
        for vectors, tensor, encoder in zip(found, tensors_of(spec), encoders, strict=True):
            width = encoder.get_input_embeddings().weight.shape[-1]
            if tensor.shape[-1] != width:
                raise EngineFailed(
                    f"The embedding {spec.slug} has vectors of {tensor.shape[-1]} features; {label} reads {width}.",
                    code="part_unfit",
                )
            vectors[spec.slug] = tensor.reshape(-1, width)
    return found


def tensors_of(spec: ModelSpec) -> list[torch.Tensor]:
    """Those of its file, in the order of the encoders that they are for."""
    if spec.path is None or not spec.path.is_file():
        raise EngineFailed(f"The embedding {spec.slug} is not installed any more.", code="part_unavailable")
    try:
        check_embedding(spec.path, spec.family)
    except ModelRefused as error:
        raise EngineFailed(f"The embedding {spec.slug} is refused: {error.message}", code="part_refused") from error
    tensors = load_file(spec.path)
    return [tensors[name] for name in names_in(header_of(spec.path), spec.family)]


def placeholder_of(slug: str) -> str:
    """What stands in a prompt in its place."""
    return f"<{slug}>"


def pieces(text: str, slugs: Sequence[str]) -> list[tuple[str, str | None]]:
    """The text in its order, as (words, None) and as (mark, slug)."""
    if not slugs:
        return [(text, None)]
    marks = {placeholder_of(slug): slug for slug in slugs}
    found = re.split(f"({'|'.join(map(re.escape, marks))})", text, flags=re.IGNORECASE)
    return [(piece, marks.get(piece.lower())) for piece in found]


@contextmanager
def placed(encoder: Any, places: Mapping[tuple[int, int], torch.Tensor]) -> Iterator[None]:
    """While it lasts, the encoder reads these vectors at those places: (row, column) of the ids it is given."""
    if not places:
        yield
        return

    def put(module: torch.nn.Module, ids: Any, said: torch.Tensor) -> torch.Tensor:
        said = said.clone()
        for (row, column), vector in places.items():
            said[row, column] = vector.to(said)
        return said

    hook = encoder.get_input_embeddings().register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()
