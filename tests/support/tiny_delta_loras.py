"""LoRAs of other kinds than plain ones, made by PEFT or from random numbers, for the models of `tiny_models`."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
LAYERS = [*ATTENTION, "conv1", "conv2", "proj_in", "proj_out"]
# PEFT applies alpha to layers of a LoKr of two whole matrices too; LyCORIS and diffusers do not.
CONFIGURATIONS: dict[str, Any] = {
    "loha": lambda: LoHaConfig(r=4, alpha=2, target_modules=LAYERS, init_weights=False),
    "loha-tucker": lambda: LoHaConfig(
        r=4, alpha=2, target_modules=LAYERS, init_weights=False, use_effective_conv2d=True
    ),
    "lokr": lambda: LoKrConfig(r=2, alpha=2, target_modules=LAYERS, init_weights=False),
    "lokr-factored": lambda: LoKrConfig(
        r=1, alpha=3, target_modules=LAYERS, init_weights=False, decompose_both=True, decompose_factor=4
    ),
    "lokr-tucker": lambda: LoKrConfig(
        r=2, alpha=2, target_modules=LAYERS, init_weights=False, use_effective_conv2d=True
    ),
    "dora": lambda: LoraConfig(r=4, lora_alpha=2, target_modules=LAYERS, init_lora_weights=False, use_dora=True),
}
PEFT_ENDINGS = {
    "lora_A.default.weight": "lora_down.weight",
    "lora_B.default.weight": "lora_up.weight",
    "lora_magnitude_vector.default.weight": "dora_scale",
}
"""PEFT's names of tensors in a wrapped layer and those of LyCORIS. Others have `.default` at their ends."""


MAGNITUDE = "lora_magnitude_vector"


def injected(unet: Any, kind: str, *, seed: int = 0, weight: float = 1.0) -> Any:
    """PEFT's layers of that kind put into a UNet, with random weights; the UNet is changed."""
    torch.manual_seed(seed)
    inject_adapter_in_model(CONFIGURATIONS[kind](), unet)
    for layer in tuner_layers(unet).values():
        for name, tensor in layer.named_parameters():
            if ".default" in name:
                torch.nn.init.normal_(tensor, std=0.3) if "magnitude" not in name else tensor.data.mul_(1.3)
        layer.scaling["default"] *= weight
    return unet.eval()


def tuner_layers(unet: Any) -> dict[str, Any]:
    return {name: layer for name, layer in unet.named_modules() if isinstance(layer, BaseTunerLayer)}


def tensors(unet: Any, name_of: Any = "lora_unet_{}".format, *, dots: bool = False) -> dict[str, torch.Tensor]:
    """The weights of injected layers in the names of LyCORIS. name_of: a layer's path -> its name in the file; the path
    has underscores unless `dots`."""
    found: dict[str, torch.Tensor] = {}
    for path, layer in tuner_layers(unet).items():
        stem = name_of(path if dots else path.replace(".", "_"))
        rank = layer.r["default"]
        found[f"{stem}.alpha"] = torch.tensor(layer.scaling["default"] * rank)
        for name, tensor in layer.named_parameters():
            if ".default" not in name or "base_layer" in name:
                continue
            tensor = tensor.detach().clone()
            ending = PEFT_ENDINGS.get(name, name.removesuffix(".default"))
            if ending == "dora_scale":
                tensor = tensor.reshape(-1, *[1] * (layer.get_base_layer().weight.ndim - 1))
            found[f"{stem}.{ending}"] = tensor
    return found


def named_by_peft(unet: Any) -> dict[str, torch.Tensor]:
    """The weights of injected layers of a DoRA in the names of PEFT."""
    endings = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "dora_scale": MAGNITUDE}
    found = {}
    for name, tensor in tensors(unet, "unet.{}".format, dots=True).items():
        ending = next((one for one in endings if name.endswith(one)), "")
        found[name.removesuffix(ending) + endings.get(ending, "")] = tensor
    return found


def changed_weights(pipeline: Any, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Full differences, in the names of kohya-ss: linear layers, convolutions, norms and their biases."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, torch.Tensor] = {}
    for prefix, network in (("lora_unet", pipeline.unet), ("lora_te", pipeline.text_encoder)):
        for path, layer in network.named_modules():
            if not isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)):
                continue
            is_norm = isinstance(layer, (torch.nn.GroupNorm, torch.nn.LayerNorm))
            stem = f"{prefix}_{path.replace('.', '_')}"
            weight = torch.randn(layer.weight.shape, generator=generator) * 0.05
            found[f"{stem}.{'w_norm' if is_norm else 'diff'}"] = weight
            if layer.bias is not None:
                bias = torch.randn(layer.bias.shape, generator=generator) * 0.05
                found[f"{stem}.{'b_norm' if is_norm else 'diff_b'}"] = bias
    return found
