"""Masks: `normalise` converts a caller's mask to the canonical form; other functions scale, grow and feather it.

The canonical form is [height, width] of 8 bits, 255 = repaint, 0 = keep, grey = partial.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs.colour import to_8_bits
from inpainting.core.errors import InvalidRequest
from inpainting.core.feathering import STRIP_PIXELS, Feather, squared_distances
from inpainting.core.geometry import Box, Size, row_strips
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import Sentence, pmark, sentence

MASK = pmark("a file that was sent", "mask")
"""The word for a mask in messages."""
MAX_MASK_BYTES = 10 * 2**20
"""Largest mask file that is accepted, as the published API documents it."""
NEARLY_FULL = 0.6
"""Above this coverage a warning is given, because an engine has little context left."""


class MaskPolarity(StrEnum):
    """Which values of a caller's mask mean "repaint"."""

    BLACK_REPAINTS = "black_repaints"
    WHITE_REPAINTS = "white_repaints"
    WHITE_REPAINTS_IGNORING_ALPHA = "white_repaints_ignoring_alpha"
    """As `convert("L")` of Pillow reads a mask: transparent white repaints too."""
    TRANSPARENT_REPAINTS = "transparent_repaints"
    TRANSPARENT_IMAGE_REPAINTS = "transparent_image_repaints"
    """There is no mask: the transparent pixels of the image itself are repainted, and the result is opaque."""

    @property
    def needs_mask(self) -> bool:
        return self is not MaskPolarity.TRANSPARENT_IMAGE_REPAINTS


def normalise(image: CanonicalImage, *, polarity: MaskPolarity, size: Size) -> Mask:
    """Return a caller's mask in the canonical form, scaled to `size`.

    Colour is converted to luminance. Under the black or white polarity transparent pixels of a mask with alpha are kept
    (as if composited on the kept colour); `transparent_repaints` reads the alpha alone.
    Raises InvalidRequest: `mask_has_no_alpha` for that polarity and a mask without alpha, `field_invalid` for
    `transparent_image_repaints`, by which no mask is read.
    """
    if polarity is MaskPolarity.TRANSPARENT_IMAGE_REPAINTS:
        raise InvalidRequest(
            sentence(
                "The mask polarity is transparent_image_repaints, which reads the transparency of the image itself, "
                "and a "
                "mask was sent too. Leave out the mask, or choose another mask polarity."
            ),
            field="mask_polarity",
        )
    if polarity is MaskPolarity.TRANSPARENT_REPAINTS:
        if image.alpha is None:
            raise InvalidRequest(
                sentence(
                    "The mask polarity is transparent_repaints, but the mask has no transparency "
                    "(its mode is {mode}). Send a PNG with alpha, or choose another mask "
                    "polarity.",
                    mode=image.mode,
                ),
                code="mask_has_no_alpha",
                field="mask",
                actual=image.mode,
            )
        mask = 255 - to_8_bits(image.alpha)
    else:
        mask = luminance(to_8_bits(image.colour))
        if polarity is MaskPolarity.BLACK_REPAINTS:
            mask = 255 - mask
        if image.alpha is not None and polarity is not MaskPolarity.WHITE_REPAINTS_IGNORING_ALPHA:
            mask = cv2.multiply(mask, to_8_bits(image.alpha), scale=1 / 255).reshape(mask.shape)
    return scale_mask(mask, size)


def split_transparency(image: CanonicalImage) -> tuple[CanonicalImage, Mask]:
    """Return the image without its alpha, and the mask that repaints where it was transparent.

    Raises InvalidRequest (`mask_has_no_alpha`) for an image without alpha.
    """
    if image.alpha is None:
        raise InvalidRequest(
            sentence(
                "The transparent pixels of the image were to be repainted, and it has no "
                "transparency (its mode is {mode}). Send a PNG with alpha, or a mask.",
                mode=image.mode,
            ),
            code="mask_has_no_alpha",
            field="image",
            actual=image.mode,
        )
    return replace(image, pixels=image.colour), 255 - to_8_bits(image.alpha)


def scale_mask(mask: Mask, size: Size) -> Mask:
    """Return the mask scaled to another size, each axis by its own factor; no repainted pixel is lost.

    Shrinking takes the maximum of the pixels that are merged: averaging would turn a thin stroke grey and thresholding
    would drop it, and a remainder of a scratch or of an object's rim is worse than an extra pixel. Enlarging repeats
    pixels, but interpolates a mask with greys. A binary mask stays binary.
    """
    height, width = mask.shape
    if (width, height) == (size.width, size.height):
        return mask
    smaller = Size(min(width, size.width), min(height, size.height))
    if smaller.width < width or smaller.height < height:
        kernel_width = 2 * math.ceil(width / smaller.width / 2) + 1 if smaller.width < width else 1
        kernel_height = 2 * math.ceil(height / smaller.height / 2) + 1 if smaller.height < height else 1
        kernel = np.ones((kernel_height, kernel_width), np.uint8)
        mask = cv2.dilate(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        mask = cv2.resize(mask, (smaller.width, smaller.height), interpolation=cv2.INTER_NEAREST_EXACT)
    if smaller != size:
        interpolation = cv2.INTER_LINEAR if is_grey(mask) else cv2.INTER_NEAREST_EXACT
        mask = cv2.resize(mask, (size.width, size.height), interpolation=interpolation)
    return np.asarray(mask, np.uint8).reshape(size.height, size.width)


def scaling_note(mask: Size, image: Size, *, noun: str = MASK) -> Sentence | None:
    """Return a warning that the mask, or the image called `noun`, was scaled to the image's size; None if it was
    not."""
    if mask == image:
        return None
    stretch = (mask.width * image.height) / (mask.height * image.width)
    values = {"noun": noun, "size": mask, "image": image}
    if abs(math.log(stretch)) < 0.01:
        return sentence("The {noun} is {size}, the image {image}: the {noun} was scaled to the image.", **values)
    return sentence(
        "The {noun} is {size}, the image {image}: the {noun} was scaled to the image. Their proportions differ, so its "
        "shapes were stretched.",
        **values,
    )


def grown_mask(mask: Mask, settings: PaintSettings) -> Mask:
    """Return the mask after `mask_grow`. Raises InvalidRequest (`mask_empty`) if shrinking leaves nothing."""
    grown = grow(mask, settings.mask_grow)
    if settings.mask_grow < 0 and mask.any() and not grown.any():
        raise InvalidRequest(
            sentence(
                "Nothing to repaint: shrinking the mask by {pixels} pixels leaves nothing of it.",
                pixels=-settings.mask_grow,
            ),
            code="mask_empty",
            field="mask_grow",
            actual=settings.mask_grow,
        )
    return grown


def check(mask: Mask) -> tuple[str, ...]:
    """Return warnings about a canonical mask. Raises InvalidRequest (`mask_empty`) if no pixel is repainted."""
    nonempty_bounds(mask)
    share = coverage(mask)
    if share > NEARLY_FULL:
        warning = sentence(
            "The mask covers {share} of the image, which leaves little context."
            " If you meant the rest, invert the mask.",
            share=_percent(share),
        )
        return (warning,)
    return ()


def nonempty_bounds(mask: Mask) -> Box:
    """Return the bounds of a mask. Raises InvalidRequest (`mask_empty`) if it keeps every pixel."""
    box = bounds(mask)
    if box is None:
        raise InvalidRequest(
            sentence("Nothing to repaint: the mask keeps every pixel. If it is meant the other way round, invert it."),
            code="mask_empty",
            field="mask",
        )
    return box


def coverage(mask: Mask) -> float:
    """Return the share of pixels that are repainted, fully or partially: 0 to 1."""
    return int(np.count_nonzero(mask)) / mask.size


def bounds(mask: Mask) -> Box | None:
    """Return the smallest box that contains every pixel above 0; None for an empty mask."""
    left, top, width, height = cv2.boundingRect(mask)
    return Box(left, top, left + width, top + height) if width else None


def is_grey(mask: Mask) -> bool:
    """Return whether any pixel is repainted only partially."""
    strips = row_strips(*mask.shape)
    return any(((mask[top:bottom] > 0) & (mask[top:bottom] < 255)).any() for top, bottom in strips)


def invert(mask: Mask) -> Mask:
    return np.asarray(255 - mask, np.uint8)


def grow(mask: Mask, pixels: int) -> Mask:
    """Dilate the mask by a disc of radius `pixels`; negative values erode it. Greys keep their value.

    Exact: each pixel becomes the maximum within the disc (for erosion, the minimum). Pixels outside the image are
    ignored, so erosion does not start from its border.
    """
    box = bounds(mask)
    if pixels == 0 or box is None:
        return mask
    height, width = mask.shape
    image = Box(0, 0, width, height)
    # Pixels further away cannot change: dilation reaches `pixels` beyond the bounds, and erosion needs only the one
    # kept pixel around them.
    part = box.expanded(max(pixels, 1)).clipped(image).slices
    grown = np.zeros_like(mask)
    grown[part] = _dilate(mask[part], pixels) if pixels > 0 else 255 - _dilate(255 - mask[part], -pixels)
    return grown


def _dilate(mask: Mask, radius: int) -> Mask:
    """Return the maximum within a disc: by distance for a mask without grey, else computed by its columns.

    The maximum in a column of half-height h is that of two columns of half-height h - 1, one pixel up and one down. So
    the cost grows with the radius, where that of OpenCV's general kernel grows with the area: on a megapixel 20 ms
    against 110 ms at radius 64, and a request may set 256.
    """
    if not is_grey(mask):
        return _dilate_by_distance(mask, radius)
    width = mask.shape[1]
    column, column_half = mask.copy(), 0
    result = np.zeros_like(mask)
    for offset in range(radius, -1, -1):
        half = math.isqrt(radius * radius - offset * offset)
        while column_half < half:
            taller = column.copy()
            np.maximum(taller[1:], column[:-1], out=taller[1:])
            np.maximum(taller[:-1], column[1:], out=taller[:-1])
            column, column_half = taller, column_half + 1
        if offset < width:
            right, left = result[:, offset:], result[:, : width - offset]
            np.maximum(right, column[:, : width - offset], out=right)
            np.maximum(left, column[:, offset:], out=left)
    return result


def _dilate_by_distance(mask: Mask, radius: int) -> Mask:
    """Return the pixels of a mask without grey that are at most `radius` from a repainted one."""
    height, width = mask.shape
    rows = max(STRIP_PIXELS // width, 2 * radius)
    result = np.zeros_like(mask)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - radius, 0), min(bottom + radius, height)
        kept = (mask[first:last] == 0).view(np.uint8)
        if kept.all():
            continue
        squared = squared_distances(kept)[top - first : bottom - first]
        result[top:bottom][squared <= radius * radius] = 255
    return result


def feather(mask: Mask, width: int) -> NDArray[np.float32]:
    """Return all weights of `Feather` at once: [height, width]."""
    return Feather(mask, width).rows(0, len(mask))


def luminance(colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return [height, width] from [height, width, 1 or 3]: ITU-R BT.601 weights, rounded as Pillow does it for mode
    L."""
    if colour.shape[2] == 1:
        return colour[:, :, 0]
    return np.asarray(Image.fromarray(np.ascontiguousarray(colour)).convert("L"))


def _percent(share: float) -> str:
    """Return the share as text; 100 % only for a mask that is full, not by rounding."""
    return f"{share * 100 if share == 1 else min(share * 100, 99.9):.3g} %"
