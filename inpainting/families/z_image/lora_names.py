"""The layers of Z-Image's transformer by the names of its publisher's code, and LoRAs of a model with the same names.

There the projections of an attention layer are one (github.com/Tongyi-MAI/Z-Image, as ComfyUI loads it too).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inpainting.catalog.inspection.lora_layers import Shape, input_width

ATTENTION = {
    **{f"attention.to_{name}": ("attention.qkv", number) for number, name in enumerate(("q", "k", "v"))},
    "attention.to_out.0": ("attention.out", 0),
}
"""Layer of a block in diffusers -> the name in the original and which part of that layer's outputs it gives."""
OUTSIDE = re.compile(r"all_(x_embedder|final_layer)\.\d+-\d+(?P<rest>\..+|)")
"""Layers that diffusers has once for each size of a patch."""
LUMINA_WIDTH = 2304
"""Of the layers of Lumina-Image 2.0, whose architecture Z-Image continues; Z-Image has 3840."""


def original_name(path: str, transformer: Any) -> tuple[str, int] | None:
    """Return (name in the original, part of its outputs) for a layer's path in diffusers; None if it has none."""
    if found := OUTSIDE.fullmatch(path):
        return f"{found[1]}{found['rest']}", 0
    found = re.fullmatch(r"((?:layers|noise_refiner|context_refiner)\.\d+)\.(.+)", path)
    if found is None or found[2] not in ATTENTION:
        return None
    name, part = ATTENTION[found[2]]
    return f"{found[1]}.{name}", part


def other_model(layers: Mapping[str, Mapping[str, Shape]], base_models: str) -> str:
    """Return the name of the other model that a LoRA is for, as `LoraSupport.other_model` describes."""
    attention = (shapes for path, shapes in layers.items() if re.search(r"attention[._](qkv|to_q)\Z", path))
    return "Lumina-Image 2.0" if any(input_width(shapes) == LUMINA_WIDTH for shapes in attention) else ""
