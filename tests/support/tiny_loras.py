"""LoRAs of a few KB with random weights, for the models of `tiny_models`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
ATTENTION_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
LAYERS = {
    **dict.fromkeys(("unet", "transformer"), ATTENTION_LAYERS),
    **dict.fromkeys(TEXT_ENCODERS, TEXT_LAYERS),
}
KOHYA = {"unet": "lora_unet", "transformer": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}


def weights(
    pipeline: Any,
    *,
    seed: int = 0,
    rank: int = 4,
    kohya: bool = False,
    parts: Sequence[str] = tuple(LAYERS),
    more_layers: tuple[str, ...] = (),
) -> dict[str, torch.Tensor]:
    """Tensors for the linear layers of a pipeline, named as in diffusers or as in kohya-ss, which also has alphas.

    more_layers: how the names of layers beside those of attention end.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, torch.Tensor] = {}
    is_double = getattr(pipeline, "text_encoder_2", None) is not None
    for part in parts:
        network = getattr(pipeline, part, None)
        if network is None:
            continue
        for name, layer in network.named_modules():
            if not name.endswith((*LAYERS[part], *more_layers)):
                continue
            down = torch.randn(rank, layer.in_features, generator=generator) * 0.15
            up = torch.randn(layer.out_features, rank, generator=generator) * 0.15
            if part in TEXT_ENCODERS and not name.startswith("text_model."):
                name = f"text_model.{name}"  # as files have it that were made for transformers 4
            if kohya:
                prefix = "lora_te1" if part == "text_encoder" and is_double else KOHYA[part]
                stem = f"{prefix}_{name.replace('.', '_')}"
                found |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
                found[f"{stem}.alpha"] = torch.tensor(float(rank) / 2)
            else:
                found |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    return found


def saved(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def saved_by_peft(path: Path, tensors: dict[str, torch.Tensor], **values: Any) -> Path:
    """Save a UNet's tensors with a configuration of PEFT: rank 4, alpha 32, and other values."""
    layers = sorted({name.removeprefix("unet.").partition(".lora_")[0] for name in tensors})
    configuration: dict[str, Any] = {"unet.r": 4, "unet.lora_alpha": 32, "unet.target_modules": layers}
    configuration |= {f"unet.{name}": value for name, value in values.items()}
    save_file(tensors, path, metadata={"format": "pt", "lora_adapter_metadata": json.dumps(configuration)})
    return path
