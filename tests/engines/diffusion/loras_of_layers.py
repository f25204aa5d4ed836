"""LoRAs of layers that one network has as one and another as several, and the same changes merged into the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from inpainting.catalog.specs import LoraSpec
from inpainting.core.request import InpaintRequest, LoraUse
from inpainting.engines.diffusion.conditioning.lora_adapters import active_loras
from tests.engines.diffusion.pipelines import denoised

RANK, ALPHA, FACTOR = 4, 2.0, 4
Layers = Mapping[str, Sequence[str]]
"""Name in the file -> the paths of the layers that give its outputs in turn."""


def sizes(model: Any, paths: Sequence[str]) -> tuple[int, int]:
    """Outputs and inputs of layers that are one in the file."""
    layers = [model.transformer.get_submodule(path) for path in paths]
    return sum(layer.out_features for layer in layers), layers[0].in_features


def factors(model: Any, layers: Layers, kind: str) -> dict[str, dict[str, torch.Tensor]]:
    """Name -> random factors of a plain LoRA or a LoKr of two whole matrices, the same each time."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, paths in layers.items():
        outputs, inputs = sizes(model, paths)
        if kind == "plain":
            shapes = {"lora_down.weight": (RANK, inputs), "lora_up.weight": (outputs, RANK)}
        else:
            rows, columns = (FACTOR if side % FACTOR == 0 else 1 for side in (outputs, inputs))
            shapes = {"lokr_w1": (rows, columns), "lokr_w2": (outputs // rows, inputs // columns)}
        found[name] = {part: torch.randn(shape, generator=generator) * 0.15 for part, shape in shapes.items()}
    return found


def named(found: Mapping[str, Mapping[str, torch.Tensor]], prefix: str, *, is_kohya: bool) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, parts in found.items():
        stem = prefix + (name.replace(".", "_") if is_kohya else name)
        tensors |= {f"{stem}.{part}": tensor.clone() for part, tensor in parts.items()}
        tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return tensors


def plain(model: Any, layers: Layers, prefix: str, *, is_kohya: bool) -> dict[str, torch.Tensor]:
    return named(factors(model, layers, "plain"), prefix, is_kohya=is_kohya)


def lokr(model: Any, layers: Layers, prefix: str, *, is_kohya: bool) -> dict[str, torch.Tensor]:
    return named(factors(model, layers, "lokr"), prefix, is_kohya=is_kohya)


def painted(
    model: Any, path: Path, family: str, request: InpaintRequest, weight: float
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The final latents with a LoRA, and the notes about it. The model is left as it was."""
    spec = LoraSpec(slug=path.stem, label=path.stem, family=family, digest=str(path), path=path)
    active = active_loras([LoraUse(path.stem, weight)], [spec])
    for lora in model.loras.missing(active):
        model.loras.load(lora)
    model.loras.activate(active)
    result, notes = denoised(model, request), model.loras.notes(active)
    model.loras.activate(())
    return result, notes


def merged(model: Any, layers: Layers, kind: str, request: InpaintRequest, weight: float) -> torch.Tensor:
    """The final latents with the products of the factors added to the weights. The model is left as it was."""
    before: dict[Any, torch.Tensor] = {}
    for name, parts in factors(model, layers, kind).items():
        if kind == "plain":
            change = parts["lora_up.weight"] @ parts["lora_down.weight"] * ALPHA / RANK
        else:
            change = torch.kron(parts["lokr_w1"], parts["lokr_w2"])
        found = [model.transformer.get_submodule(path) for path in layers[name]]
        for layer, share in zip(found, change.split([layer.out_features for layer in found]), strict=True):
            before[layer] = layer.weight.data
            layer.weight.data = layer.weight.data + weight * share
    result = denoised(model, request)
    for layer, own in before.items():
        layer.weight.data = own
    return result
