"""HAT (X. Chen et al., CVPR 2023): SwinIR's blocks with attention to channels, and windows that overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inpainting.families import register
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import WeightsLayout, refuse_other_shapes
from inpainting.families.super_resolution import (
    OUTPUT_MARGIN,
    TABLE,
    Shapes,
    TransformerSizes,
    blocks_in,
    convolution,
    end_of_blocks,
    linear,
    mlp,
    norm,
    reconstruction_in,
    reconstruction_shapes,
    sides_of,
    weights_in,
    window_block,
    windows_in,
)

BLOCK = "layers.0.residual_group.blocks.0"
MAX_SIDE = 192
"""Pixels of the source along a tile with its margins; `docs/measured.md` has the memory that it takes."""


@dataclass(frozen=True, slots=True)
class HATSizes(TransformerSizes):
    """The sizes of a HAT."""

    window: int
    """Pixels along a window, in which each pixel attends to all."""
    seen: int
    """Pixels along what a window attends to at the end of each group."""
    blocks: tuple[int, ...]
    """Of each group."""
    heads: tuple[int, ...]
    """Of the blocks of each group."""
    hidden: int
    """Features within the MLPs."""
    compressed: int
    """Channels between the convolutions of a block."""
    squeezed: int
    """Channels between the layers that weigh the channels of a block."""


def hat_sizes(shapes: Shapes) -> HATSizes:
    """Return the sizes of the network whose tensors have these shapes.

    Raises UnsupportedNetwork for a HAT that does not enlarge RGB, ValueError for another network.
    """
    compressed, _ = sides_of(shapes, f"{BLOCK}.conv_block.cab.0.weight")
    squeezed, _ = sides_of(shapes, f"{BLOCK}.conv_block.cab.3.attention.1.weight")
    positions, _ = sides_of(shapes, f"layers.0.residual_group.overlap_attn.{TABLE}")
    blocks = blocks_in(shapes, "residual_group.blocks")
    window, heads = windows_in(shapes, len(blocks))
    seen = math.isqrt(positions) + 1 - window
    if (seen - window) % 2 or not window <= seen <= 3 * window:
        raise ValueError(f"its windows of {window} pixels attend to {seen}")
    hidden, _ = sides_of(shapes, f"{BLOCK}.mlp.fc1.weight")
    sizes = HATSizes(reconstruction_in(shapes), window, seen, blocks, heads, hidden, compressed, squeezed)
    refuse_other_shapes(weights_in(shapes), hat_shapes(sizes))
    return sizes


def hat_shapes(sizes: HATSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of a network of these sizes."""
    features = sizes.reconstruction.features
    shapes = reconstruction_shapes(sizes.reconstruction) | norm("patch_embed.norm", features)
    for group, (blocks, heads) in enumerate(zip(sizes.blocks, sizes.heads, strict=True)):
        name = f"layers.{group}.residual_group"
        for block in range(blocks):
            shapes |= window_block(f"{name}.blocks.{block}", features, sizes.window, heads, sizes.hidden)
            shapes |= channel_block_shapes(f"{name}.blocks.{block}.conv_block.cab", sizes)
        shapes |= {
            **norm(f"{name}.overlap_attn.norm1", features),
            f"{name}.overlap_attn.{TABLE}": ((sizes.window + sizes.seen - 1) ** 2, heads),
            **linear(f"{name}.overlap_attn.qkv", features, 3 * features),
            **linear(f"{name}.overlap_attn.proj", features, features),
            **norm(f"{name}.overlap_attn.norm2", features),
            **mlp(f"{name}.overlap_attn.mlp", features, sizes.hidden),
            **end_of_blocks(f"layers.{group}.conv", sizes.reconstruction),
        }
    return shapes


def channel_block_shapes(name: str, sizes: HATSizes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the convolutions of a block and of the layers that weigh its channels."""
    features = sizes.reconstruction.features
    return {
        **convolution(f"{name}.0", features, sizes.compressed),
        **convolution(f"{name}.2", sizes.compressed, features),
        **convolution(f"{name}.3.attention.1", features, sizes.squeezed, kernel=1),
        **convolution(f"{name}.3.attention.3", sizes.squeezed, features, kernel=1),
    }


HAT = register(
    ModelFamily(
        name="hat",
        label="HAT",
        engine=UPSCALING,
        layout=WeightsLayout(
            hat_sizes,
            multiple=lambda sizes: sizes.window,
            padding="reflect",
            max_side=lambda sizes: MAX_SIDE,
            output_margin=OUTPUT_MARGIN,
        ),
        implementation="inpainting.upscalers.networks.hat:HAT",
    )
)
