"""Embeddings of a few bytes with random vectors, for the models of `tiny_models`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inpainting import families
from inpainting.catalog.specs import Kind, ModelSpec
from tests.support.tiny_models import FEATURES


def allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare the families with the text feature sizes of the tiny models."""
    for family in families.registered_families():
        if family.embedding is not None:
            widths = tuple(frozenset({FEATURES}) for _ in family.embedding.widths)
            declared = replace(family, embedding=replace(family.embedding, widths=widths))
            monkeypatch.setitem(families.registry, family.name, declared)


def saved(
    path: Path, family: str = "sd", *, seed: int = 0, vectors: int = 1, name: str = "emb_params", **more: int
) -> ModelSpec:
    """name: of the tensor, if there is only one. more: widths that differ from the models', such as `width=768`."""
    generator = torch.Generator().manual_seed(seed)
    names = ("clip_l", "clip_g") if family == "sdxl" else (name,)
    width = more.get("width", FEATURES)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.randn(vectors, width, generator=generator) for name in names}, path)
    return ModelSpec(slug=path.stem, label=path.stem, family=family, kind=Kind.EMBEDDING, path=path)
