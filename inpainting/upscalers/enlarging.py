"""Enlarge an image tile by tile: what is held beside the image and its result does not grow with them.

The tiles of an interpolator equal the whole, and those of a network do so where its margin holds all that it sees.
Where it does not, tiles fade into each other at their borders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, Pixels
from inpainting.core.resampling import Axes, Axis, resample, sources_of
from inpainting.core.sentences import sentence
from inpainting.upscalers.base import OnWait, Tile, Tiling, Upscaler

COLOUR_SPREAD = 8
"""Pixels by which visible colours are continued into what is transparent, so that none that nobody sees bleeds in."""
GREY_SHARES = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (BT.601)."""
OnTile = Callable[[int, int], None]
"""Called with the number of tiles that are done, and of all; an exception from it ends the work."""


@dataclass(frozen=True, eq=False)
class Enlargement:
    """An image, the size to which it is enlarged, and by what."""

    image: CanonicalImage
    size: Size
    upscaler: Upscaler

    @cached_property
    def tiles(self) -> list[Box]:
        """The tiles of the source, without what is seen around them."""
        return tiles_of(self.image.size, self.upscaler.tiling)

    @cached_property
    def axes(self) -> Axes:
        """From the source to the result."""
        source = self.image.size
        return Axis(source.height, self.size.height), Axis(source.width, self.size.width)

    @cached_property
    def scaled_axes(self) -> Axes:
        """From what the upscaler makes of the whole source to the result."""
        scale = self.upscaler.tiling.scale
        down, across = self.axes
        return Axis(scale * down.length, down.target), Axis(scale * across.length, across.target)

    @property
    def factor(self) -> float:
        """The larger of the factors down and across."""
        return max(axis.target / axis.length for axis in self.axes)

    def run(self, on_tile: OnTile) -> CanonicalImage:
        """Return the enlarged image, in the mode and depth of the source and with its profile and metadata.

        on_tile: called before the first tile, after each, and at least once a second.
        Raises EngineFailed.
        """
        source, count = self.image, len(self.tiles)
        result: Pixels = np.zeros((self.size.height, self.size.width, source.pixels.shape[2]), source.pixels.dtype)
        for number, tile in enumerate(self.tiles):
            on_tile(number, count)
            if (target := self.target_of(tile)) is not None:
                self.place(tile, target, result, partial(on_tile, number, count))
        on_tile(count, count)
        return CanonicalImage(result, source.icc_profile, source.metadata)

    def target_of(self, tile: Box) -> Box | None:
        """Return the pixels of the result whose centres lie in a tile of the source; None where there is none."""
        down, across = self.axes
        top, bottom = down.targets_of(tile.top, tile.bottom)
        left, right = across.targets_of(tile.left, tile.right)
        return Box(left, top, right, bottom) if left < right and top < bottom else None

    def place(self, tile: Box, target: Box, result: Pixels, on_wait: OnWait) -> None:
        """Write the pixels of a tile, which comes after those above it and on its left, into the result."""
        tiling = self.upscaler.tiling
        down, across = (round(tiling.fade * axis.target / (tiling.scale * axis.length)) for axis in self.axes)
        around = Box(target.left - across, target.top - down, target.right + across, target.bottom + down)
        around = around.clipped(Box.whole(self.size))
        pixels = self.pixels_of(around, tile, on_wait)
        if around != target:
            rows, columns = around.size.height, around.size.width
            shares = ramp(target.top - around.top, rows, down)[:, np.newaxis] * ramp(
                target.left - around.left, columns, across
            )
            pixels = shares[:, :, np.newaxis] * pixels + (1 - shares[:, :, np.newaxis]) * result[around.slices]
        result[around.slices] = np.rint(pixels)

    def pixels_of(self, target: Box, tile: Box, on_wait: OnWait) -> Tile:
        """Return a part of the result from a tile of the source, from 0 to the highest value of its depth."""
        around = target.expanded(self.upscaler.sharpen_margin(self.factor)).clipped(Box.whole(self.size))
        colours = self.upscaler.sharpen(self.scaled_colours(around, tile, on_wait), self.factor)
        colours = colours[target.relative_to(around).slices]
        if colours.shape[2] > self.image.colour.shape[2]:
            colours = (colours @ GREY_SHARES)[:, :, np.newaxis]
        if self.image.has_alpha:
            colours = np.concatenate([colours, self.scaled_alpha(target)], axis=2)
        full = np.iinfo(self.image.pixels.dtype).max
        return np.multiply(colours.clip(0, 1), full, dtype=np.float32)

    def scaled_colours(self, target: Box, tile: Box, on_wait: OnWait) -> Tile:
        """Return the colours of a part of the result; of an interpolator in the channels of the source, else RGB."""
        tiling = self.upscaler.tiling
        scale = tiling.scale
        read = sources_of(self.scaled_axes, target)
        read = Box(read.left // scale, read.top // scale, -(-read.right // scale), -(-read.bottom // scale))
        seen = self.aligned(tile.expanded(tiling.margin).clipped(Box.whole(self.image.size)).union(read))
        colours = self.visible_colours(seen)
        if scale > 1:
            colours = enlarge_padded(self.upscaler, colours, on_wait)
        return resample(colours, self.scaled_axes, (scale * seen.top, scale * seen.left), target)

    def aligned(self, seen: Box) -> Box:
        """Return a tile enlarged within the image to begin and end at multiples, as they lie in the whole image.

        A network that joins pixels to squares or looks through windows then sees the same ones in every tile.
        """
        tiling = self.upscaler.tiling
        if tiling.is_fixed or tiling.multiple == 1:
            return seen
        ends = (-(-end // tiling.multiple) * tiling.multiple for end in (seen.right, seen.bottom))
        starts = (start // tiling.multiple * tiling.multiple for start in (seen.left, seen.top))
        return Box(*starts, *ends).clipped(Box.whole(self.image.size))

    def visible_colours(self, seen: Box) -> Tile:
        """Return colours of the source, in three channels for a network, without those that nobody sees."""
        whole = Box.whole(self.image.size)
        around = seen.expanded(COLOUR_SPREAD).clipped(whole) if self.image.has_alpha else seen
        part = self.image.cropped(around)
        colours = np.divide(part.colour, np.iinfo(part.pixels.dtype).max, dtype=np.float32)
        if part.alpha is not None:
            colours = spread_colours(colours, part.alpha > 0)[seen.relative_to(around).slices]
        if self.upscaler.tiling.scale > 1 and colours.shape[2] == 1:
            colours = np.repeat(colours, 3, axis=2)
        return colours

    def scaled_alpha(self, target: Box) -> Tile:
        """Return the alpha of a part of the result, interpolated."""
        read = sources_of(self.axes, target)
        stored = self.image.pixels[read.slices][:, :, -1:]
        alpha = np.divide(stored, np.iinfo(stored.dtype).max, dtype=np.float32)
        return resample(alpha, self.axes, (read.top, read.left), target)


def tiles_of(image: Size, tiling: Tiling) -> list[Box]:
    """Return the tiles of an image of that size, see `Enlargement.tiles`."""
    return [
        Box(left, top, right, bottom)
        for top, bottom in tiling.spans(image.height)
        for left, right in tiling.spans(image.width)
    ]


def ramp(before: int, length: int, fade: int) -> NDArray[np.float32]:
    """Return the shares of a tile beside those that were written: they rise over twice `fade` pixels.

    before: pixels of the tile that lie in the tile before; 0 at the border of the image, where nothing fades.
    """
    if before == 0:
        return np.ones(length, np.float32)
    return np.clip((np.arange(length, dtype=np.float32) + 0.5) / (2 * fade), 0, 1)


def enlarge_padded(upscaler: Upscaler, tile: Tile, on_wait: OnWait) -> Tile:
    """Return a tile enlarged, continued beyond its last row and column for a network that takes certain sizes alone.

    Raises EngineFailed.
    """
    tiling, (height, width) = upscaler.tiling, tile.shape[:2]
    padded, sides = tile, [height, width]
    if tiling.padding is not None:
        multiple = tiling.multiple
        sides = [tiling.side if tiling.is_fixed else -(-side // multiple) * multiple for side in (height, width)]
        padded = np.pad(tile, ((0, sides[0] - height), (0, sides[1] - width), (0, 0)), tiling.padding)
    enlarged = upscaler.enlarge(padded, on_wait)
    expected = tiling.scale * sides[0], tiling.scale * sides[1], 3
    if enlarged.shape != expected or not np.isfinite(enlarged).all():
        raise EngineFailed(
            sentence(
                "The model {label} returned {shape}, not {expected}, or values that are not finite.",
                label=upscaler.label,
                shape=enlarged.shape,
                expected=expected,
            ),
            code="model_produced_invalid_output",
        )
    return enlarged[: tiling.scale * height, : tiling.scale * width]


def spread_colours(colours: Tile, is_visible: NDArray[np.bool_]) -> Tile:
    """Return colours [height, width, channels] with each transparent pixel that is at most COLOUR_SPREAD away from a
    visible one in the mean colour of the pixels beside it that are known already."""
    known = is_visible
    for _ in range(COLOUR_SPREAD):
        if known.all() or not known.any():
            break
        shares = np.pad(known.astype(np.float32), 1)
        shown = np.pad(colours * known[:, :, np.newaxis], ((1, 1), (1, 1), (0, 0)))
        total, count = np.zeros_like(colours), np.zeros(known.shape, np.float32)
        for down, across in product(range(3), repeat=2):
            rows, columns = slice(down, down + known.shape[0]), slice(across, across + known.shape[1])
            total += shown[rows, columns]
            count += shares[rows, columns]
        reached = ~known & (count > 0)
        colours = np.where(reached[:, :, np.newaxis], total / np.maximum(count, 1)[:, :, np.newaxis], colours)
        known = known | reached
    return colours
