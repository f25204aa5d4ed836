"""RRDBNet, the network of ESRGAN and Real-ESRGAN (github.com/xinntao/Real-ESRGAN, BasicSR's rrdbnet_arch.py)."""

from __future__ import annotations

from torch import Tensor, nn

from inpainting.families.rrdbnet import COLOURS, RRDBNetSizes, own_names
from inpainting.upscalers.networks.torch_networks import TorchFamily, check_stop, in_strips, leaky

RESIDUAL = 0.2
"""The share of each block that is added to its input."""


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class DenseBlock(nn.Module):  # type: ignore[misc]  # torch declares no type
    """Five convolutions, each of which sees the input and the outputs of those before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.features, self.growth = features, growth
        for layer in range(1, 6):
            inputs = features + (layer - 1) * growth
            setattr(self, f"conv{layer}", convolution(inputs, growth if layer < 5 else features))

    def forward(self, x: Tensor) -> Tensor:  # [1, features, h, w]
        # One tensor holds all that the last layer sees, where joining it for each would copy the most of it again.
        seen = x.new_empty(x.shape[0], self.features + 4 * self.growth, *x.shape[2:])
        seen[:, : self.features] = x
        for layer in range(1, 5):
            end = self.features + (layer - 1) * self.growth
            seen[:, end : end + self.growth] = leaky(getattr(self, f"conv{layer}")(seen[:, :end]))
        return self.conv5(seen).mul_(RESIDUAL).add_(x)


class ResidualBlock(nn.Module):  # type: ignore[misc]  # torch declares no type
    """A residual in residual dense block (RRDB): three dense blocks."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(features, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        check_stop()
        inner: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return inner.mul_(RESIDUAL).add_(x)


class RRDBNetwork(nn.Module):  # type: ignore[misc]  # torch declares no type
    def __init__(self, sizes: RRDBNetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        features = sizes.features
        self.conv_first = convolution(COLOURS * sizes.unshuffle**2, features)
        self.body = nn.Sequential(*(ResidualBlock(features, sizes.growth) for _ in range(sizes.blocks)))
        self.conv_body = convolution(features, features)
        for number in range(1, sizes.doublings + 1):
            setattr(self, f"conv_up{number}", convolution(features, features))
        self.conv_hr = convolution(features, features)
        self.conv_last = convolution(features, COLOURS)

    def forward(self, image: Tensor) -> Tensor:  # [1, 3, h, w] -> [1, 3, scale * h, scale * w]
        x = image if self.sizes.unshuffle == 1 else nn.functional.pixel_unshuffle(image, self.sizes.unshuffle)
        x = self.conv_first(x)
        x = self.conv_body(self.body(x)).add_(x)
        return in_strips(self.enlarge, x, 2**self.sizes.doublings)

    def enlarge(self, x: Tensor) -> Tensor:
        for number in range(1, self.sizes.doublings + 1):
            x = leaky(getattr(self, f"conv_up{number}")(nn.functional.interpolate(x, scale_factor=2, mode="nearest")))
        output: Tensor = self.conv_last(leaky(self.conv_hr(x)))
        return output


RRDBNET = TorchFamily(RRDBNetwork, own_names)
