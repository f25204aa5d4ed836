"""DAT (Z. Chen et al., ICCV 2023): blocks that attend within windows and blocks that attend to channels, in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inpainting.families import register
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import WeightsLayout, refuse_other_shapes
from inpainting.families.super_resolution import (
    MAX_WINDOW,
    OUTPUT_MARGIN,
    Shapes,
    TransformerSizes,
    blocks_in,
    check_heads,
    convolution,
    end_of_blocks,
    linear,
    norm,
    reconstruction_in,
    reconstruction_shapes,
    sides_of,
    weights_in,
)

ATTENTION = "layers.0.blocks.0.attn"
BRANCHES = 2
"""Halves of the channels, which attend within windows of the same sides, lying and standing."""
MAX_SIDE = 160
"""Pixels of the source along a tile with its margins; `docs/measured.md` has the memory that it takes."""


@dataclass(frozen=True, slots=True)
class DATSizes(TransformerSizes):
    """The sizes of a DAT."""

    window: tuple[int, int]
    """Pixels along the shorter and the longer side of a window."""
    blocks: tuple[int, ...]
    """Of each group; every second one attends to channels."""
    heads: tuple[int, ...]
    """Of the blocks of each group."""
    hidden: int
    """Features within the feed-forward networks."""
    positions: int
    """Features of the networks that compute the biases of relative positions."""
    squeezed: tuple[int, int]
    """Channels between the layers that weigh the channels, and the pixels."""


def dat_sizes(shapes: Shapes) -> DATSizes:
    """Return the sizes of the network whose tensors have these shapes.

    Raises UnsupportedNetwork for a DAT that does not enlarge RGB, ValueError for another network.
    """
    blocks, window = blocks_in(shapes, "blocks"), window_in(shapes)
    positions, _ = sides_of(shapes, f"{ATTENTION}.attns.0.pos.pos_proj.weight")
    channels, _ = sides_of(shapes, f"{ATTENTION}.channel_interaction.1.weight")
    pixels, _ = sides_of(shapes, f"{ATTENTION}.spatial_interaction.0.weight")
    hidden, _ = sides_of(shapes, "layers.0.blocks.0.ffn.fc1.weight")
    heads = tuple(
        BRANCHES * sides_of(shapes, f"layers.{group}.blocks.0.attn.attns.0.pos.pos3.2.weight")[0]
        for group in range(len(blocks))
    )
    sizes = DATSizes(reconstruction_in(shapes), window, blocks, heads, hidden, positions, (channels, pixels))
    check_heads(sizes.reconstruction.features, heads)
    refuse_other_shapes(weights_in(shapes), dat_shapes(sizes))
    return sizes


def window_in(shapes: Shapes) -> tuple[int, int]:
    """Return the sides of the windows, by the numbers of pairs of pixels and of differences between two places.

    A window has area = height * width pixels and (2 * height - 1) * (2 * width - 1) differences, so that the sum of its
    sides is (4 * area + 1 - differences) / 2. Raises ValueError.
    """
    area, _ = sides_of(shapes, f"{ATTENTION}.attns.0.relative_position_index")
    differences, _ = sides_of(shapes, f"{ATTENTION}.attns.0.rpe_biases")
    total = (4 * area + 1 - differences) // 2
    root = math.isqrt(max(0, total**2 - 4 * area))
    window = (total - root) // 2, (total + root) // 2
    if not 2 <= window[0] <= window[1] <= MAX_WINDOW or window[0] * window[1] != area:
        raise ValueError(f"its windows have {area} pixels, at {differences} places to each other")
    return window


def dat_shapes(sizes: DATSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of a network of these sizes, and of the places that its windows are told by."""
    features = sizes.reconstruction.features
    shapes = reconstruction_shapes(sizes.reconstruction) | norm("before_RG.1", features)
    for group, (blocks, heads) in enumerate(zip(sizes.blocks, sizes.heads, strict=True)):
        for block in range(blocks):
            name = f"layers.{group}.blocks.{block}"
            shapes |= attention_shapes(f"{name}.attn", sizes) | feed_forward_shapes(f"{name}.ffn", sizes)
            shapes |= norm(f"{name}.norm1", features) | norm(f"{name}.norm2", features)
            if block % 2:
                shapes[f"{name}.attn.temperature"] = heads, 1, 1
            else:
                for branch in range(BRANCHES):
                    shapes |= position_shapes(f"{name}.attn.attns.{branch}", sizes, heads // BRANCHES)
        shapes |= end_of_blocks(f"layers.{group}.conv", sizes.reconstruction)
    return shapes


def attention_shapes(name: str, sizes: DATSizes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what blocks of both kinds have: convolutions beside the attention, and weights of both."""
    features, (channels, pixels) = sizes.reconstruction.features, sizes.squeezed
    return {
        **linear(f"{name}.qkv", features, 3 * features),
        **linear(f"{name}.proj", features, features),
        **convolution(f"{name}.dwconv.0", 1, features),
        **batch_norm(f"{name}.dwconv.1", features),
        **convolution(f"{name}.channel_interaction.1", features, channels, kernel=1),
        **batch_norm(f"{name}.channel_interaction.2", channels),
        **convolution(f"{name}.channel_interaction.4", channels, features, kernel=1),
        **convolution(f"{name}.spatial_interaction.0", features, pixels, kernel=1),
        **batch_norm(f"{name}.spatial_interaction.1", pixels),
        **convolution(f"{name}.spatial_interaction.3", pixels, 1, kernel=1),
    }


def position_shapes(name: str, sizes: DATSizes, heads: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the network that computes the biases of relative positions, and of those positions."""
    (short, long), features = sizes.window, sizes.positions
    shapes = {
        f"{name}.rpe_biases": ((2 * short - 1) * (2 * long - 1), 2),
        **linear(f"{name}.pos.pos_proj", 2, features),
    }
    for number, outputs in enumerate((features, features, heads), start=1):
        shapes |= norm(f"{name}.pos.pos{number}.0", features) | linear(f"{name}.pos.pos{number}.2", features, outputs)
    return shapes


def feed_forward_shapes(name: str, sizes: DATSizes) -> dict[str, tuple[int, ...]]:
    features, half = sizes.reconstruction.features, sizes.hidden // 2
    return {
        **linear(f"{name}.fc1", features, sizes.hidden),
        **norm(f"{name}.sg.norm", half),
        **convolution(f"{name}.sg.conv", 1, half),
        **linear(f"{name}.fc2", half, features),
    }


def batch_norm(name: str, features: int) -> dict[str, tuple[int, ...]]:
    return norm(name, features) | {f"{name}.running_mean": (features,), f"{name}.running_var": (features,)}


DAT = register(
    ModelFamily(
        name="dat",
        label="DAT",
        engine=UPSCALING,
        layout=WeightsLayout(
            dat_sizes,
            multiple=lambda sizes: max(sizes.window),
            padding=None,
            max_side=lambda sizes: MAX_SIDE,
            output_margin=OUTPUT_MARGIN,
        ),
        implementation="inpainting.upscalers.networks.dat:DAT",
    )
)
