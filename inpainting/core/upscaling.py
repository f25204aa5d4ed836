"""The size of an enlarged image, from a factor or from one of its sides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inpainting.core.codecs.intake import Intake, IntakeLimits
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.sentences import sentence
from inpainting.core.validation import check_range

DEFAULT_SCALE = 2.0
SCALES = (1.5, 4.0)
"""The lowest and the highest factor, both allowed."""
MAX_SIDE = 16_384
SHAPE_TOLERANCE = 0.01
"""By which a width and a height that are sent together may differ from the shape of the image, as a share."""


@dataclass(frozen=True, slots=True)
class Upscale:
    """What a request says about the size: a factor, a width or a height in pixels, or both of these.

    Raises InvalidRequest for numbers out of their ranges, and for a factor beside a size.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        if self.scale is not None:
            check_range("scale", self.scale, *SCALES)
        for name in ("width", "height"):
            if (side := getattr(self, name)) is not None:
                check_range(name, side, 1, MAX_SIDE)
                if self.scale is not None:
                    raise InvalidRequest(
                        sentence("scale and {name} contradict each other: send one of them.", name=name), field=name
                    )

    @property
    def field(self) -> str:
        """The field that the size follows from."""
        return next((name for name in ("width", "height") if getattr(self, name) is not None), "scale")

    def size_of(self, image: Size) -> Size:
        """Return the size of the result. Raises InvalidRequest for one that is no larger, or of another shape."""
        if self.width is None and self.height is None:
            factor = self.scale or DEFAULT_SCALE
            return Size(round(image.width * factor), round(image.height * factor))
        by_width = Size(self.width, round(image.height * self.width / image.width)) if self.width else None
        by_height = Size(round(image.width * self.height / image.height), self.height) if self.height else None
        if by_width and by_height:
            if not math.isclose(by_width.height, by_height.height, rel_tol=SHAPE_TOLERANCE, abs_tol=1):
                raise InvalidRequest(
                    sentence(
                        "{width}x{height} is of another shape than the image, {image}. Send one of both.",
                        width=self.width,
                        height=self.height,
                        image=image,
                    ),
                    field="height",
                )
            size = Size(by_width.width, by_height.height)
        else:
            size = by_width or by_height or image
        factor = max(size.width / image.width, size.height / image.height)
        if not 1 < factor <= SCALES[1]:
            raise InvalidRequest(
                sentence(
                    "{size} is {factor:.2f} times the image of {image}; it must be larger, at most {value:g} times.",
                    size=size,
                    factor=factor,
                    image=image,
                    value=SCALES[1],
                ),
                code="field_out_of_range",
                field=self.field,
                limit=SCALES[1],
                actual=round(factor, 4),
            )
        return size

    def checked_size(self, image: CanonicalImage, limits: IntakeLimits) -> Size:
        """Return the size of the result. Raises InvalidImage, `image_dimensions`, above the limits of images."""
        return self.planned_size(image.size, limits, bits=image.bits)

    def planned_size(self, image: Size, limits: IntakeLimits, *, bits: int = 8) -> Size:
        """Return the size of the result for an image of that size, see `checked_size`. bits: of a channel, 8 or 16."""
        size, intake = self.size_of(image), Intake(self.field, limits)
        if bits == 16:
            kind = sentence(" after upscaling, with 16 bits a channel")
            return intake.check_size(size.width, size.height, max_pixels=limits.max_pixels_16_bit, kind=kind)
        return intake.check_size(size.width, size.height, kind=sentence(" after upscaling"))


def upscale_from(values: Mapping[str, Any]) -> Upscale:
    """Return what the fields of a form say."""
    return Upscale(values.get("scale"), values.get("width"), values.get("height"))
