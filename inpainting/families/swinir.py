"""SwinIR (J. Liang et al., ICCV Workshops 2021): blocks of the Swin Transformer between convolutions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from inpainting.families import register
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import WeightsLayout, refuse_other_shapes
from inpainting.families.super_resolution import (
    Reconstruction,
    Shapes,
    blocks_in,
    check_heads,
    end_of_blocks,
    linear,
    mlp,
    norm,
    reconstruction_in,
    reconstruction_shapes,
    sides_of,
    window_of,
)

COMPUTED = re.compile(r"\.(relative_position_index|attn_mask)\Z")
"""Tensors of the published files that the sizes tell."""
TABLE = "relative_position_bias_table"


@dataclass(frozen=True, slots=True)
class SwinIRSizes:
    """The sizes of a SwinIR."""

    reconstruction: Reconstruction
    window: int
    """Pixels along a window, in which each pixel attends to all."""
    blocks: tuple[int, ...]
    """Of each group."""
    heads: tuple[int, ...]
    """Of the blocks of each group."""
    hidden: int
    """Features within the MLPs."""

    @property
    def scale(self) -> int:
        return self.reconstruction.scale


def weight_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names of the tensors that are weights -> the same."""
    return {name: name for name in names if not COMPUTED.search(name)}


def swinir_sizes(shapes: Shapes) -> SwinIRSizes:
    """Return the sizes of the network whose tensors have these shapes.

    Raises UnsupportedNetwork for a SwinIR that does not enlarge RGB, ValueError for another network.
    """
    blocks = blocks_in(shapes, "residual_group.blocks")
    tables = [shapes.get(f"layers.{group}.residual_group.blocks.0.attn.{TABLE}", ()) for group in range(len(blocks))]
    windows, heads = zip(*map(window_of, tables), strict=True)
    hidden, _ = sides_of(shapes, "layers.0.residual_group.blocks.0.mlp.fc1.weight")
    sizes = SwinIRSizes(reconstruction_in(shapes), windows[0], blocks, heads, hidden)
    check_heads(sizes.reconstruction, heads)
    refuse_other_shapes({name: shapes[name] for name in weight_names(shapes)}, swinir_shapes(sizes))
    return sizes


def swinir_shapes(sizes: SwinIRSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of a network of these sizes."""
    features = sizes.reconstruction.features
    shapes = reconstruction_shapes(sizes.reconstruction) | norm("patch_embed.norm", features)
    for group, (blocks, heads) in enumerate(zip(sizes.blocks, sizes.heads, strict=True)):
        for block in range(blocks):
            name = f"layers.{group}.residual_group.blocks.{block}"
            shapes |= window_block_shapes(name, features, sizes.window, heads, sizes.hidden)
        shapes |= end_of_blocks(f"layers.{group}.conv", sizes.reconstruction)
    return shapes


def window_block_shapes(name: str, features: int, window: int, heads: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a block of attention within windows and an MLP."""
    return {
        **norm(f"{name}.norm1", features),
        f"{name}.attn.{TABLE}": ((2 * window - 1) ** 2, heads),
        **linear(f"{name}.attn.qkv", features, 3 * features),
        **linear(f"{name}.attn.proj", features, features),
        **norm(f"{name}.norm2", features),
        **mlp(f"{name}.mlp", features, hidden),
    }


SWINIR = register(
    ModelFamily(
        name="swinir",
        label="SwinIR",
        engine=UPSCALING,
        layout=WeightsLayout(swinir_sizes),
        implementation="inpainting.upscalers.networks.swinir:SWINIR",
    )
)
