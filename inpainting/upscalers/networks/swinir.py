"""SwinIR (github.com/JingyunLiang/SwinIR): groups of blocks that attend within windows, every second one shifted."""

from __future__ import annotations

from torch import Tensor, nn

from inpainting.families.super_resolution import weight_names
from inpainting.families.swinir import SwinIRSizes
from inpainting.upscalers.networks.super_resolution import MLP, Group, WindowAttention, WindowNetwork, Windows
from inpainting.upscalers.networks.torch_networks import TorchFamily, check_stop


class SwinBlock(nn.Module):  # type: ignore[misc]  # torch declares no type
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


def network(sizes: SwinIRSizes) -> WindowNetwork:
    features = sizes.reconstruction.features
    groups = (
        Group(sizes.reconstruction, (SwinBlock(features, sizes.window, heads, sizes.hidden) for _ in range(blocks)))
        for blocks, heads in zip(sizes.blocks, sizes.heads, strict=True)
    )
    return WindowNetwork(sizes.reconstruction, sizes.window, groups)


SWINIR = TorchFamily(network, weight_names)
