"""SRVGGNetCompact, the small network of Real-ESRGAN for animation and video (X. Wang et al., ICCV Workshops 2021)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from inpainting.families import register
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import WeightsLayout, refuse_other_shapes

COLOURS = 3
MAX_LAYERS, MAX_FEATURES = 64, 256
MAX_SIDE = 512
"""Pixels of the source along a tile with its margins: 64 features of it take 67 MB in float32."""


@dataclass(frozen=True, slots=True)
class SRVGGSizes:
    """The sizes of an SRVGGNetCompact: convolutions with a PReLU each, and one before the pixels are shuffled."""

    features: int
    layers: int
    scale: int


def srvgg_sizes(shapes: Mapping[str, tuple[int, ...]]) -> SRVGGSizes:
    """Return the sizes of the network whose tensors have these shapes. Raises ValueError for those of another one."""
    first = shapes.get("body.0.weight", ())
    numbers = [int(match[1]) for name in shapes if (match := re.match(r"body\.(\d+)\.weight\Z", name))]
    last = shapes.get(f"body.{max(numbers)}.weight", ()) if numbers else ()
    if len(first) != 4 or len(last) != 4 or len(shapes.get("body.1.weight", ())) != 1:
        raise ValueError("it has no body of convolutions and PReLUs")
    sizes = SRVGGSizes(first[0], max(numbers) // 2, math.isqrt(last[0] // COLOURS))
    if sizes.scale not in (2, 3, 4, 8) or sizes.layers > MAX_LAYERS or sizes.features > MAX_FEATURES:
        raise ValueError(f"it has {sizes.layers} layers of {sizes.features} features and returns {last[0]} channels")
    refuse_other_shapes(shapes, srvgg_shapes(sizes))
    return sizes


def srvgg_shapes(sizes: SRVGGSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a network of these sizes."""
    features, shapes = sizes.features, dict[str, tuple[int, ...]]()
    for layer in range(sizes.layers + 1):
        inputs = features if layer else COLOURS
        outputs = features if layer < sizes.layers else COLOURS * sizes.scale**2
        shapes |= {f"body.{2 * layer}.weight": (outputs, inputs, 3, 3), f"body.{2 * layer}.bias": (outputs,)}
        if layer < sizes.layers:
            shapes[f"body.{2 * layer + 1}.weight"] = (features,)
    return shapes


SRVGG = register(
    ModelFamily(
        name="srvgg",
        label="Real-ESRGAN compact",
        engine=UPSCALING,
        layout=WeightsLayout(srvgg_sizes, max_side=lambda sizes: MAX_SIDE),
        implementation="inpainting.upscalers.networks.srvgg:SRVGG_UPSCALER",
    )
)
