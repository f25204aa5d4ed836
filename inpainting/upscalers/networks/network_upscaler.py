"""The upscaler of any installed model of the catalog: what its family loads computes the tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.formats.weights_file import shapes_in
from inpainting.catalog.specs import ModelSpec
from inpainting.families.layouts import WeightsLayout
from inpainting.networks.device.choice import or_on_cpu
from inpainting.networks.network_cache import network_cache
from inpainting.upscalers.base import OnWait, Tile, Tiling

OUTPUT_FADE = 24
"""Pixels of the output on each side of the border of two tiles over which they fade into each other."""
MAX_OUTPUT_SIDE = 2048
"""Pixels along the output of a tile with its margins."""


class LoadedUpscaler(Protocol):
    """A network in memory, as the `load` of a family's implementation returns it."""

    @property
    def tiling(self) -> Tiling: ...

    def compute(self, image: NDArray[np.float32], on_wait: OnWait) -> NDArray[np.float32]:
        """Return the output [1, 3, height, width] for RGB [1, 3, height, width] of 0 to 1. Raises EngineFailed."""
        ...


def tiling_of(
    scale: int, *, max_side: int, multiple: int, padding: Literal["edge", "reflect"] | None, output_margin: int
) -> Tiling:
    """Return the tiling for a network that takes any size that is a multiple, or with no padding any size.

    max_side, output_margin: see `WeightsLayout`. The margin is such that tiles with theirs begin and end at multiples.
    """
    side = min(max_side, MAX_OUTPUT_SIDE // scale) // multiple * multiple
    margin = -(-2 * output_margin // (scale * multiple)) * multiple // 2
    return Tiling(scale, side, margin=margin, fade=OUTPUT_FADE, multiple=multiple, padding=padding)


def tiling_for(layout: WeightsLayout, sizes: Any) -> Tiling:
    """Return the tiling for a network of these sizes, see `WeightsLayout.sizes`."""
    return tiling_of(
        sizes.scale,
        max_side=layout.max_side(sizes),
        multiple=layout.multiple(sizes),
        padding=layout.padding,
        output_margin=layout.output_margin,
    )


@dataclass(frozen=True, eq=False)
class NetworkUpscaler:
    """An installed upscaler of the catalog."""

    spec: ModelSpec

    @property
    def name(self) -> str:
        return self.spec.slug

    @property
    def label(self) -> str:
        return self.spec.label

    @property
    def loaded(self) -> LoadedUpscaler:
        """The network, loaded with its first use. Raises EngineFailed where it cannot be loaded."""
        network: LoadedUpscaler = network_cache.of(self.spec)
        return network

    @cached_property
    def tiling(self) -> Tiling:
        """That of the network, which is loaded for it. Raises EngineFailed."""
        return self.loaded.tiling

    @property
    def planned_tiling(self) -> Tiling | None:
        """`tiling` by the header of the file, so that planning loads no network; None where that does not tell it.

        A network in ONNX tells it by its output alone, and the file may lie on another machine.
        """
        layout = families.get(self.spec.family).layout
        if self.spec.path is None or not isinstance(layout, WeightsLayout):
            return None
        try:
            return tiling_for(layout, layout.sizes(shapes_in(read_header(self.spec.path))))
        except (OSError, ValueError, ModelRefused):
            return None  # running it says why

    def enlarge(self, tile: Tile, on_wait: OnWait) -> Tile:
        image = np.ascontiguousarray(tile.transpose(2, 0, 1)[np.newaxis])
        output: NDArray[np.float32] = or_on_cpu(lambda: network_cache.of(self.spec).compute(image, on_wait))
        return output[0].transpose(1, 2, 0)

    def sharpen(self, pixels: Tile, factor: float) -> Tile:
        return pixels

    def sharpen_margin(self, factor: float) -> int:
        return 0
