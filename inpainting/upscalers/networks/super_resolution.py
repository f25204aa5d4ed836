"""What transformers for super-resolution compute alike: the layers around their blocks, and attention within windows.

The networks of SwinIR, HAT and DAT are made of it. Features are [1, height, width, channels] in the blocks and
[1, channels, height, width] around them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inpainting.families.super_resolution import COLOURS, Reconstruction, Upsampler
from inpainting.upscalers.networks.torch_networks import check_stop, in_strips, leaky

MEAN = 0.4488, 0.4371, 0.4040
"""The mean colour of the photos of DIV2K, which these networks subtract from their input."""
MASKED = -100.0
"""Added to the scores of pairs of pixels that are no neighbours in the image."""
MAX_SCORES = 2**23
"""Of attention, computed at once: 32 MB in float32."""


class SuperResolution(nn.Module, ABC):  # type: ignore[misc]  # torch declares no type
    """The layers before and after the blocks, which `features` computes with."""

    def __init__(self, sizes: Reconstruction) -> None:
        super().__init__()
        self.sizes = sizes
        features, upsampled = sizes.features, sizes.upsampled_features
        self.conv_first = convolution(COLOURS, features)
        self.norm = nn.LayerNorm(features)
        self.conv_after_body = end_of_blocks(sizes)
        if sizes.upsampler is Upsampler.DIRECT:
            self.upsample = shuffles(features, COLOURS, sizes.steps)
            return
        self.conv_before_upsample = nn.Sequential(convolution(features, upsampled), nn.LeakyReLU())
        if sizes.upsampler is Upsampler.NEAREST:
            for number in range(1, len(sizes.steps) + 1):
                setattr(self, f"conv_up{number}", convolution(upsampled, upsampled))
            self.conv_hr = convolution(upsampled, upsampled)
        else:
            self.upsample = shuffles(upsampled, upsampled, sizes.steps)
        self.conv_last = convolution(upsampled, COLOURS)

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return what the blocks make of the features [1, channels, h, w], in the same shape."""

    def forward(self, image: Tensor) -> Tensor:  # [1, 3, h, w] -> [1, 3, scale * h, scale * w]
        mean = image.new_tensor(MEAN).view(1, COLOURS, 1, 1)
        x = self.conv_first(image - mean)
        x = self.conv_after_body(self.features(x)).add_(x)
        return in_strips(self.enlarge, x, self.sizes.scale).add_(mean)

    def enlarge(self, x: Tensor) -> Tensor:
        if self.sizes.upsampler is Upsampler.DIRECT:
            output: Tensor = self.upsample(x)
            return output
        x = self.conv_before_upsample(x)
        if self.sizes.upsampler is Upsampler.PIXELSHUFFLE:
            output = self.conv_last(self.upsample(x))
            return output
        for number in range(1, len(self.sizes.steps) + 1):
            x = leaky(getattr(self, f"conv_up{number}")(nn.functional.interpolate(x, scale_factor=2, mode="nearest")))
        output = self.conv_last(leaky(self.conv_hr(x)))
        return output


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def shuffles(inputs: int, outputs: int, steps: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in steps:
        layers += [convolution(inputs, step**2 * outputs), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


def end_of_blocks(sizes: Reconstruction) -> nn.Module:
    """Return the convolutions after blocks."""
    features, inner = sizes.features, sizes.features // 4
    if sizes.convolutions == 1:
        return convolution(features, features)
    return nn.Sequential(
        convolution(features, inner),
        nn.LeakyReLU(0.2),
        nn.Conv2d(inner, inner, 1),
        nn.LeakyReLU(0.2),
        convolution(inner, features),
    )


def on_channels(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return what a layer of [1, channels, h, w] makes of [1, h, w, channels], in the same order."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class MLP(nn.Module):  # type: ignore[misc]  # torch declares no type
    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(features, hidden), nn.Linear(hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return output


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """How an image of features is cut into windows, which may be shifted cyclically."""

    height: int
    width: int
    """Pixels along a window; the sides of the image are multiples of them."""
    rows: int
    columns: int
    """Pixels along the image."""
    mask: Tensor | None = None
    """[windows, pixels, pixels], of shifted windows: `MASKED` for pixels from opposite borders of the image."""

    @classmethod
    def shifted(cls, height: int, width: int, x: Tensor) -> Windows:
        """Return windows that are shifted by half their sides over the image [1, rows, columns, channels]."""
        rows, columns = x.shape[1:3]
        down, across = (
            (places >= length - window).int() + (places >= length - window // 2).int()
            for window, length, places in (
                (height, rows, torch.arange(rows, device=x.device)),
                (width, columns, torch.arange(columns, device=x.device)),
            )
        )
        regions = (3 * down[:, None] + across).view(1, rows, columns, 1)
        regions = cls(height, width, rows, columns).cut(regions)
        mask = (regions != regions.transpose(1, 2)).to(x.dtype).mul_(MASKED)
        return cls(height, width, rows, columns, mask)

    def cut(self, x: Tensor) -> Tensor:  # [1, rows, columns, channels] -> [windows, pixels, channels]
        parts = x.reshape(self.rows // self.height, self.height, self.columns // self.width, self.width, x.shape[3])
        return parts.permute(0, 2, 1, 3, 4).reshape(-1, self.height * self.width, x.shape[3])

    def join(self, windows: Tensor) -> Tensor:  # [windows, pixels, channels] -> [1, rows, columns, channels]
        down, across = self.rows // self.height, self.columns // self.width
        parts = windows.reshape(down, across, self.height, self.width, windows.shape[2])
        return parts.permute(0, 2, 1, 3, 4).reshape(1, self.rows, self.columns, windows.shape[2])

    def roll(self, x: Tensor, *, back: bool = False) -> Tensor:
        """Return the image shifted as its windows are, or back."""
        if self.mask is None:
            return x
        sign = 1 if back else -1
        return x.roll((sign * (self.height // 2), sign * (self.width // 2)), (1, 2))

    def positions(self, device: torch.device) -> Tensor:
        """Return the row of each pair of pixels in a table of biases of relative positions [pixels, pixels]."""
        down, across = (
            side[:, None] - side + length - 1
            for length, side in (
                (self.height, torch.arange(self.height, device=device).repeat_interleave(self.width)),
                (self.width, torch.arange(self.width, device=device).repeat(self.height)),
            )
        )
        return down * (2 * self.width - 1) + across


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the attention of windows of pixels, some windows at a time.

    query: [windows, pixels, channels]. key, value: the same, or with more pixels. bias: [heads, pixels, pixels of key],
    added to the scores. mask: [windows, pixels, pixels of key], also.
    """
    output = torch.empty_like(query)
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    count = max(1, MAX_SCORES // bias.numel())
    for start in range(0, len(query), count):
        check_stop()
        part = slice(start, start + count)
        scores = bias if mask is None else bias + mask[part].unsqueeze(1)
        attended = nn.functional.scaled_dot_product_attention(query[part], key[part], value[part], attn_mask=scores)
        output[part] = attended.transpose(1, 2).flatten(2)
    return output


class WindowAttention(nn.Module):  # type: ignore[misc]  # torch declares no type
    """Attention of the pixels of a square window, with a bias for each relative position."""

    def __init__(self, features: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.qkv, self.proj = nn.Linear(features, 3 * features), nn.Linear(features, features)

    def forward(self, x: Tensor, windows: Windows) -> Tensor:  # [1, rows, columns, features], the same
        bias = self.relative_position_bias_table[windows.positions(x.device)].permute(2, 0, 1)
        query, key, value = self.qkv(windows.cut(windows.roll(x))).chunk(3, dim=2)
        output = self.proj(attend(query, key, value, self.heads, bias, windows.mask))
        return windows.roll(windows.join(output), back=True)


class Group(nn.Module):  # type: ignore[misc]  # torch declares no type
    """Blocks that attend within windows, every second one within shifted ones, and convolutions."""

    def __init__(self, sizes: Reconstruction, blocks: Iterable[nn.Module], **last: nn.Module) -> None:
        """last: by its name, what computes after the blocks."""
        super().__init__()
        self.last = tuple(last)
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(blocks), **last})
        self.conv = end_of_blocks(sizes)

    def forward(self, x: Tensor, plain: Windows, shifted: Windows) -> Tensor:  # [1, h, w, channels], the same
        inner = x
        for number, block in enumerate(self.residual_group["blocks"]):
            inner = block(inner, shifted if number % 2 else plain)
        for name in self.last:
            inner = self.residual_group[name](inner, plain)
        return on_channels(self.conv, inner).add_(x)


class WindowNetwork(SuperResolution):
    """Groups of blocks within the layers before and after them."""

    def __init__(self, sizes: Reconstruction, window: int, groups: Iterable[Group]) -> None:
        super().__init__(sizes)
        self.window = window
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(sizes.features)})
        self.layers = nn.ModuleList(groups)

    def features(self, x: Tensor) -> Tensor:
        x = self.patch_embed["norm"](x.permute(0, 2, 3, 1))
        plain = Windows(self.window, self.window, *x.shape[1:3])
        shifted = Windows.shifted(self.window, self.window, x)
        for layer in self.layers:
            x = layer(x, plain, shifted)
        output: Tensor = self.norm(x).permute(0, 3, 1, 2)
        return output
