"""The segmenter interface: where the object is, the declaration, and the method `segment`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.picture import Mask, Picture
from inpainting.core.validation import check_count, check_range

MAX_POINTS = 100


@dataclass(frozen=True, slots=True)
class Point:
    """A point in pixels from the image's top left corner, on the object or beside it."""

    x: float
    y: float
    is_object: bool = True


@dataclass(frozen=True, slots=True)
class Selection:
    """Where the object is: points on and beside it, a box around it, or both.

    Raises InvalidRequest without a box and without a point on the object, and for more than MAX_POINTS points.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None

    def __post_init__(self) -> None:
        check_count("points", len(self.points), MAX_POINTS, f"points has {len(self.points)} entries")
        if self.box is None and not self.objects:
            message = "Mark the object: send a point on it, or a box around it."
            raise InvalidRequest(message, code="field_missing", field="points")

    @property
    def objects(self) -> tuple[Point, ...]:
        """The points on the object."""
        return tuple(point for point in self.points if point.is_object)

    def within(self, image: Size) -> Selection:
        """The selection with its box clipped to the image. Raises InvalidRequest for a point or a box outside."""
        for point in self.points:
            check_range("x", point.x, 0, image.width, field="points")
            check_range("y", point.y, 0, image.height, field="points")
        if self.box is None:
            return self
        try:
            return Selection(self.points, self.box.clipped(Box.whole(image)))
        except InvalidRequest as error:
            message = f"box lies outside the image, which is {image}."
            raise InvalidRequest(message, code="field_out_of_range", field="box") from error


def box_around(left: float, top: float, right: float, bottom: float) -> Box:
    """The pixels that a box with fractions touches. Raises InvalidRequest for an empty one."""
    edges = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        raise InvalidRequest("box is left, top, right, bottom; right and bottom must be larger.", field="box")
    return Box(*edges)


class Segmenter(Protocol):
    """Finds the pixels of one object. Deterministic: the same picture and selection give the same mask."""

    name: str
    label: str

    def segment(self, picture: Picture, selection: Selection) -> Mask:
        """The object's pixels as 255, all others as 0; nothing where no object is found.

        selection: within the picture. Its points on the object decide which of several pieces belong to it.
        """
        ...
