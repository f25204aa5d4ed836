"""SwinIR (github.com/JingyunLiang/SwinIR): groups of blocks that attend within windows, every second one shifted."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from inpainting.catalog.specs import ModelSpec
from inpainting.families.swinir import SwinIRSizes, weight_names
from inpainting.upscalers.networks.network_upscaler import tiling_of
from inpainting.upscalers.networks.super_resolution import (
    MLP,
    SuperResolution,
    WindowAttention,
    Windows,
    end_of_blocks,
    on_channels,
)
from inpainting.upscalers.networks.torch_networks import TorchNetwork, check_stop, load_network


class Block(nn.Module):  # type: ignore[misc]  # torch declares no type
    """A block of the Swin Transformer."""

    def __init__(self, features: int, window: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attn = WindowAttention(features, window, heads)
        self.mlp = MLP(features, hidden)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        check_stop()
        x = self.attn(self.norm1(x), windows).add_(x)
        return self.mlp(self.norm2(x)).add_(x)


class Group(nn.Module):  # type: ignore[misc]  # torch declares no type
    """A residual Swin Transformer block (RSTB)."""

    def __init__(self, sizes: SwinIRSizes, group: int) -> None:
        super().__init__()
        features, heads = sizes.reconstruction.features, sizes.heads[group]
        blocks = (Block(features, sizes.window, heads, sizes.hidden) for _ in range(sizes.blocks[group]))
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(blocks)})
        self.conv = end_of_blocks(sizes.reconstruction)

    def forward(self, x: Tensor, plain: Windows, shifted: Windows) -> Tensor:
        inner = x
        for number, block in enumerate(self.residual_group["blocks"]):
            inner = block(inner, shifted if number % 2 else plain)
        return on_channels(self.conv, inner).add_(x)


class SwinIRNetwork(SuperResolution):
    def __init__(self, sizes: SwinIRSizes) -> None:
        super().__init__(sizes.reconstruction)
        self.window = sizes.window
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(sizes.reconstruction.features)})
        self.layers = nn.ModuleList(Group(sizes, group) for group in range(len(sizes.blocks)))

    def features(self, x: Tensor) -> Tensor:
        x = self.patch_embed["norm"](x.permute(0, 2, 3, 1))
        plain = Windows(self.window, self.window, *x.shape[1:3])
        shifted = Windows.shifted(self.window, self.window, x)
        for layer in self.layers:
            x = layer(x, plain, shifted)
        output: Tensor = self.norm(x).permute(0, 3, 1, 2)
        return output


class SwinIR:
    def load(self, spec: ModelSpec, path: Path) -> TorchNetwork:
        """Return the network. Raises EngineFailed: `model_refused`, `model_unavailable`."""
        return load_network(
            spec,
            path,
            SwinIRNetwork,
            rename=weight_names,
            tiling=lambda sizes: tiling_of(sizes.scale, multiple=sizes.window, padding="reflect"),
        )


SWINIR = SwinIR()
