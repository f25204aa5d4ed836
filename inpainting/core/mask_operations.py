"""Operations on masks by name, as `POST /api/masks/operations/` and `manage.py mask` take them.

Masks are canonical: [height, width], 255 = selected, 0 = not, between = partial. Every operation returns a new mask of
the same size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.feathering import Feather
from inpainting.core.geometry import row_strips
from inpainting.core.image import Mask
from inpainting.core.sentences import sentence
from inpainting.core.validation import check_range

FIELD = "operations"
"""The field of a request that contains them, for errors."""
MAX_OPERATIONS = 10
MAX_PIXELS = 256
"""Largest radius of `grow`, `shrink` and `feather`: the limit of the settings `mask_grow` and `mask_blur`."""
MAX_SMOOTHING = 64
MAX_AREA = 2**31


def smooth(mask: Mask, pixels: int) -> Mask:
    """Round off bumps and dents of the outline that are smaller than `pixels`. The result has no greys.

    A Gaussian of that standard deviation, cut at one half, moves a straight edge nowhere.
    """
    blurred = cv2.GaussianBlur(mask, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE)
    return np.where(blurred > 127, np.uint8(255), np.uint8(0))


def feather(mask: Mask, pixels: int) -> Mask:
    """Soften the edge inward over `pixels`, with the weights by which a painting is blended."""
    weights, feathered = Feather(mask, pixels), np.empty_like(mask)
    for top, bottom in row_strips(*mask.shape):
        feathered[top:bottom] = np.rint(weights.rows(top, bottom) * 255)
    return feathered


def fill_holes(mask: Mask, area: int = MAX_AREA) -> Mask:
    """Select the holes of at most `area` pixels: regions that are not selected and do not touch the border."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask == 0).view(np.uint8), connectivity=4)
    height, width = mask.shape
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    is_hole = (left > 0) & (top > 0) & (right < width) & (bottom < height) & (stats[:, cv2.CC_STAT_AREA] <= area)
    is_hole[0] = False  # the selected pixels
    return np.where(is_hole[labels], np.uint8(255), mask) if count > 1 else mask


def remove_specks(mask: Mask, area: int) -> Mask:
    """Deselect the regions of fewer than `area` pixels, which are connected by sides or corners."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0).view(np.uint8), connectivity=8)
    is_kept = stats[:, cv2.CC_STAT_AREA] >= area
    return np.where(is_kept[labels], mask, np.uint8(0))


@dataclass(frozen=True, slots=True)
class Numeric:
    """An operation with a whole number."""

    apply: Callable[[Mask, int], Mask]
    highest: int
    default: int | None = None  # the number where none is sent, None where it must be sent


NUMERIC: dict[str, Numeric] = {
    "grow": Numeric(masks.grow, MAX_PIXELS),
    "shrink": Numeric(lambda mask, pixels: masks.grow(mask, -pixels), MAX_PIXELS),
    "feather": Numeric(feather, MAX_PIXELS),
    "smooth": Numeric(smooth, MAX_SMOOTHING),
    "fill_holes": Numeric(fill_holes, MAX_AREA, MAX_AREA),
    "remove_specks": Numeric(remove_specks, MAX_AREA),
}
COMBINING: dict[str, Callable[[Mask, Mask], Mask]] = {
    "add": np.maximum,
    "subtract": lambda mask, other: np.minimum(mask, masks.invert(other)),
    "intersect": np.minimum,
}
"""Operations with another mask of the same size."""
NAMES = (*NUMERIC, "invert", *COMBINING)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Raises InvalidRequest for an unknown name, and for a number that is missing or out of range.
    """

    name: str
    pixels: int | None = None  # the number of a NUMERIC one, a width or an area

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            name = self.name[:60].encode(errors="replace").decode()
            message = sentence(
                "There is no operation “{name}”; the operations are: {names}.", name=name, names=", ".join(NAMES)
            )
            raise InvalidRequest(message, field=FIELD)
        if self.name in NUMERIC:
            check_range(self.name, self.number, 1, NUMERIC[self.name].highest, field=FIELD)

    @property
    def number(self) -> int:
        number = NUMERIC[self.name].default if self.pixels is None else self.pixels
        if number is None:
            raise InvalidRequest(
                sentence("{name} needs pixels, a whole number.", name=self.name), code="field_missing", field=FIELD
            )
        return number

    @property
    def combines(self) -> bool:
        """Whether it needs another mask."""
        return self.name in COMBINING

    def apply(self, mask: Mask, other: Mask | None = None) -> Mask:
        """Return the mask after this operation.

        other: the mask that it is combined with.

        Raises InvalidRequest without another mask where one is needed, and (`mask_size_mismatch`) for another size.
        """
        if self.name in NUMERIC:
            return NUMERIC[self.name].apply(mask, self.number)
        if not self.combines:
            return masks.invert(mask)
        if other is None:
            raise InvalidRequest(sentence("{name} needs a mask.", name=self.name), code="field_missing", field=FIELD)
        if other.shape != mask.shape:
            (height, width), (own_height, own_width) = other.shape, mask.shape
            message = sentence(
                "The mask to {name} is {width}x{height}, the mask {own_width}x{own_height}.",
                name=self.name,
                width=width,
                height=height,
                own_width=own_width,
                own_height=own_height,
            )
            raise InvalidRequest(message, code="mask_size_mismatch", field=FIELD)
        return COMBINING[self.name](mask, other)
