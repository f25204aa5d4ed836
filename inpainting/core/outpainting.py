"""Outpainting: a source image on a larger canvas, and the mask of the border around it.

`Outpaint` declares the fields of a request as rows like those of the table of settings. `extend` makes canvas and mask;
all that follows is inpainting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fractions import Fraction
from functools import partial
from typing import Any, cast

import cv2
import numpy as np

from inpainting.core import masks
from inpainting.core.codecs.intake import DEFAULT_LIMITS, HIGHEST_SIDE, Intake, IntakeLimits
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Placement, Size
from inpainting.core.image import CanonicalImage, Mask, Pixels
from inpainting.core.resizing import resize
from inpainting.core.sentences import mark, pmark, sentence
from inpainting.core.setting import EVERY_ENGINE, SettingGroup, rows_of, setting

SIZE = re.compile(r"([1-9][0-9]{0,5})[xX]([1-9][0-9]{0,5})")
RATIO = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?):([0-9]{1,4}(?:\.[0-9]{1,4})?)")
SIDES = ("left", "top", "right", "bottom")


class Anchor(StrEnum):
    """Where the source image lies on the canvas."""

    CENTER = "center"
    LEFT = "left"
    TOP = "top"
    RIGHT = "right"
    BOTTOM = "bottom"
    TOP_LEFT = "top_left"
    TOP_RIGHT = "top_right"
    BOTTOM_LEFT = "bottom_left"
    BOTTOM_RIGHT = "bottom_right"

    def offset(self, across: int, down: int) -> tuple[int, int]:
        """Return left and top of the source image, where the canvas is wider by `across` pixels and higher by
        `down`."""
        words = self.split("_")
        left = 0 if "left" in words else across if "right" in words else across // 2
        return left, 0 if "top" in words else down if "bottom" in words else down // 2


class Fit(StrEnum):
    """How the source image is scaled to a canvas, by the names of CSS `object-fit`."""

    SCALE_DOWN = "scale_down"
    CONTAIN = "contain"


_canvas = partial(setting, group=SettingGroup.OUTPAINT, read_by=frozenset({EVERY_ENGINE}))
_side = partial(
    _canvas,
    default=0,
    unit="px",
    range=(0, HIGHEST_SIDE),
    no_option="On the command line: --outpaint left=256,right=256.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpaint:
    """The canvas of a request: pixels to add to the sides, or a size, or a ratio of width to height.

    The fields are rows as those of `PaintSettings`; their public names begin with `outpaint_`.
    Raises InvalidRequest for values out of range and for fields that contradict each other.
    """

    left: int = _side(label=mark("Outpaint left"), help=mark("Pixels to add on the left."))
    top: int = _side(label=mark("Outpaint top"), help=mark("Pixels to add above."))
    right: int = _side(label=mark("Outpaint right"), help=mark("Pixels to add on the right."))
    bottom: int = _side(label=mark("Outpaint bottom"), help=mark("Pixels to add below."))
    # "1536x1024".
    size: str | None = _canvas(
        label=mark("Outpaint to a size"),
        help=mark("Size of the result, such as 1536x1024, in place of pixels for the sides."),
        default_text=pmark("a size", "none"),
        max_length=13,
    )
    # "16:9"; the canvas is the smallest one of that ratio that holds the source image.
    ratio: str | None = _canvas(
        label=mark("Outpaint to a ratio"),
        help=mark(
            "Ratio of width to height, such as 16:9, in place of a size: pixels are added to the two sides that are "
            "too short for it."
        ),
        default_text=pmark("a ratio", "none"),
        max_length=19,
    )
    # For size and ratio.
    anchor: str | None = _canvas(
        label=mark("Anchor"),
        help=mark("Where the source image lies in the result, for outpaint_size and outpaint_ratio."),
        default_text=Anchor.CENTER.value,
        choices=tuple(anchor.value for anchor in Anchor),
    )
    # For a size.
    fit: str | None = _canvas(
        label=pmark("a setting", "Fit"),
        help=mark(
            "For outpaint_size: scale_down makes a source image that is larger than the result smaller; contain also "
            "enlarges a smaller one until it reaches two sides of the result."
        ),
        default_text=Fit.SCALE_DOWN.value,
        choices=tuple(fit.value for fit in Fit),
    )

    def __post_init__(self) -> None:
        for row in OUTPAINT_ROWS:
            value = getattr(self, row.name.removeprefix("outpaint_"))
            if value is not None:
                row.check(value)
        given = [f"outpaint_{name}" for name in (*SIDES, "size", "ratio") if getattr(self, name)]
        targets = [name for name in given if name in ("outpaint_size", "outpaint_ratio")]
        if targets and len(given) > 1:
            raise InvalidRequest(
                sentence("{one} and {other} contradict each other: send one.", one=given[0], other=targets[-1]),
                field=targets[-1],
            )
        if self.anchor and not targets:
            raise InvalidRequest(
                sentence("outpaint_anchor has no effect without outpaint_size or outpaint_ratio."),
                field="outpaint_anchor",
            )
        if self.fit and not self.size:
            raise InvalidRequest(sentence("outpaint_fit has no effect without outpaint_size."), field="outpaint_fit")
        if self.size and not SIZE.fullmatch(self.size):
            message = sentence("outpaint_size must be width and height in pixels, such as 1536x1024.")
            raise InvalidRequest(message, field="outpaint_size")
        if self.ratio and not ((found := RATIO.fullmatch(self.ratio)) and float(found[1]) and float(found[2])):
            message = sentence("outpaint_ratio must be width and height, such as 16:9.")
            raise InvalidRequest(message, field="outpaint_ratio")

    @property
    def field(self) -> str:
        """The name of the field that decides the size of the canvas, for errors."""
        return f"outpaint_{next((name for name in ('size', 'ratio', *SIDES) if getattr(self, name)), 'left')}"

    def placement(self, source: Size) -> Placement:
        """Return where a source image of this size lies on the canvas. Limits on the canvas are not checked."""
        if not self.size and not self.ratio:
            canvas = Size(source.width + self.left + self.right, source.height + self.top + self.bottom)
            return Placement(canvas, source, _box(self.left, self.top, source))
        canvas, placed = self._canvas_of(source), source
        if self.size:
            fits = source.width <= canvas.width and source.height <= canvas.height
            if not fits or self.fit == Fit.CONTAIN:
                placed = source.within(canvas)
        across, down = canvas.width - placed.width, canvas.height - placed.height
        return Placement(canvas, source, _box(*Anchor(self.anchor or Anchor.CENTER).offset(across, down), placed))

    def _canvas_of(self, source: Size) -> Size:
        if self.size and (found := SIZE.fullmatch(self.size)):
            return Size(int(found[1]), int(found[2]))
        width, height = map(Fraction, cast(str, self.ratio).split(":"))
        return Size(
            max(source.width, round(source.height * width / height)),
            max(source.height, round(source.width * height / width)),
        )


OUTPAINT_ROWS = tuple(
    replace(row, name=f"outpaint_{row.name}", public_name=f"outpaint_{row.name}") for row in rows_of(Outpaint)
)
"""The rows of `Outpaint`, under the names of its fields in requests."""


def outpaint_from(values: Mapping[str, Any]) -> Outpaint | None:
    """Return the `Outpaint` of a request's values by public name; None where they ask for no canvas.

    Raises InvalidRequest.
    """
    sent: dict[str, Any] = {field.name: values.get(f"outpaint_{field.name}") for field in fields(Outpaint)}
    sent = {name: value for name, value in sent.items() if value not in (None, "")}
    outpaint = Outpaint(**sent)
    return None if outpaint == Outpaint() else outpaint


def extend(
    image: CanonicalImage,
    outpaint: Outpaint,
    mask: Mask | None = None,
    *,
    may_be_unchanged: bool = False,
    limits: IntakeLimits = DEFAULT_LIMITS,
) -> tuple[CanonicalImage, Mask, Placement]:
    """Return the canvas with the source image on it, the mask of the border, and where the source image lies.

    mask: canonical, of the source image's size; it is placed with the image and repainted as well. The border continues
        the edge pixels. The source image's pixels are the same bit for bit where `Placement.is_scaled` is False.
    The mask is empty where a scaled source image covers the canvas; with `may_be_unchanged` also where one covers it
    that was not scaled. Raises InvalidRequest: `image_dimensions` for a canvas above the limits, else `mask_empty`.
    """
    placement = outpaint.placement(image.size)
    check_canvas(placement.canvas, image, field=outpaint.field, limits=limits)
    canvas, box = place(image, placement), placement.box
    band = np.full((placement.canvas.height, placement.canvas.width), 255, np.uint8)
    band[box.slices] = 0 if mask is None else masks.scale_mask(mask, box.size)
    if not (band.any() or placement.is_scaled or may_be_unchanged):
        raise InvalidRequest(
            sentence(
                "Nothing to outpaint: the result would have the size of the image, {canvas}.", canvas=placement.canvas
            ),
            code="mask_empty",
            field=outpaint.field,
        )
    return canvas, band, placement


def place(image: CanonicalImage, placement: Placement) -> CanonicalImage:
    """Return the canvas with the source image on it, scaled where the placement says so; its edge pixels continue."""
    placed, box = resize(image, placement.box.size), placement.box
    borders = (box.top, placement.canvas.height - box.bottom, box.left, placement.canvas.width - box.right)
    pixels = cv2.copyMakeBorder(np.ascontiguousarray(placed.pixels), *borders, cv2.BORDER_REPLICATE)
    pixels = pixels.reshape(placement.canvas.height, placement.canvas.width, -1)
    return CanonicalImage(cast(Pixels, pixels), image.icc_profile, image.metadata)


def check_canvas(canvas: Size, image: CanonicalImage, *, field: str, limits: IntakeLimits) -> None:
    """Raise InvalidImage, `image_dimensions`, for a canvas that is larger than an uploaded image may be."""
    intake = Intake(field, limits)
    if image.bits == 16:
        kind = sentence(" after outpainting, with 16 bits a channel")
        intake.check_size(canvas.width, canvas.height, max_pixels=limits.max_pixels_16_bit, kind=kind)
    else:
        intake.check_size(canvas.width, canvas.height, kind=sentence(" after outpainting"))


def _box(left: int, top: int, size: Size) -> Box:
    return Box(left, top, left + size.width, top + size.height)
