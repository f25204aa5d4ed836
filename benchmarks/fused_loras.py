"""Operations and processor time of a UNet's step with LoRAs as hooks and fused, and of fusing them.

    python -m benchmarks.fused_loras

`launches`: a UNet with SDXL's layers and a few of its channels, where a step is as long as its operations take to
start, as on a fast GPU. `compute`: that of Stable Diffusion 1.5 with 128 x 128 pixels, on the CPU. Weights are random.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch.utils._python_dispatch import TorchDispatchMode

from inpainting.engines.diffusion.conditioning.delta_layers import DeltaLoras
from inpainting.engines.diffusion.conditioning.delta_weights import LayerDelta

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
"""Ends of the names of the layers that the LoRAs change: those of the attention blocks."""
RANK = 16
WEIGHT = 0.7
ROUNDS = 3
LAUNCHES: dict[str, Any] = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (16, 32, 64),
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [2, 4, 8],
    "cross_attention_dim": 32,
    "use_linear_projection": True,
    "norm_num_groups": 8,
}
COMPUTE: dict[str, Any] = {"cross_attention_dim": 768}
LATENT_SIDES = {"launches": 16, "compute": 16}


class Operations(TorchDispatchMode):  # type: ignore[misc]  # torch gives it no type
    """Counts the operations that are not views, within the context."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def count(work: Callable[[], Any]) -> int:
    with Operations() as operations:
        work()
    return operations.count


def milliseconds(work: Callable[[], Any]) -> float:
    """Processor time of this process, the shortest of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def factors(layer: torch.nn.Linear, kind: str) -> dict[str, torch.Tensor]:
    """The tensors of a LoRA, LoHa or DoRA for a layer."""
    pairs = {"lora": [("up", "down")], "loha": [("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b")]}
    found: dict[str, torch.Tensor] = {}
    for up, down in pairs.get(kind, pairs["lora"]):
        found[up], found[down] = torch.randn(layer.out_features, RANK) * 0.05, torch.randn(RANK, layer.in_features)
    return found | ({"dora_scale": torch.rand(layer.out_features, 1) + 0.5} if kind == "dora" else {})


def unet(arguments: dict[str, Any]) -> UNet2DConditionModel:
    with torch.device("meta"):
        network = UNet2DConditionModel(**arguments)
    network = network.to_empty(device="cpu").eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return network


def alternate(loras: DeltaLoras, weights: dict[str, float]) -> None:
    """What a batch with LoRAs and one without them take before their steps, when they take turns."""
    loras.activate(weights)
    loras.activate({})


def measure(name: str, arguments: dict[str, Any]) -> None:
    network, side = unet(arguments), LATENT_SIDES[name]
    layers = [layer for path, layer in network.named_modules() if path.endswith(LAYERS)]
    latents, text = torch.randn(2, 4, side, side), torch.randn(2, 77, network.config.cross_attention_dim)

    @torch.inference_mode()
    def step() -> None:
        network(latents, 5, text)

    def print_row(label: str, work: Callable[[], Any]) -> None:
        work()
        print(f"{name:10} {label:20} {count(work):7,} operations {milliseconds(work):10,.1f} ms", flush=True)

    print_row(f"step, {len(layers)} layers", step)
    loras = DeltaLoras()
    for kind in ("lora", "loha", "dora"):
        weights = {kind: WEIGHT}
        loras.load(kind, [(layer, LayerDelta.of(factors(layer, kind), layer)) for layer in layers])
        loras.activate(weights)
        print_row(f"{kind}, hooks", step)
        print_row(f"{kind}, fusing", partial(loras.fuse, weights, network))
        print_row(f"{kind}, activation", partial(alternate, loras, weights))
        loras.activate(weights)
        print_row(f"{kind}, fused", step)
        loras.unfuse()


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for part, configuration in {"launches": LAUNCHES, "compute": COMPUTE}.items():
        measure(part, configuration)
