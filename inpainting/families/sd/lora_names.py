"""The layers of a UNet by the names of the original layout, in which kohya-ss trains SDXL."""

from __future__ import annotations

import re
from typing import Any

ORIGINAL_NAMES = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Layer in diffusers -> the name in the original layout."""
ORIGINAL_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""Layer of a block of residuals in diffusers -> the name in the original layout."""


def original_name(path: str, unet: Any) -> tuple[str, int] | None:
    """Return (name in the original, 0) for a layer's path in diffusers; None if it has none.

    A UNet's layers are the same in both layouts, so each is the only part of its layer's outputs.
    """
    name = original_path(path, unet)
    return None if name is None else (name, 0)


def original_path(path: str, unet: Any) -> str | None:
    """Return the path of a UNet's layer in the original layout; None if it has none there."""
    if path in ORIGINAL_NAMES:
        return ORIGINAL_NAMES[path]
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", path):
        kind, number, rest = found.groups()
        return f"middle_block.{2 * int(number) + (kind == 'attentions')}.{original_part(rest)}"
    layers = unet.config.layers_per_block
    found = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", path)
    if found is None or not isinstance(layers, int):
        return None
    way, block, kind, number, rest = found.groups()
    first = int(block) * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op"
    if kind == "upsamplers":
        has_attention = hasattr(unet.up_blocks[int(block)], "attentions")
        return f"output_blocks.{first + layers}.{2 if has_attention else 1}.{rest}"
    start = f"input_blocks.{first + int(number) + 1}" if way == "down" else f"output_blocks.{first + int(number)}"
    return f"{start}.{1 if kind == 'attentions' else 0}.{original_part(rest)}"


def original_part(path: str) -> str:
    head, _, rest = path.partition(".")
    return ".".join(part for part in (ORIGINAL_PARTS.get(head, head), rest) if part)
