"""The upscaler interface: how an image is cut into tiles, and what enlarges one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Tile = NDArray[np.float32]
"""Colours [height, width, channels], 0 to 1."""
OnWait = Callable[[], None]
"""Called at least once a second while a tile is computed; an exception from it ends the work."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut into tiles for an upscaler."""

    scale: int
    """Pixels along each side that it makes of one; 1 of an interpolator, which gets tiles that are scaled already."""
    side: int
    """Pixels of the source along a tile with its margins, at most."""
    margin: int = 0
    """Pixels of the source that are seen on each side of a tile, and whose result is dropped."""
    fade: int = 0
    """Pixels of the output on each side of a border over which two tiles fade into each other; less than the margin."""
    multiple: int = 1
    """Tiles begin and end at multiples of this, unless the image ends before."""
    padding: Literal["edge", "reflect"] | None = "edge"
    """How inputs are continued to such sides: their last pixels are repeated or mirrored; None where they are not."""
    is_fixed: bool = False
    """Whether every input is `side` x `side`."""

    @property
    def step(self) -> int:
        """Pixels of the source along a tile without its margins."""
        return max(1, self.side - 2 * self.margin)

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Return the start and end of each tile along a side of the source, without their margins.

        The first and the last have no margin beyond the image, so they are larger by one; up to `side` pixels are one.
        """
        borders = [0, *range(self.margin + self.step, length - self.margin, self.step), length]
        return list(pairwise(borders))


class Upscaler(Protocol):
    """Enlarges tiles. Deterministic: the same tile gives the same pixels."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def tiling(self) -> Tiling: ...

    def enlarge(self, tile: Tile, on_wait: OnWait) -> Tile:
        """Return a tile in RGB at `tiling.scale` times its size. Not called with a scale of 1. Raises EngineFailed."""
        ...

    def sharpen(self, pixels: Tile, factor: float) -> Tile:
        """Return a part of the result sharpened; what lies within `sharpen_margin` of its border is dropped.

        factor: by which the image was enlarged, the larger of down and across.
        """
        ...

    def sharpen_margin(self, factor: float) -> int:
        """Return the pixels of the result around a part that `sharpen` reads."""
        ...
