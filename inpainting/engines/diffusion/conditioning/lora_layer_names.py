"""The layers of a loaded model by the names that LoRA files have for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from torch import Tensor
from torch.nn import Module

from inpainting.catalog.inspection.lora_layers import PEFT_PREFIX, split_name
from inpainting.engines.diffusion.conditioning.delta_weights import LAYER_TYPES
from inpainting.families.declaration import OriginalName

UNDERSCORED = {
    "unet": ("lora_unet",),
    "transformer": ("lora_unet", "lora_transformer", "lycoris"),
    "text_encoder": ("lora_te", "lora_te1"),
    "text_encoder_2": ("lora_te2",),
}
"""What precedes the names of a component's layers in files of kohya-ss and LyCORIS, in which dots are underscores."""
DOTTED = {
    "transformer": "diffusion_model",
    "text_encoder": "text_encoders.clip_l.transformer",
    "text_encoder_2": "text_encoders.clip_g.transformer",
}
"""The same in files for ComfyUI."""
TEXT_MODEL = "text_model."
"""Precedes the names of a text encoder's layers in files that were made for transformers 4."""
EARLIER_NAMES = (".processor.", "_lora.", ".lora_linear_layer.")
"""Parts of the names that diffusers gave to tensors before it used PEFT."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedLayer:
    """A layer of a pipeline's component. part: its place among the layers that share a name, which the original layout
    has as one."""

    component: str
    path: str
    layer: Module
    part: int = 0


def layers_by_name(components: Mapping[str, Any], original_name: OriginalName | None) -> dict[str, list[NamedLayer]]:
    """Return the layers whose outputs a name in a file gives, in their order, by that name.

    components: of a pipeline, by name. original_name: see `LoraSupport.original_name`.
    """
    found: dict[str, list[NamedLayer]] = {}
    for component_name, component in components.items():
        for path, layer in layers_of(component):
            for name, part in names_of(component_name, path, component, original_name):
                found.setdefault(name, []).append(NamedLayer(component_name, path, layer, part))
    return {name: sorted(layers, key=lambda layer: layer.part) for name, layers in found.items()}


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


def names_of(
    component_name: str, path: str, component: Any, original_name: OriginalName | None
) -> Iterator[tuple[str, int]]:
    """Yield all names of a layer with its part of that name's layer: those of diffusers, PEFT, kohya-ss, ComfyUI.

    A transformer's layers also have the names without a component, as distilled LoRAs are published.
    """
    is_text = component_name.startswith("text_encoder")
    paths = [(path, 0), (f"{TEXT_MODEL}{path}", 0)] if is_text else [(path, 0)]
    for layer_path, part in paths:
        yield f"{component_name}.{layer_path}", part
        yield f"{PEFT_PREFIX}{component_name}.{layer_path}", part
    if not is_text:
        original = None if original_name is None else original_name(path, component)
        paths += [] if original is None else [original]
        yield from ((f"{PEFT_PREFIX}{layer_path}", part) for layer_path, part in paths)
    for layer_path, part in paths:
        if component_name == "transformer":
            yield layer_path, part
        if component_name in DOTTED:
            yield f"{DOTTED[component_name]}.{layer_path}", part
        for prefix in UNDERSCORED.get(component_name, ()):
            yield f"{prefix}_{layer_path.replace('.', '_')}", part
