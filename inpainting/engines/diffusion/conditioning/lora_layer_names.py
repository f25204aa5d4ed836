"""The layers of a loaded model by the names that LoRA files have for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch.nn import Module

from inpainting.catalog.inspection.lora_layers import PEFT_PREFIX
from inpainting.engines.diffusion.conditioning.delta_weights import LAYER_TYPES

KOHYA_PREFIXES = {"unet": ("lora_unet",), "text_encoder": ("lora_te", "lora_te1"), "text_encoder_2": ("lora_te2",)}
TEXT_MODEL = "text_model."
"""Precedes the names of a text encoder's layers in files that were made for transformers 4."""
ORIGINAL_NAMES = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Layers of a UNet in diffusers' names and in those of the original layout, which kohya-ss trains SDXL in."""
ORIGINAL_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""Layers of a block of residuals, likewise."""


def layers_by_name(components: Mapping[str, Any]) -> dict[str, tuple[str, Module]]:
    """Name -> (the component's name, the layer). components: of a pipeline, by name."""
    found: dict[str, tuple[str, Module]] = {}
    for component_name, component in components.items():
        for path, layer in layers_of(component):
            for name in names_of(component_name, path, component):
                found.setdefault(name, (component_name, layer))
    return found


def layers_of(component: Any) -> Iterator[tuple[str, Module]]:
    """The layers of a network that a LoRA may change, by their path; those that PEFT wraps instead of its wrappers."""
    wrappers: list[str] = []
    for path, module in component.named_modules():
        if any(path.startswith(wrapper) for wrapper in wrappers):
            continue
        if isinstance(module, BaseTunerLayer):
            wrappers.append(f"{path}.")
            module = module.get_base_layer()
        if isinstance(module, LAYER_TYPES):
            yield path, module


def names_of(component_name: str, path: str, component: Any) -> Iterator[str]:
    """All names of a layer: in diffusers' files, PEFT's, and those of kohya-ss, in which dots are underscores."""
    paths = [path] if component_name == "unet" else [path, f"{TEXT_MODEL}{path}"]
    for one in paths:
        yield f"{component_name}.{one}"
        yield f"{PEFT_PREFIX}{component_name}.{one}"
        yield f"{PEFT_PREFIX}{one}"
    if component_name == "unet":
        original = original_path(path, component)
        paths += [original] if original else []
    for prefix in KOHYA_PREFIXES.get(component_name, ()):
        for one in paths:
            yield f"{prefix}_{one.replace('.', '_')}"


def original_path(path: str, unet: Any) -> str | None:
    """The path of a UNet's layer in the original layout; None if it has none there."""
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
