"""Embeddings of a few bytes with random vectors, for the models of `tiny_models`."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from inpainting.catalog.inspection.embedding_files import DOUBLE
from inpainting.catalog.specs import Family, Kind, ModelSpec
from tests.tiny_models import FEATURES

WIDTHS = {Family.SD: (frozenset({FEATURES}),), Family.SDXL: (frozenset({FEATURES}), frozenset({FEATURES}))}
"""What the check would ask for if models were as small as those of the tests."""


def saved(
    path: Path, family: Family = Family.SD, *, seed: int = 0, vectors: int = 1, name: str = "emb_params", **more: int
) -> ModelSpec:
    """name: of the one tensor, where it has but one. more: other widths than the models', `width=768`."""
    generator = torch.Generator().manual_seed(seed)
    names = DOUBLE if family is Family.SDXL else (name,)
    width = more.get("width", FEATURES)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({one: torch.randn(vectors, width, generator=generator) for one in names}, path)
    return ModelSpec(slug=path.stem, label=path.stem, family=family, kind=Kind.EMBEDDING, path=path)
