"""Weights of the transformers of FLUX.1 and FLUX.2 with the names of Black Forest Labs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

NORMS = {
    **{f"attn.norm_{ours}": f"img_attn.norm.{theirs}_norm" for ours, theirs in (("q", "query"), ("k", "key"))},
    **{f"attn.norm_added_{ours}": f"txt_attn.norm.{theirs}_norm" for ours, theirs in (("q", "query"), ("k", "key"))},
}


def published_tensors(
    tensors: Mapping[str, torch.Tensor], original_name: Callable[[str, Any], tuple[str, int] | None]
) -> dict[str, torch.Tensor]:
    """Return a transformer's weights with their published names. original_name: of the family's LoRAs."""
    parts: dict[str, dict[int, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, end = name.rpartition(".")
        found = re.fullmatch(r"(single_)?transformer_blocks\.(\d+)\.(attn\.norm_\w+)", layer)
        if layer == "norm_out.linear":
            scale, shift = tensor.chunk(2)
            parts[f"final_layer.adaLN_modulation.1.{end}"] = {0: torch.cat([shift, scale])}
        elif found is not None:
            norm = NORMS[found[3]] if not found[1] else NORMS[found[3]].removeprefix("img_attn.")
            parts[f"{found[1] or 'double_'}blocks.{found[2]}.{norm}.scale"] = {0: tensor}
        else:
            original = original_name(layer, None)
            assert original is not None, name
            parts.setdefault(f"{original[0]}.{end}", {})[original[1]] = tensor
    return {name: torch.cat([of[number] for number in sorted(of)]).contiguous() for name, of in parts.items()}
