"""Embeddings (textual inversion, Gal et al. 2022, arXiv 2208.01618), checked before anything loads them.

An embedding is a few vectors in the place of a word's own: in the file's only tensor, as diffusers and A1111
(`emb_params`) write it, or in one tensor for each text encoder (`clip_l` and `clip_g`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.files import WEIGHTS, ModelRefused, check_names, quote
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.lora_files import TYPES, LoraRefused, check_finite, unknown_type
from inpainting.core.sentences import any_of, every, sentence

MAX_EMBEDDING_BYTES = 16 * 2**20
MAX_VECTORS = 75
"""Tokens that a CLIP text encoder reads at once."""


def check_embedding(path: Path, family: str) -> None:
    """Check one small `.safetensors` file of finite vectors for that family. Raises ModelRefused."""
    check_names([path.name])
    if path.suffix.lower() != WEIGHTS or not path.is_file():
        raise ModelRefused(
            sentence("{file} is no {suffix} file; an embedding is one such file.", file=path.name, suffix=WEIGHTS)
        )
    if path.stat().st_size > MAX_EMBEDDING_BYTES:
        raise ModelRefused(
            sentence(
                "{file} is larger than {most} MB; no embedding is.", file=path.name, most=MAX_EMBEDDING_BYTES // 2**20
            )
        )
    header = read_header(path)
    matching = detect_families(header, path.name)
    support = families.get(family).embedding
    if family not in matching or support is None:
        raise ModelRefused(
            sentence(
                "{file} is an embedding for models of the family {other}, not {family}.",
                file=path.name,
                other=matching[0],
                family=family,
            )
        )
    names = tensor_names(header, family)
    counts = {check_shape(header[name], name, path.name) for name in names}
    if len(counts) > 1:
        raise ModelRefused(
            sentence(
                "{file} is damaged: its two tensors hold {counts} vectors.",
                file=path.name,
                counts=every(map(str, counts)),
            )
        )
    for name, widths in zip(names, support.widths, strict=True):
        width = header[name]["shape"][-1]
        if width not in widths:
            known = any_of(map(str, sorted(widths)))
            raise ModelRefused(
                sentence(
                    "{file} holds vectors of {width} features in {name}, not of {known}.",
                    file=path.name,
                    width=width,
                    name=quote(name),
                    known=known,
                )
            )
    try:
        check_finite(path)
    except LoraRefused as error:
        raise ModelRefused(error.message) from error


def detect_families(header: Mapping[str, Any], file: str) -> list[str]:
    """Return the families that have embeddings with these tensors. Raises ModelRefused where there is none."""
    supports = {known.name: known.embedding for known in families.registered_families() if known.embedding is not None}
    matching = [
        name
        for name, support in supports.items()
        if (set(header) == set(support.tensors) if support.tensors else len(header) == 1)
    ]
    if not matching:
        known = any_of(every(support.tensors) for support in supports.values() if support.tensors)
        raise ModelRefused(
            sentence(
                "{file} is no embedding: it holds {count} tensors, and not {known}.",
                file=file,
                count=len(header),
                known=known,
            )
        )
    return matching


def tensor_names(header: Mapping[str, Any], family: str) -> tuple[str, ...]:
    """Return the tensors of an embedding for that family, in the order of its text encoders."""
    support = families.get(family).embedding
    return tuple(support.tensors if support is not None and support.tensors else header)


def check_shape(tensor: Mapping[str, Any], name: str, file: str) -> int:
    """Return the number of vectors in a tensor. Raises ModelRefused for another type or shape."""
    shape = tensor["shape"]
    if tensor["dtype"] not in TYPES:
        raise ModelRefused(unknown_type(tensor, name, file))
    if len(shape) not in (1, 2):
        raise ModelRefused(
            sentence(
                "{file} is no embedding: {name} has {count} dimensions.", file=file, name=quote(name), count=len(shape)
            )
        )
    count = int(shape[0]) if len(shape) == 2 else 1
    if not 1 <= count <= MAX_VECTORS:
        raise ModelRefused(
            sentence(
                "{file} holds {count} vectors; from 1 to {most} are allowed.", file=file, count=count, most=MAX_VECTORS
            )
        )
    return count
