"""DAT (github.com/zhengchen1999/DAT): groups of blocks that attend within windows and to channels in turn.

A channel attends to others over the whole input, so a tile is computed with other weights than the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inpainting.families.dat import ATTENTION, BRANCHES, DATSizes
from inpainting.families.super_resolution import weight_names
from inpainting.upscalers.networks.super_resolution import (
    SuperResolution,
    Windows,
    attend,
    end_of_blocks,
    on_channels,
)
from inpainting.upscalers.networks.torch_networks import TorchFamily, check_stop

PLACES = ".rpe_biases"
"""Ends the names of the differences between two places of a window, in files."""


def depthwise(features: int) -> nn.Conv2d:
    return nn.Conv2d(features, features, 3, padding=1, groups=features)


class RelativePositions(nn.Module):  # type: ignore[misc]  # torch declares no type
    """A network that computes the biases of relative positions from the differences between two places."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.pos_proj = nn.Linear(2, features)
        for number, outputs in enumerate((features, features, heads), start=1):
            layers = nn.LayerNorm(features), nn.ReLU(), nn.Linear(features, outputs)
            setattr(self, f"pos{number}", nn.Sequential(*layers))

    def forward(self, windows: Windows) -> Tensor:  # [heads, pixels, pixels]
        device = self.pos_proj.weight.device
        places = torch.cartesian_prod(
            *(torch.arange(1 - side, side, device=device) for side in (windows.height, windows.width))
        )
        biases = self.pos3(self.pos2(self.pos1(self.pos_proj(places.to(self.pos_proj.weight.dtype)))))
        found: Tensor = biases[windows.positions(device)].permute(2, 0, 1)
        return found


class Attention(nn.Module):  # type: ignore[misc]  # torch declares no type
    """What blocks of both kinds have: convolutions beside the attention, and weights of both (AIM)."""

    def __init__(self, sizes: DATSizes) -> None:
        super().__init__()
        features, (channels, pixels) = sizes.reconstruction.features, sizes.squeezed
        self.qkv, self.proj = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.dwconv = nn.Sequential(depthwise(features), nn.BatchNorm2d(features), nn.GELU())
        self.channel_interaction = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(features, channels, 1),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, features, 1),
        )
        self.spatial_interaction = nn.Sequential(
            nn.Conv2d(features, pixels, 1), nn.BatchNorm2d(pixels), nn.GELU(), nn.Conv2d(pixels, 1, 1)
        )

    def joined(self, for_channels: Tensor, for_pixels: Tensor) -> Tensor:
        """Return the weighted sum of [1, h, w, channels] each, projected.

        The first tells the weights of the channels of the second, which tells the weights of the pixels of the first.
        Both are overwritten.
        """
        of_channels = on_channels(self.channel_interaction, for_channels).sigmoid()
        of_pixels = on_channels(self.spatial_interaction, for_pixels).sigmoid()
        output: Tensor = self.proj(for_pixels.mul_(of_channels).add_(for_channels.mul_(of_pixels)))
        return output


class SpatialAttention(Attention):
    """Half of the channels attend within lying windows, the other half within standing ones."""

    def __init__(self, sizes: DATSizes, heads: int) -> None:
        super().__init__(sizes)
        self.heads = heads // BRANCHES
        branches = (nn.ModuleDict({"pos": RelativePositions(sizes.positions, self.heads)}) for _ in range(BRANCHES))
        self.attns = nn.ModuleList(branches)

    def forward(self, x: Tensor, windows: tuple[Windows, ...]) -> Tensor:  # [1, h, w, channels], the same
        qkv = self.qkv(x)
        convolved = on_channels(self.dwconv, qkv.chunk(3, dim=3)[2])
        attended = self.attended(qkv, windows)
        del qkv
        return self.joined(convolved, attended)

    def attended(self, qkv: Tensor, windows: tuple[Windows, ...]) -> Tensor:
        """Return what the pixels [1, h, w, 3 * channels] take from those of their windows."""
        height, width = qkv.shape[1:3]
        qkv = nn.functional.pad(qkv, (0, 0, 0, windows[0].columns - width, 0, windows[0].rows - height))
        halves = [part.chunk(BRANCHES, dim=3) for part in qkv.chunk(3, dim=3)]
        joined = [
            self.attend_within(cut, query, key, value, attention["pos"](cut))
            for cut, attention, query, key, value in zip(windows, self.attns, *halves, strict=True)
        ]
        return torch.cat(joined, dim=3)[:, :height, :width]

    def attend_within(self, windows: Windows, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (windows.cut(windows.roll(part)) for part in (query, key, value))
        return windows.roll(windows.join(attend(query, key, value, self.heads, bias, windows.mask)), back=True)


class ChannelAttention(Attention):
    """The channels of a head attend to each other, over all pixels."""

    def __init__(self, sizes: DATSizes, heads: int) -> None:
        super().__init__(sizes)
        self.temperature = nn.Parameter(torch.empty(heads, 1, 1))

    def forward(self, x: Tensor, windows: tuple[Windows, ...]) -> Tensor:  # [1, h, w, channels], the same
        query, key, value = self.qkv(x).chunk(3, dim=3)
        convolved = on_channels(self.dwconv, value)
        attended = self.attended(query, key, value)
        del query, key, value
        return self.joined(attended, convolved)

    def attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what the channels of [1, h, w, channels] take from each other."""
        heads, shape = len(self.temperature), value.shape
        query, key, value = (
            part.reshape(-1, heads, shape[3] // heads).permute(1, 2, 0) for part in (query, key, value)
        )
        query, key = nn.functional.normalize(query, dim=2), nn.functional.normalize(key, dim=2)
        scores = (query @ key.transpose(1, 2)).mul_(self.temperature)
        return (scores.softmax(dim=2) @ value).permute(2, 0, 1).reshape(shape)


class FeedForward(nn.Module):  # type: ignore[misc]  # torch declares no type
    """A spatial-gate feed-forward network (SGFN): half of the features times the convolved other half."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        half = hidden // 2
        self.fc1, self.fc2 = nn.Linear(features, hidden), nn.Linear(half, features)
        self.sg = nn.ModuleDict({"norm": nn.LayerNorm(half), "conv": depthwise(half)})

    def forward(self, x: Tensor) -> Tensor:
        x, gate = nn.functional.gelu(self.fc1(x)).chunk(2, dim=3)
        output: Tensor = self.fc2(x * on_channels(self.sg["conv"], self.sg["norm"](gate)))
        return output


class DatBlock(nn.Module):  # type: ignore[misc]  # torch declares no type
    """A dual aggregation Transformer block (DATB)."""

    def __init__(self, sizes: DATSizes, heads: int, number: int) -> None:
        super().__init__()
        features = sizes.reconstruction.features
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attn = (ChannelAttention if number % 2 else SpatialAttention)(sizes, heads)
        self.ffn = FeedForward(features, sizes.hidden)

    def forward(self, x: Tensor, windows: tuple[Windows, ...]) -> Tensor:
        check_stop()
        x = self.attn(self.norm1(x), windows).add_(x)
        return self.ffn(self.norm2(x)).add_(x)


class DATNetwork(SuperResolution):
    def __init__(self, sizes: DATSizes) -> None:
        super().__init__(sizes.reconstruction)
        self.window = sizes.window
        """Height and width of the windows of the first half of the channels, see `load_state_dict`."""
        self.before_RG = nn.ModuleDict({"1": nn.LayerNorm(sizes.reconstruction.features)})
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "blocks": nn.ModuleList(DatBlock(sizes, heads, number) for number in range(blocks)),
                    "conv": end_of_blocks(sizes.reconstruction),
                }
            )
            for blocks, heads in zip(sizes.blocks, sizes.heads, strict=True)
        )

    def load_state_dict(self, state_dict: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
        """Take weights, and which side of the windows is the longer one, which the last of their places tells.

        Raises ValueError for windows of other sides.
        """
        last = state_dict[f"{ATTENTION}.attns.0{PLACES}"][-1].tolist()
        lying, standing = self.window, self.window[::-1]
        matching = [window for window in (lying, standing) if last == [side - 1 for side in window]]
        if not matching:
            raise ValueError(f"the last place of its windows is {last}")
        self.window = matching[0]
        weights = {name: tensor for name, tensor in state_dict.items() if not name.endswith(PLACES)}
        return super().load_state_dict(weights, *arguments, **options)

    def features(self, x: Tensor) -> Tensor:
        x = self.before_RG["1"](x.permute(0, 2, 3, 1))
        side = max(self.window)
        rows, columns = (-(-length // side) * side for length in x.shape[1:3])
        sides = self.window, self.window[::-1]
        plain = tuple(Windows(*window, rows, columns) for window in sides)
        shifted = tuple(Windows.shifted(*window, x.new_empty(1, rows, columns, 0)) for window in sides)
        for group, layer in enumerate(self.layers):
            inner = x
            for number, block in enumerate(layer["blocks"]):
                inner = block(inner, shifted if (number // 2 + group) % 2 else plain)
            x = on_channels(layer["conv"], inner).add_(x)
        output: Tensor = self.norm(x).permute(0, 3, 1, 2)
        return output


DAT = TorchFamily(DATNetwork, weight_names)
