"""Selecting an object from file to file: `manage.py mask`, and the values of its options."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from inpainting.cli.file_job import write_whole
from inpainting.core import masks
from inpainting.core.codecs import decode_picture, encode_png
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.mask_operations import Operation
from inpainting.core.masks import MaskPolarity
from inpainting.core.picture import Picture
from inpainting.segmenters import registry
from inpainting.segmenters.base import Point, Selection, box_around

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class MaskJob:
    """The object to select in one picture, and what is done with its mask."""

    image: Path
    out: Path
    selection: Selection
    segmenter: str
    operations: tuple[Operation, ...]
    polarity: MaskPolarity

    def run(self) -> str:
        """Write the mask as a PNG of the picture's size and return a report.

        Raises InvalidRequest where nothing is selected, whatever decoding raises, and OSError.
        """
        picture = decode_picture(self.image.read_bytes()).picture
        mask = registry.find(self.segmenter).segment(picture, self.selection.within(picture.size))
        for operation in self.operations:
            mask = operation.apply(mask)
        if not mask.any():
            raise InvalidRequest("No object was found there.", code="mask_empty", field="points")
        share = masks.coverage(mask)
        if self.polarity is MaskPolarity.BLACK_REPAINTS:
            mask = masks.invert(mask)
        write_whole(self.out, encode_png(Picture(mask[:, :, None])))
        return f"{100 * share:.3g} % selected"


def _argument(parse: Callable[[str], Value], text: str, shape: str) -> Value:
    """The parsed value. Raises ArgumentTypeError with the message of InvalidRequest, or with the expected shape."""
    try:
        return parse(text)
    except InvalidRequest as error:
        raise ArgumentTypeError(error.message) from None
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"{text!r} is not {shape}") from None


def click(text: str) -> Point:
    """Parse X,Y: a point on the object."""

    def parse(text: str) -> Point:
        x, y = map(float, text.split(","))
        return Point(x, y)

    return _argument(parse, text, "X,Y")


def excluded(text: str) -> Point:
    """Parse X,Y: a point beside the object."""
    point = click(text)
    return Point(point.x, point.y, is_object=False)


def box(text: str) -> Box:
    """Parse LEFT,TOP,RIGHT,BOTTOM."""

    def parse(text: str) -> Box:
        left, top, right, bottom = map(float, text.split(","))
        return box_around(left, top, right, bottom)

    return _argument(parse, text, "LEFT,TOP,RIGHT,BOTTOM")


def operation(text: str) -> Operation:
    """Parse NAME or NAME=PIXELS."""

    def parse(text: str) -> Operation:
        name, equals, pixels = text.partition("=")
        found = Operation(name, int(pixels) if equals else None)
        if found.combines:
            raise InvalidRequest(f"{name} needs another mask, which this command does not take.", field="operations")
        return found

    return _argument(parse, text, "NAME or NAME=PIXELS")
