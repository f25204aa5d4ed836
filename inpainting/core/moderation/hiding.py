"""Four ways to hide the repainted pixels. Outside the mask every pixel stays, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.image import CanonicalImage, Mask, Pixels
from inpainting.core.masks import bounds

CELLS, MIN_CELL = 8, 16
"""A blurred or pixelated image keeps at most CELLS colours along its longer side, each of at least MIN_CELL
pixels."""
TEXT = "Sensitive content"
LINE_BREAKS = ((TEXT,), tuple(TEXT.split()))
"""The text on one line and on two; the larger fit is drawn."""
FONT, GREY, WHITE = cv2.FONT_HERSHEY_SIMPLEX, 64, 235
MIN_SCALE = 0.25
"""The smallest scale of the font: letters of 5 pixels, which are still legible."""
MARGIN, LINE_HEIGHT = 1.15, 1.9
SEARCH_SIDE = 256
SEARCH_STEPS = 12


def hide(image: CanonicalImage, mask: Mask, how: str) -> CanonicalImage:
    """Return the image with every pixel hidden whose mask value is over 0, however small.

    how: one of `settings_table.SAFETY_TYPES`. Its size, mode, depth, profile and alpha stay.
    """
    box = bounds(mask)
    if box is None:
        return image
    pixels = image.pixels.copy()
    part, inside = pixels[box.slices], mask[box.slices] > 0
    colour = part[:, :, :-1] if image.has_alpha else part
    colour[inside] = METHODS[how](colour, inside)[inside]
    return CanonicalImage(pixels, image.icc_profile)


def blur(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Return a few averages, interpolated."""
    return enlarge(averages(colour), colour, cv2.INTER_LINEAR)


def pixelate(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Return the same averages as squares."""
    return enlarge(averages(colour), colour, cv2.INTER_NEAREST_EXACT)


def blacken(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    return np.zeros_like(colour)


def draw_label(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Return plain grey with TEXT as large as it fits into the mask; without text where it would be illegible."""
    layer = np.full(colour.shape[:2], GREY, np.uint8)
    best = max((fit_text(lines, inside) for lines in LINE_BREAKS), key=lambda fit: fit[0])
    if best[0] >= MIN_SCALE:
        draw_text(layer, *best)
    unit = 1 if colour.dtype == np.uint8 else 257
    return cast("Pixels", np.repeat((layer.astype(colour.dtype) * unit)[:, :, None], colour.shape[2], axis=2))


METHODS: dict[str, Callable[[Pixels, NDArray[np.bool_]], Pixels]] = {
    "blur": blur,
    "pixelate": pixelate,
    "black": blacken,
    "sensitive_content_text": draw_label,
}


def averages(colour: Pixels) -> Pixels:
    """Return area averages: an image so small that nothing in it is recognisable, its proportions kept to the
    nearest."""
    height, width = colour.shape[:2]
    cells = min(CELLS, max(1, max(height, width) // MIN_CELL))
    cell = max(height, width) / cells
    size = max(1, round(width / cell)), max(1, round(height / cell))
    return cast("Pixels", cv2.resize(np.ascontiguousarray(colour), size, interpolation=cv2.INTER_AREA))


def enlarge(small: Pixels, like: Pixels, interpolation: int) -> Pixels:
    """Return `small` at the size of `like`."""
    height, width = like.shape[:2]
    return cast("Pixels", cv2.resize(small, (width, height), interpolation=interpolation).reshape(like.shape))


def fit_text(lines: tuple[str, ...], inside: NDArray[np.bool_]) -> tuple[float, tuple[str, ...], tuple[int, int]]:
    """Return the largest scale of the font at which the lines lie wholly inside, the lines, and x, y of their middle.

    Bisects the scale on a small copy of the mask, in which only pixels count that are wholly inside.
    """
    height, width = inside.shape
    shrunk = min(1.0, SEARCH_SIDE / max(height, width))
    size = max(1, round(width * shrunk)), max(1, round(height * shrunk))
    room = (cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999).astype(np.uint8)
    wide, tall = text_size(lines, 1.0)
    low, high = 0.0, min(width / wide, height / tall)
    middle = (0, 0)
    for _ in range(SEARCH_STEPS):
        scale = (low + high) / 2
        kernel = np.ones([max(1, int(np.ceil(side * scale * shrunk))) for side in (tall, wide)], np.uint8)
        fits = cv2.erode(room, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        if not fits.any():
            high = scale
            continue
        low = scale
        rows, columns = np.nonzero(fits)
        centre = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        middle = round((columns[centre] + 0.5) / shrunk), round((rows[centre] + 0.5) / shrunk)
    return low, lines, middle


def text_size(lines: tuple[str, ...], scale: float) -> tuple[float, float]:
    """Return width and height in pixels of the lines with a margin around them."""
    thickness = stroke_thickness(scale)
    sizes = [cv2.getTextSize(line, FONT, scale, thickness)[0] for line in lines]
    tall = sizes[0][1] * (1 + LINE_HEIGHT * (len(lines) - 1)) * 1.4  # below the baseline too: letters have descenders
    return max(width for width, _ in sizes) * MARGIN, tall * MARGIN


def draw_text(layer: NDArray[np.uint8], scale: float, lines: tuple[str, ...], middle: tuple[int, int]) -> None:
    """Write centred lines into `layer` [height, width]."""
    thickness = stroke_thickness(scale)
    tall = cv2.getTextSize(lines[0], FONT, scale, thickness)[0][1]
    for number, line in enumerate(lines):
        wide = cv2.getTextSize(line, FONT, scale, thickness)[0][0]
        below = tall / 2 + (number - (len(lines) - 1) / 2) * tall * LINE_HEIGHT
        at = round(middle[0] - wide / 2), round(middle[1] + below)
        cv2.putText(layer, line, at, FONT, scale, WHITE, thickness, cv2.LINE_AA)


def stroke_thickness(scale: float) -> int:
    return max(1, round(scale * 1.7))
