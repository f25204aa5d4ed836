"""Sizes, boxes, and the window that maps image coordinates to an engine's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidRequest(
                sentence("an image is at least 1x1, got {width}x{height}", width=self.width, height=self.height)
            )

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def area(self) -> int:
        return self.width * self.height

    @property
    def longer(self) -> int:
        return max(self.width, self.height)

    @property
    def shorter(self) -> int:
        return min(self.width, self.height)

    def within(self, bounds: Size) -> Size:
        """Return the largest size of this ratio within the bounds, rounded, at least 1x1."""
        scale = min(Fraction(bounds.width, self.width), Fraction(bounds.height, self.height))
        return Size(max(1, round(self.width * scale)), max(1, round(self.height * scale)))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels: left and top inclusive, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if self.right <= self.left or self.bottom <= self.top:
            raise InvalidRequest(sentence("a box holds at least one pixel, got {self}", self=self))

    @property
    def size(self) -> Size:
        return Size(self.right - self.left, self.bottom - self.top)

    def to_list(self) -> list[int]:
        """Return left, top, right and bottom."""
        return [self.left, self.top, self.right, self.bottom]

    @property
    def slices(self) -> tuple[slice, slice]:
        """The slices that index the pixels of the box: `pixels[box.slices]`."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @classmethod
    def whole(cls, image: Size) -> Box:
        """Return all of an image."""
        return cls(0, 0, image.width, image.height)

    def expanded(self, pixels: int) -> Box:
        """Return a box that is larger by `pixels` on every side; it may extend beyond the image."""
        return Box(self.left - pixels, self.top - pixels, self.right + pixels, self.bottom + pixels)

    def clipped(self, to: Box) -> Box:
        """Return the intersection with `to`. Raises InvalidRequest where it is empty."""
        return Box(
            max(self.left, to.left), max(self.top, to.top), min(self.right, to.right), min(self.bottom, to.bottom)
        )

    def union(self, other: Box) -> Box:
        """Return the smallest box that contains both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def tiles(self, side: int) -> list[Box]:
        """Return squares of that side that cover the box, row by row; smaller at its right and bottom."""
        return [
            Box(left, top, left + side, top + side).clipped(self)
            for top in range(self.top, self.bottom, side)
            for left in range(self.left, self.right, side)
        ]

    def contains(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def moved(self, right: int, down: int) -> Box:
        """Return this box that many pixels further right and down."""
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)

    def relative_to(self, other: Box) -> Box:
        """Return this box in coordinates whose origin is the top left corner of `other`."""
        return self.moved(-other.left, -other.top)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the source image of an outpainting lies on the canvas."""

    canvas: Size
    source: Size  # its size as it was sent
    box: Box  # in the pixels of the canvas; of another size where the source was scaled

    @property
    def is_scaled(self) -> bool:
        return self.box.size != self.source

    def to_dict(self) -> dict[str, Any]:
        """Return the window as the metadata of a generation contain it: without the canvas, whose size is that of the
        result."""
        sides = {"source_width": self.source.width, "source_height": self.source.height}
        return {**sides, "source_box": self.box.to_list()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], canvas: Size) -> Placement:
        return cls(canvas, Size(values["source_width"], values["source_height"]), Box(*values["source_box"]))


@dataclass(frozen=True, slots=True)
class WindowRule:
    """The context around the mask that an engine needs, and the sizes at which it works.

    Raises ValueError for a rule that no window can satisfy: rules come from engines, not from requests.
    """

    context: float  # pixels added on each side, as a share of the mask's longer side, and at least `min_context` pixels
    min_context: int = 32
    # `min_side`, `max_side`: the window is enlarged, or scaled for the engine, until the sides of its work size lie
    # between them (max_side None: no limit).
    min_side: int = 1
    max_side: int | None = None
    multiple: int = 1  # the work size's sides are multiples of this
    # A window smaller than the work size is scaled up at most so many times; beyond, it takes in more of the image.
    max_upscaling: float = 1.0
    # The work size, overriding the sides above. An image too small for its aspect ratio is stretched, or painted at a
    # smaller work size of its own ratio where `keeps_ratio`.
    exact: Size | None = None
    keeps_ratio: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.context) and self.context >= 0 and self.min_context >= 0):
            raise ValueError(f"context is a share and pixels of at least 0, got {self.context}, {self.min_context}")
        if self.min_side < 1 or self.multiple < 1:
            raise ValueError(f"sides and multiples are at least 1, got {self.min_side}, {self.multiple}")
        if not (math.isfinite(self.max_upscaling) and self.max_upscaling >= 1):
            raise ValueError(f"windows are scaled up at least 1 time, got {self.max_upscaling}")
        if self.largest is not None and self.largest < self.smallest:
            raise ValueError(f"no multiple of {self.multiple} lies from {self.min_side} to {self.max_side}")

    @property
    def smallest(self) -> int:
        """The shortest work side: `min_side` rounded up to a multiple."""
        return -(-self.min_side // self.multiple) * self.multiple

    @property
    def largest(self) -> int | None:
        """The longest work side: `max_side` rounded down to a multiple."""
        return None if self.max_side is None else self.max_side // self.multiple * self.multiple


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the image (`box`, image coordinates) and the size at which the engine works on it (`work`)."""

    box: Box
    work: Size
    # The boxes whose part of the mask is painted in turn, where an outpainting needs several passes, or the tiles of
    # `engines.tiles`; the engine gets a window for each, and `box` holds them all.
    passes: tuple[Box, ...] = ()

    @property
    def part_count(self) -> int:
        """In how many parts it is painted: one, or the number of `passes`."""
        return max(1, len(self.passes))

    @property
    def scale(self) -> tuple[float, float]:
        """Work pixels for one image pixel, across and down."""
        return self.work.width / self.box.size.width, self.work.height / self.box.size.height

    def to_dict(self) -> dict[str, Any]:
        """Return the window as it is stored."""
        passes = {"passes": [box.to_list() for box in self.passes]} if self.passes else {}
        return {"window": self.box.to_list(), "work_size": [self.work.width, self.work.height], **passes}

    def to_answer(self) -> dict[str, Any]:
        """Return the window as the API shows it, with its scale."""
        return {**self.to_dict(), "scale": [round(side, 4) for side in self.scale]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Window:
        passes = tuple(Box(*box) for box in values.get("passes", ()))
        return cls(Box(*values["window"]), Size(*values["work_size"]), passes)


MAX_UPSCALING = 8
"""Without a `max_side`, a thin image is scaled up to at most this many times `min_side`, not to 8192x64."""


def plan_window(mask_bounds: Box, image: Size, rule: WindowRule) -> Window:
    """Choose the window of an image of size `image` for an engine with this `rule`.

    The window lies in the image and holds `mask_bounds` with at least one kept pixel around it wherever the image
    has one. To reach the engine's sides it is scaled up, at most `max_upscaling` times, and then takes in more of the
    image; only where the image ends is it scaled up further, and where it exceeds `max_side` it is scaled down. Both
    axes are scaled alike but for rounding to `multiple`. Where an image is too thin for both limits, `max_side` is kept
    and `min_side` is not.
    Raises InvalidRequest when `mask_bounds` extends beyond the image.
    """
    if not Box.whole(image).contains(mask_bounds):
        raise InvalidRequest(
            sentence("{mask_bounds} extends beyond the image of {image}", mask_bounds=mask_bounds, image=image)
        )
    box = context_box(mask_bounds, image, rule)
    if rule.exact is not None:
        return _exact_window(box, image, rule.exact, rule)
    least = math.ceil(rule.smallest / rule.max_upscaling)
    width, height = min(max(box.size.width, least), image.width), min(max(box.size.height, least), image.height)
    longer, shorter = max(width, height), min(width, height)
    max_longer = rule.largest or max(longer, MAX_UPSCALING * rule.smallest)
    scale = min(max(1.0, rule.smallest / shorter), max_longer / longer)
    left, right, work_width = _axis(box.left, box.right, width, image.width, scale, rule)
    top, bottom, work_height = _axis(box.top, box.bottom, height, image.height, scale, rule)
    return Window(Box(left, top, right, bottom), Size(work_width, work_height))


def context_box(mask_bounds: Box, image: Size, rule: WindowRule) -> Box:
    """Return the mask's bounds with the context around them that the rule asks for, within the image."""
    # As in `_axis`: 0.3 * 20 may come out a hair over 6.
    margin = max(1, rule.min_context, math.ceil(rule.context * mask_bounds.size.longer - 1e-9))
    return mask_bounds.expanded(margin).clipped(Box.whole(image))


def _exact_window(box: Box, image: Size, work: Size, rule: WindowRule) -> Window:
    """Return the window of the work size's aspect ratio around `box`, scaled up as far as `box` and the rule allow."""
    scale = max(1 / rule.max_upscaling, box.size.width / work.width, box.size.height / work.height)
    # An image that is smaller than the work size on both axes is scaled up further.
    scale = min(scale, max(image.width / work.width, image.height / work.height))
    left, right = _enlarge(box.left, box.right, round(work.width * scale), image.width)
    top, bottom = _enlarge(box.top, box.bottom, round(work.height * scale), image.height)
    window = Box(left, top, right, bottom)
    if rule.keeps_ratio:
        sides = (window.size.width / scale, window.size.height / scale)
        width, height = (max(1, round(side / rule.multiple)) * rule.multiple for side in sides)
        work = Size(min(width, work.width), min(height, work.height))
    return Window(window, work)


def _enlarge(start: int, end: int, side: int, limit: int) -> tuple[int, int]:
    """Return start..end enlarged to `side` and kept within 0..limit; shorter only where the limit is."""
    side = min(max(side, end - start), limit)
    start = min(max(start - (side - (end - start)) // 2, 0), limit - side)
    return start, start + side


def _axis(start: int, end: int, side: int, limit: int, scale: float, rule: WindowRule) -> tuple[int, int, int]:
    """Enlarge, along one axis, start..end to `side` or a little more, within 0..limit; return its ends and its work
    side."""
    # Binary fractions: 3 * (512 / 3) may come out a hair over 512 and must not round up to the next multiple.
    work = max(math.ceil(side * scale / rule.multiple - 1e-9) * rule.multiple, rule.smallest)
    if work / scale <= limit:
        side = max(round(work / scale), side)
    else:
        side = limit
        work = max(round(side * scale / rule.multiple), 1) * rule.multiple
    if rule.largest is not None:
        work = min(work, rule.largest)
    return *_enlarge(start, end, side, limit), work


def row_strips(height: int, width: int) -> list[tuple[int, int]]:
    """Return top and bottom of horizontal strips of about a megapixel: what is held as float at any one time."""
    rows = max(2**20 // width, 64)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]
