"""SwinIR (J. Liang et al., ICCV Workshops 2021): blocks of the Swin Transformer between convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from inpainting.families import register
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import WeightsLayout, refuse_other_shapes
from inpainting.families.super_resolution import (
    OUTPUT_MARGIN,
    Shapes,
    TransformerSizes,
    blocks_in,
    end_of_blocks,
    norm,
    reconstruction_in,
    reconstruction_shapes,
    sides_of,
    weights_in,
    window_block,
    windows_in,
)

MAX_SIDE = 224
"""Pixels of the source along a tile with its margins; `docs/measured.md` has the memory that it takes."""


@dataclass(frozen=True, slots=True)
class SwinIRSizes(TransformerSizes):
    """The sizes of a SwinIR."""

    window: int
    """Pixels along a window, in which each pixel attends to all."""
    blocks: tuple[int, ...]
    """Of each group."""
    heads: tuple[int, ...]
    """Of the blocks of each group."""
    hidden: int
    """Features within the MLPs."""


def swinir_sizes(shapes: Shapes) -> SwinIRSizes:
    """Return the sizes of the network whose tensors have these shapes.

    Raises UnsupportedNetwork for a SwinIR that does not enlarge RGB, ValueError for another network.
    """
    blocks = blocks_in(shapes, "residual_group.blocks")
    window, heads = windows_in(shapes, len(blocks))
    hidden, _ = sides_of(shapes, "layers.0.residual_group.blocks.0.mlp.fc1.weight")
    sizes = SwinIRSizes(reconstruction_in(shapes), window, blocks, heads, hidden)
    refuse_other_shapes(weights_in(shapes), swinir_shapes(sizes))
    return sizes


def swinir_shapes(sizes: SwinIRSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of a network of these sizes."""
    features = sizes.reconstruction.features
    shapes = reconstruction_shapes(sizes.reconstruction) | norm("patch_embed.norm", features)
    for group, (blocks, heads) in enumerate(zip(sizes.blocks, sizes.heads, strict=True)):
        for block in range(blocks):
            name = f"layers.{group}.residual_group.blocks.{block}"
            shapes |= window_block(name, features, sizes.window, heads, sizes.hidden)
        shapes |= end_of_blocks(f"layers.{group}.conv", sizes.reconstruction)
    return shapes


SWINIR = register(
    ModelFamily(
        name="swinir",
        label="SwinIR",
        engine=UPSCALING,
        layout=WeightsLayout(
            swinir_sizes,
            multiple=lambda sizes: sizes.window,
            padding="reflect",
            max_side=lambda sizes: MAX_SIDE,
            output_margin=OUTPUT_MARGIN,
        ),
        implementation="inpainting.upscalers.networks.swinir:SWINIR",
    )
)
