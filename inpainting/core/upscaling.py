"""How an image is enlarged: by a factor or to one of its sides, and with how much detail of a diffusion model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from inpainting.core.codecs.intake import Intake, IntakeLimits
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.sentences import mark, sentence
from inpainting.core.setting import UPSCALE, SettingGroup, rows_of, setting

DEFAULT_SCALE = 2.0
SCALES = (1.5, 4.0)
"""The lowest and the highest factor, both allowed."""
MAX_SIDE = 16_384
SHAPE_TOLERANCE = 0.01
"""By which a width and a height that are sent together may differ from the shape of the image, as a share."""


_upscale = partial(setting, group=SettingGroup.UPSCALE, read_by=frozenset({UPSCALE}))


@dataclass(frozen=True, slots=True)
class Upscale:
    """What a request says about the result: a factor, a width or a height in pixels, or both of these; and its detail.

    The fields are rows as those of `PaintSettings`. Raises InvalidRequest for numbers out of their ranges, and for a
    factor beside a size.
    """

    scale: float | None = _upscale(
        label=mark("Enlarge by"),
        help=mark("How many times larger the sides become."),
        default_text=f"{DEFAULT_SCALE:g}",
        range=SCALES,
    )
    width: int | None = _upscale(
        label=mark("Enlarge to a width"),
        help=mark("Of the result, in place of scale: above the image's, at most 4 times."),
        default_text=mark("by scale"),
        unit="px",
        range=(1, MAX_SIDE),
    )
    height: int | None = _upscale(
        label=mark("Enlarge to a height"),
        help=mark("As width; with both, the shape of the image has to stay."),
        default_text=mark("by scale"),
        unit="px",
        range=(1, MAX_SIDE),
    )
    detail: float = _upscale(
        label=mark("Add detail"),
        help=mark(
            "The denoising strength with which a diffusion model paints the enlarged image in tiles; such as 0.3. "
            "0 adds no detail."
        ),
        default=0.0,
        range=(0, 1),
    )
    detail_model: str | None = _upscale(
        label=mark("Model that adds detail"),
        help=mark("The diffusion model. Without detail, the fields of painting have no effect."),
        default_text=mark("that of POST /api/img2img"),
        catalog_kind="checkpoint",
    )

    def __post_init__(self) -> None:
        for row in UPSCALE_ROWS:
            if (value := getattr(self, row.name)) is not None:
                row.check(value)
        for name in ("width", "height"):
            if self.scale is not None and getattr(self, name) is not None:
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


UPSCALE_ROWS = rows_of(Upscale)


def upscale_from(values: Mapping[str, Any]) -> Upscale:
    """Return what the fields of a form, or parsed options, say. Raises InvalidRequest."""
    sent = {row.name: values.get(row.name) for row in UPSCALE_ROWS}
    return Upscale(**{name: value for name, value in sent.items() if value is not None})
