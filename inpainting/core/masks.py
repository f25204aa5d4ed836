"""Masks: read a caller's once, at the door, into the house's form, then grow, invert, feather and measure it.

The house's form is [height, width] of 8 bits, 255 = repaint, 0 = keep, grey = repaint partly.
"""

from __future__ import annotations

import math
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs.colour import to_8_bits
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.picture import Mask, Picture
from inpainting.core.request import PaintSettings

NEARLY_FULL = 0.6
"""Over this share an engine has little left to go by."""


class MaskPolarity(StrEnum):
    """How a caller's mask is to be read."""

    BLACK_REPAINTS = "black_repaints"
    WHITE_REPAINTS = "white_repaints"
    TRANSPARENT_REPAINTS = "transparent_repaints"


def normalise(picture: Picture, *, polarity: MaskPolarity, size: Size) -> Mask:
    """A caller's mask in the house's form, at `size`.

    Colour is read by its luminance. In a mask with alpha under the black or white polarity, what is transparent is
    kept (as if the mask lay on the kept colour); `transparent_repaints` reads the alpha alone.
    Raises InvalidRequest (`mask_has_no_alpha`) where that polarity meets a mask without alpha.
    """
    if polarity is MaskPolarity.TRANSPARENT_REPAINTS:
        if picture.alpha is None:
            raise InvalidRequest(
                "The mask should repaint what is transparent, but it has no transparency"
                f" (its mode is {picture.mode}). Send a PNG with alpha, or choose another mask polarity.",
                code="mask_has_no_alpha",
                field="mask",
                actual=picture.mode,
            )
        mask = 255 - to_8_bits(picture.alpha)
    else:
        mask = luminance(to_8_bits(picture.colour))
        if polarity is MaskPolarity.BLACK_REPAINTS:
            mask = 255 - mask
        if picture.alpha is not None:
            mask = cv2.multiply(mask, to_8_bits(picture.alpha), scale=1 / 255).reshape(mask.shape)
    return scaled(mask, size)


def scaled(mask: Mask, size: Size) -> Mask:
    """The mask at another size, each axis by its own factor; nothing that was marked is lost on the way.

    Shrinking takes the greatest value of the pixels that fall together: averaging would fade a thin stroke into grey
    and thresholding would drop it, and what is left of a scratch or a rim of an object is worse than a pixel too
    many. Enlarging repeats pixels, but interpolates a mask with greys. A mask of only 0 and 255 stays so.
    """
    height, width = mask.shape
    if (width, height) == (size.width, size.height):
        return mask
    less = Size(min(width, size.width), min(height, size.height))
    reach_x, reach_y = (math.ceil(was / now / 2) for was, now in ((width, less.width), (height, less.height)))
    if less.width < width or less.height < height:
        across = 2 * reach_x + 1 if less.width < width else 1
        down = 2 * reach_y + 1 if less.height < height else 1
        mask = cv2.dilate(mask, np.ones((down, across), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        mask = cv2.resize(mask, (less.width, less.height), interpolation=cv2.INTER_NEAREST_EXACT)
    if less != size:
        how = cv2.INTER_LINEAR if is_grey(mask) else cv2.INTER_NEAREST_EXACT
        mask = cv2.resize(mask, (size.width, size.height), interpolation=how)
    return np.asarray(mask, np.uint8).reshape(size.height, size.width)


def scaling_note(mask: Size, image: Size, *, noun: str = "mask") -> str | None:
    """A warning for the caller whose mask, or what `noun` says, had another size than the image, or None."""
    if mask == image:
        return None
    note = f"The {noun} is {mask}, the image {image}: the {noun} was scaled to the image."
    stretch = (mask.width * image.height) / (mask.height * image.width)
    return note if abs(math.log(stretch)) < 0.01 else f"{note} Their proportions differ, so its shapes were stretched."


def effective_mask(mask: Mask, settings: PaintSettings) -> Mask:
    """The mask that is painted: after `mask_grow`. Raises InvalidRequest (`mask_empty`) if shrinking leaves nothing."""
    grown = grow(mask, settings.mask_grow)
    if settings.mask_grow < 0 and mask.any() and not grown.any():
        raise InvalidRequest(
            f"Nothing to repaint: shrinking the mask by {-settings.mask_grow} pixels leaves nothing of it.",
            code="mask_empty",
            field="mask_grow",
            actual=settings.mask_grow,
        )
    return grown


def check(mask: Mask) -> tuple[str, ...]:
    """Warnings about a mask in the house's form. Raises InvalidRequest (`mask_empty`) where nothing is marked."""
    marked(mask)
    share = coverage(mask)
    if share > NEARLY_FULL:
        return (
            f"The mask covers {_percent(share)} of the picture, which leaves little to go by."
            " If you meant the rest, invert the mask.",
        )
    return ()


def marked(mask: Mask) -> Box:
    """The bounds of a mask that must not be empty. Raises InvalidRequest (`mask_empty`)."""
    box = bounds(mask)
    if box is None:
        raise InvalidRequest(
            "Nothing to repaint: the mask keeps every pixel. If it looks right to you, it was read the other way round:"
            " choose the other mask polarity (black_repaints, white_repaints or transparent_repaints) or invert it.",
            code="mask_empty",
            field="mask",
        )
    return box


def coverage(mask: Mask) -> float:
    """The share of pixels that are repainted, wholly or partly: 0 to 1."""
    return int(np.count_nonzero(mask)) / mask.size


def bounds(mask: Mask) -> Box | None:
    """The smallest box that holds every pixel over 0; None for an empty mask."""
    left, top, width, height = cv2.boundingRect(mask)
    return Box(left, top, left + width, top + height) if width else None


def is_grey(mask: Mask) -> bool:
    """Whether any pixel is repainted only partly."""
    return bool(((mask > 0) & (mask < 255)).any())


def invert(mask: Mask) -> Mask:
    return np.asarray(255 - mask, np.uint8)


def grow(mask: Mask, pixels: int) -> Mask:
    """The mask wider by `pixels` in every direction, its corners rounded; negative shrinks; greys keep their value.

    Beyond the picture there is nothing: growing stops at its border, and shrinking does not start from it.
    Exact: each pixel takes the greatest value within a disc of that radius (for shrinking, the least).
    """
    box = bounds(mask)
    if pixels == 0 or box is None:
        return mask
    height, width = mask.shape
    image = Box(0, 0, width, height)
    # What lies further off changes nothing: no mark reaches beyond its own growth, and nothing can be left of a mark
    # beyond its own bounds (one kept pixel around them is the nearest there is).
    part = box.expanded(max(pixels, 1)).clipped(image).slices
    grown = np.zeros_like(mask)
    grown[part] = _dilated(mask[part], pixels) if pixels > 0 else 255 - _dilated(255 - mask[part], -pixels)
    return grown


def _dilated(mask: Mask, radius: int) -> Mask:
    """The greatest value within a disc, built of its columns.

    A column of half-height h is two columns of half-height h - 1, one pixel up and one down; so going from the
    disc's left edge to its middle the cost grows with the radius, where OpenCV's general kernel grows with the area:
    on a megapixel 20 ms against 110 ms at radius 64, and a request may ask for 256.
    """
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


def feather(mask: Mask, width: int) -> NDArray[np.float32]:
    """How much of the painting shows at each pixel, 0 to 1: [height, width].

    Exactly 0 where the mask is 0; from the mask's edge it rises inward, smoothly (3t^2 - 2t^3), and is 1 from `width`
    pixels inside. Never outward: a ramp astride the edge changes pixels that were to be kept. An island thinner than
    two ramps has a shorter one, so that its middle is painted in full and a scratch does not shine through.
    The picture's own border is no edge. Grey values count as parts: the ramp is multiplied by them.
    """
    weights = mask.astype(np.float32) / np.float32(255)
    inside = (mask > 0).view(np.uint8)
    if width < 1 or inside.all() or not inside.any():
        return weights
    # Distances are between pixel centres; the edge lies half a pixel before the first one inside.
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - np.float32(0.5)
    _, islands = cv2.connectedComponents(inside, connectivity=8, ltype=cv2.CV_32S)
    deepest = np.zeros(int(islands.max()) + 1, np.float32)
    np.maximum.at(deepest, islands.ravel(), depth.ravel())
    ramp = np.clip(depth / np.minimum(np.maximum(deepest, 0.5), np.float32(width))[islands], 0, 1)
    weights *= ramp * ramp * (3 - 2 * ramp)
    return weights


def luminance(colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[height, width] from [height, width, 1 or 3]: ITU-R BT.601 weights, rounded as Pillow does it for mode L."""
    if colour.shape[2] == 1:
        return colour[:, :, 0]
    return np.asarray(Image.fromarray(np.ascontiguousarray(colour)).convert("L"))


def _percent(share: float) -> str:
    """Never a rounded 100 % for a mask that is not full."""
    return "all" if share == 1 else f"{min(share * 100, 99.9):.3g} %"
