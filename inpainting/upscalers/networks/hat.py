"""HAT (github.com/XPixelGroup/HAT): groups of blocks that attend within windows and weigh channels.

The weight of a channel is of its mean over the whole input, so a tile is computed with other weights than the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inpainting.families.hat import HATSizes
from inpainting.families.super_resolution import weight_names
from inpainting.upscalers.networks.super_resolution import (
    MLP,
    Group,
    WindowAttention,
    WindowNetwork,
    Windows,
    attend,
    convolution,
    on_channels,
)
from inpainting.upscalers.networks.torch_networks import TorchFamily, check_stop

CONVOLVED = 0.01
"""The share of a block's convolutions in what is added to its input, of all published networks."""


class ChannelGate(nn.Module):  # type: ignore[misc]  # torch declares no type
    """Each channel times a weight, which is computed from the means of all."""

    def __init__(self, features: int, squeezed: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(features, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, features, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:  # [1, features, h, w], the same
        return x * self.attention(x)


class HatBlock(nn.Module):  # type: ignore[misc]  # torch declares no type
    """A hybrid attention block (HAB)."""

    def __init__(self, sizes: HATSizes, heads: int) -> None:
        super().__init__()
        features = sizes.reconstruction.features
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attn = WindowAttention(features, sizes.window, heads)
        layers = (
            convolution(features, sizes.compressed),
            nn.GELU(),
            convolution(sizes.compressed, features),
            ChannelGate(features, sizes.squeezed),
        )
        self.conv_block = nn.ModuleDict({"cab": nn.Sequential(*layers)})
        self.mlp = MLP(features, sizes.hidden)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        check_stop()
        inner = self.norm1(x)
        x = self.attn(inner, windows).add_(x).add_(on_channels(self.conv_block["cab"], inner), alpha=CONVOLVED)
        return self.mlp(self.norm2(x)).add_(x)


class OverlappingAttention(nn.Module):  # type: ignore[misc]  # torch declares no type
    """An overlapping cross-attention block (OCAB): windows attend to larger ones around them."""

    def __init__(self, sizes: HATSizes, heads: int) -> None:
        super().__init__()
        features = sizes.reconstruction.features
        self.window, self.seen, self.heads = sizes.window, sizes.seen, heads
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.relative_position_bias_table = nn.Parameter(torch.empty((sizes.window + sizes.seen - 1) ** 2, heads))
        self.qkv, self.proj = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.mlp = MLP(features, sizes.hidden)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:
        check_stop()
        query, key, value = self.qkv(self.norm1(x)).chunk(3, dim=3)
        bias = self.relative_position_bias_table[self.positions(x.device)].permute(2, 0, 1)
        output = attend(windows.cut(query), self.around(key), self.around(value), self.heads, bias)
        x = windows.join(self.proj(output)).add_(x)
        return self.mlp(self.norm2(x)).add_(x)

    def around(self, x: Tensor) -> Tensor:  # [1, rows, columns, features] -> [windows, pixels of larger ones, features]
        """Return the larger windows, with zeros beyond the borders of the image."""
        seen, padding = self.seen, (self.seen - self.window) // 2
        parts = nn.functional.unfold(x.permute(0, 3, 1, 2), seen, padding=padding, stride=self.window)
        return parts.view(x.shape[3], seen**2, -1).permute(2, 1, 0)

    def positions(self, device: torch.device) -> Tensor:
        """Return the row of each pair of pixels in the table [pixels of a window, pixels of a larger one].

        The published code counts both from 2 - seen, where rows below 0 are those at the end of the table.
        """
        side = self.window + self.seen - 1
        places = torch.arange(self.seen, device=device) - torch.arange(self.window, device=device)[:, None]
        places += self.window - self.seen + 1
        rows = side * places[:, None, :, None] + places[None, :, None, :]
        return rows.reshape(self.window**2, self.seen**2).remainder(side**2)


def network(sizes: HATSizes) -> WindowNetwork:
    groups = (
        Group(
            sizes.reconstruction,
            (HatBlock(sizes, heads) for _ in range(blocks)),
            overlap_attn=OverlappingAttention(sizes, heads),
        )
        for blocks, heads in zip(sizes.blocks, sizes.heads, strict=True)
    )
    return WindowNetwork(sizes.reconstruction, sizes.window, groups)


HAT = TorchFamily(network, weight_names)
