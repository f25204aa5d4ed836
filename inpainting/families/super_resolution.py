"""What the families of transformers for super-resolution share: the layers around their blocks, told by their tensors.

It registers no family. The names are those of BasicSR's networks (github.com/XPixelGroup/BasicSR).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from inpainting.families.layouts import UnsupportedNetwork

Shapes = Mapping[str, tuple[int, ...]]
COLOURS = 3
SCALES = (2, 3, 4, 8)
MAX_LAYERS, MAX_FEATURES, MAX_WINDOW = 64, 512, 64
"""The published ones have at most 12 groups, 18 blocks in one, 240 features and windows of 32 pixels."""
COMPUTED = re.compile(r"(\A|\.)(relative_position_index(_SA|_OCA)?|attn_mask(_[01])?|num_batches_tracked)\Z")
"""Tensors of published files that are no weights: positions and masks, which the sizes tell, and counters."""
OUTPUT_MARGIN = 64
"""Of these networks, whose tiles are small; see `WeightsLayout`."""
TABLE = "relative_position_bias_table"


class Upsampler(StrEnum):
    """How the features become an image, by the names of SwinIR's options."""

    PIXELSHUFFLE = "pixelshuffle"
    """Convolutions before pixels are shuffled, two or three times as large with each."""
    DIRECT = "pixelshuffledirect"
    """One convolution before pixels are shuffled."""
    NEAREST = "nearest+conv"
    """Pixels are repeated before each of several convolutions."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The sizes of the layers before and after the blocks."""

    features: int
    """Channels of the blocks."""
    upsampler: Upsampler
    upsampled_features: int
    """Channels of the layers that enlarge; those of the blocks for `DIRECT`, which has no other."""
    scale: int
    convolutions: int
    """1 or 3, at the end of each group of blocks and of all."""

    @property
    def steps(self) -> tuple[int, ...]:
        """How much larger each of the layers that enlarge makes the sides."""
        is_one = self.upsampler is Upsampler.DIRECT or self.scale == 3
        return (self.scale,) if is_one else (2,) * (self.scale.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class TransformerSizes:
    """Base class of the sizes of a family."""

    reconstruction: Reconstruction

    @property
    def scale(self) -> int:
        return self.reconstruction.scale


def reconstruction_in(shapes: Shapes) -> Reconstruction:
    """Return the layers around the blocks of a network whose tensors have these shapes.

    Raises UnsupportedNetwork for one that does not enlarge RGB, ValueError for another one.
    """
    features, channels = sides_of(shapes, "conv_first.weight")
    steps = [f"upsample.{number}.weight" for number in range(0, 8, 2)]
    if "conv_up1.weight" in shapes:
        upsampler = Upsampler.NEAREST
        upsampled = sides_of(shapes, "conv_up1.weight")[0]
        scale = 2 ** sum(f"conv_up{number}.weight" in shapes for number in (1, 2, 3))
    elif "conv_before_upsample.0.weight" in shapes:
        upsampler = Upsampler.PIXELSHUFFLE
        upsampled = sides_of(shapes, "conv_before_upsample.0.weight")[0]
        scale = math.prod(math.isqrt(sides_of(shapes, name)[0] // upsampled) for name in steps if name in shapes)
    elif steps[0] in shapes:
        upsampler, upsampled = Upsampler.DIRECT, features
        scale = math.isqrt(sides_of(shapes, steps[0])[0] // COLOURS)
    else:
        raise UnsupportedNetwork("it cleans images, of noise or of traces of JPEG, and does not enlarge them")
    if channels != COLOURS:
        raise UnsupportedNetwork(f"it takes {channels} channels, not those of RGB")
    if scale not in SCALES:
        raise UnsupportedNetwork(f"it enlarges {scale} times, not {', '.join(map(str, SCALES))}")
    if max(features, upsampled) > MAX_FEATURES:
        raise UnsupportedNetwork(f"it has {features} and {upsampled} features, of {MAX_FEATURES} at most")
    return Reconstruction(features, upsampler, upsampled, scale, 1 if "conv_after_body.weight" in shapes else 3)


def reconstruction_shapes(sizes: Reconstruction) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of these layers."""
    features, upsampled = sizes.features, sizes.upsampled_features
    shapes = convolution("conv_first", COLOURS, features) | norm("norm", features)
    shapes |= end_of_blocks("conv_after_body", sizes)
    if sizes.upsampler is Upsampler.DIRECT:
        return shapes | convolution("upsample.0", features, COLOURS * sizes.scale**2)
    shapes |= convolution("conv_before_upsample.0", features, upsampled)
    for number, step in enumerate(sizes.steps):
        if sizes.upsampler is Upsampler.NEAREST:
            shapes |= convolution(f"conv_up{number + 1}", upsampled, upsampled)
        else:
            shapes |= convolution(f"upsample.{2 * number}", upsampled, step**2 * upsampled)
    if sizes.upsampler is Upsampler.NEAREST:
        shapes |= convolution("conv_hr", upsampled, upsampled)
    return shapes | convolution("conv_last", upsampled, COLOURS)


def end_of_blocks(name: str, sizes: Reconstruction) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the convolutions after blocks, whose result is added to what the blocks took."""
    features, inner = sizes.features, sizes.features // 4
    if sizes.convolutions == 1:
        return convolution(name, features, features)
    return (
        convolution(f"{name}.0", features, inner)
        | convolution(f"{name}.2", inner, inner, kernel=1)
        | convolution(f"{name}.4", inner, features)
    )


def weight_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names of the tensors of a file that are weights -> the same."""
    return {name: name for name in names if not COMPUTED.search(name)}


def weights_in(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of a file."""
    return {name: shapes[name] for name in weight_names(shapes)}


def blocks_in(shapes: Shapes, blocks: str) -> tuple[int, ...]:
    """Return the number of blocks of each group. blocks: the name below a group's. Raises ValueError for none."""
    found: dict[int, int] = {}
    for name in shapes:
        if match := re.match(rf"layers\.(\d+)\.{re.escape(blocks)}\.(\d+)\.", name):
            group, block = int(match[1]), int(match[2])
            found[group] = max(found.get(group, 0), block + 1)
    if not found or max(max(found) + 1, *found.values()) > MAX_LAYERS:
        raise ValueError(f"it has {len(found)} groups of blocks")
    return tuple(found.get(group, 0) for group in range(max(found) + 1))


def windows_in(shapes: Shapes, groups: int) -> tuple[int, tuple[int, ...]]:
    """Return the pixels along a window and the heads of each group, by the tables of relative positions of SwinIR's
    blocks, [positions, heads].

    A table has one row for each of the (2 * window - 1)^2 differences between two places of a window.
    Raises ValueError.
    """
    tables = [shapes.get(f"layers.{group}.residual_group.blocks.0.attn.{TABLE}", ()) for group in range(groups)]
    sides = {math.isqrt(table[0]) if len(table) == 2 else 0 for table in tables}
    window, heads = (max(sides) + 1) // 2, tuple(table[-1] if table else 0 for table in tables)
    if sides != {2 * window - 1} or not 2 <= window <= MAX_WINDOW:
        raise ValueError(f"its tables of relative positions are {sorted(set(tables))}")
    check_heads(sides_of(shapes, "conv_first.weight")[0], heads)
    return window, heads


def window_block(name: str, features: int, window: int, heads: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of SwinIR's block: attention within windows, and an MLP."""
    return {
        **norm(f"{name}.norm1", features),
        f"{name}.attn.{TABLE}": ((2 * window - 1) ** 2, heads),
        **linear(f"{name}.attn.qkv", features, 3 * features),
        **linear(f"{name}.attn.proj", features, features),
        **norm(f"{name}.norm2", features),
        **mlp(f"{name}.mlp", features, hidden),
    }


def check_heads(features: int, heads: tuple[int, ...]) -> None:
    """Raise ValueError unless the features are shared evenly among the heads of each group."""
    if any(number < 1 or features % number for number in heads):
        raise ValueError(f"it shares {features} features among {heads} heads")


def sides_of(shapes: Shapes, name: str) -> tuple[int, int]:
    """Return the outputs and inputs of a layer. Raises ValueError where it is absent."""
    shape = shapes.get(name, ())
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"it has no {name}")
    return shape[0], shape[1]


def convolution(name: str, inputs: int, outputs: int, *, kernel: int = 3) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, features: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (features,), f"{name}.bias": (features,)}


def mlp(name: str, features: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return linear(f"{name}.fc1", features, hidden) | linear(f"{name}.fc2", hidden, features)
