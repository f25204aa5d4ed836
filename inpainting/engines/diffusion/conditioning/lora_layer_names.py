"""The layers of a loaded model by the names that LoRA files have for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from torch import Tensor
from torch.nn import Module

from inpainting.catalog.inspection.lora_layers import PEFT_PREFIX, split_name
from inpainting.engines.diffusion.conditioning.delta_weights import LAYER_TYPES
from inpainting.engines.diffusion.conditioning.flux_layer_names import original_name

UNDERSCORED = {
    "unet": ("lora_unet",),
    "transformer": ("lora_unet", "lora_transformer", "lycoris"),
    "text_encoder": ("lora_te", "lora_te1"),
    "text_encoder_2": ("lora_te2",),
}
"""What precedes the names of a component's layers in files of kohya-ss and LyCORIS, in which dots are underscores."""
DOTTED = {"transformer": "diffusion_model", "text_encoder": "text_encoders.clip_l.transformer"}
"""The same in files for ComfyUI."""
TEXT_MODEL = "text_model."
"""Precedes the names of a text encoder's layers in files that were made for transformers 4."""
EARLIER_NAMES = (".processor.", "_lora.", ".lora_linear_layer.")
"""Parts of the names that diffusers gave to tensors before it used PEFT."""
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


@dataclass(frozen=True, slots=True, eq=False)
class NamedLayer:
    """A layer of a pipeline's component. part: its place among the layers that share a name, which the original layout
    has as one."""

    component: str
    path: str
    layer: Module
    part: int = 0


def layers_by_name(components: Mapping[str, Any]) -> dict[str, list[NamedLayer]]:
    """Name in a file -> the layers whose outputs it gives, in their order. components: of a pipeline, by name."""
    found: dict[str, list[NamedLayer]] = {}
    for component_name, component in components.items():
        for path, layer in layers_of(component):
            for name, part in names_of(component_name, path, component):
                found.setdefault(name, []).append(NamedLayer(component_name, path, layer, part))
    return {name: sorted(layers, key=lambda one: one.part) for name, layers in found.items()}


def is_known(tensor: str, by_name: Mapping[str, Sequence[NamedLayer]]) -> bool:
    """Whether a tensor of a LoRA is for one of these layers."""
    split = split_name(tensor)
    return split is not None and split[0] in by_name


def current_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a LoRA by the names that diffusers has given them since it uses PEFT."""
    if not any(has_earlier_name(name) for name in tensors):
        return tensors
    of_text = {name: tensor for name, tensor in tensors.items() if name.startswith("text_encoder")}
    others = {name: tensor for name, tensor in tensors.items() if name not in of_text}
    if any(has_earlier_name(name) for name in of_text):
        of_text = convert_state_dict_to_peft(of_text)
    return convert_unet_state_dict_to_peft(others) | of_text


def has_earlier_name(tensor: str) -> bool:
    return any(part in tensor for part in EARLIER_NAMES)


def layers_of(component: Any) -> Iterator[tuple[str, Module]]:
    """The layers of a network that a LoRA may change, by their path."""
    for name, module in component.named_children():
        if isinstance(module, LAYER_TYPES):
            yield name, module
        else:
            yield from ((f"{name}.{path}", layer) for path, layer in layers_of(module))


def names_of(component_name: str, path: str, component: Any) -> Iterator[tuple[str, int]]:
    """All names of a layer with its part of that name's layer: those of diffusers, PEFT, kohya-ss, ComfyUI.

    A transformer's layers also have the names without a component, as in the files of Qwen-Image-Lightning.
    """
    is_text = component_name.startswith("text_encoder")
    paths = [(path, 0), (f"{TEXT_MODEL}{path}", 0)] if is_text else [(path, 0)]
    for one, part in paths:
        yield f"{component_name}.{one}", part
        yield f"{PEFT_PREFIX}{component_name}.{one}", part
    if not is_text:
        original = unet_name(path, component) if component_name == "unet" else original_name(path)
        paths += [] if original is None else [original]
        yield from ((f"{PEFT_PREFIX}{one}", part) for one, part in paths)
    if component_name == "transformer":
        yield path, 0
    for one, part in paths:
        if component_name in DOTTED:
            yield f"{DOTTED[component_name]}.{one}", part
        for prefix in UNDERSCORED.get(component_name, ()):
            yield f"{prefix}_{one.replace('.', '_')}", part


def unet_name(path: str, unet: Any) -> tuple[str, int] | None:
    """See `flux_layer_names.original_name`: for a UNet, whose layers are the same in the original layout."""
    name = original_path(path, unet)
    return None if name is None else (name, 0)


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
