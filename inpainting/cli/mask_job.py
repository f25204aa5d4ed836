"""Selecting an object from file to file: `manage.py mask`, and the values of its options."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TypeVar

from inpainting.cli.file_job import write_whole
from inpainting.core import masks
from inpainting.core.codecs import IntakeLimits, decode_image, encode_png
from inpainting.core.codecs.intake import DEFAULT_LIMITS
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage
from inpainting.core.mask_operations import Operation
from inpainting.core.masks import MaskPolarity
from inpainting.segmenters import registry
from inpainting.segmenters.base import Point, Selection, box_around, candidates_of

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class MaskJob:
    """The object to select in one image, and what is done with its mask."""

    image: Path
    out: Path
    selection: Selection
    segmenter: str
    operations: tuple[Operation, ...]
    polarity: MaskPolarity
    limits: IntakeLimits = DEFAULT_LIMITS

    def run(self) -> str:
        """Write the mask as a PNG of the image's size and return a report.

        Raises InvalidRequest where nothing is selected, whatever decoding raises, and OSError.
        """
        image = decode_image(self.image.read_bytes(), limits=self.limits).image
        mask = candidates_of(registry.find(self.segmenter), image, self.selection)[0].mask
        for operation in self.operations:
            mask = operation.apply(mask)
        if not mask.any():
            raise InvalidRequest("No object was found there.", code="mask_empty", field="points")
        share = masks.coverage(mask)
        if self.polarity is MaskPolarity.BLACK_REPAINTS:
            mask = masks.invert(mask)
        write_whole(self.out, encode_png(CanonicalImage.of_mask(mask)))
        return f"{100 * share:.3g} % selected"


def _argument(shape: str) -> Callable[[Callable[[str], Value]], Callable[[str], Value]]:
    """Let argparse report what a parser of text raises: the message of InvalidRequest, or else the expected shape."""

    def decorate(parse: Callable[[str], Value]) -> Callable[[str], Value]:
        @wraps(parse)
        def parse_argument(text: str) -> Value:
            try:
                return parse(text)
            except InvalidRequest as error:
                raise ArgumentTypeError(error.message) from None
            except (ValueError, OverflowError):
                raise ArgumentTypeError(f"{text!r} is not {shape}") from None

        return parse_argument

    return decorate


@_argument("X,Y")
def click(text: str) -> Point:
    """Parse X,Y: a point on the object."""
    x, y = map(float, text.split(","))
    return Point(x, y)


@_argument("X,Y")
def excluded(text: str) -> Point:
    """Parse X,Y: a point beside the object."""
    x, y = map(float, text.split(","))
    return Point(x, y, is_object=False)


@_argument("LEFT,TOP,RIGHT,BOTTOM")
def box(text: str) -> Box:
    """Parse LEFT,TOP,RIGHT,BOTTOM."""
    left, top, right, bottom = map(float, text.split(","))
    return box_around(left, top, right, bottom)


@_argument("NAME or NAME=PIXELS")
def operation(text: str) -> Operation:
    """Parse NAME or NAME=PIXELS."""
    name, equals, pixels = text.partition("=")
    found = Operation(name, int(pixels) if equals else None)
    if found.combines:
        raise InvalidRequest(f"{name} needs another mask, which this command does not take.", field="operations")
    return found
