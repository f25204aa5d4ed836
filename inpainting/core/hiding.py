"""Four ways to hide what was painted. Outside the mask every pixel stays, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.masks import bounds
from inpainting.core.picture import Mask, Picture, Pixels

CELLS, LEAST_CELL = 8, 16
"""Of a blurred or pixelated picture is left: so many colours along its longer side, each of so many pixels at least."""
SENTENCE = "Sensitive content"
LINES = ((SENTENCE,), tuple(SENTENCE.split()))
"""How the sentence may be broken."""
FONT, GREY, WHITE = cv2.FONT_HERSHEY_SIMPLEX, 64, 235
LEAST_SCALE = 0.25
"""Of the font: letters of 5 pixels, the smallest that can be read."""
MARGIN, LEADING = 1.15, 1.9
SEARCH_SIDE = 256
SEARCH_STEPS = 12


def hidden(picture: Picture, mask: Mask, how: str) -> Picture:
    """The picture with everything hidden that the mask marks, be it ever so faintly.

    how: one of `request.SAFETY_TYPES`. Its size, mode, depth, profile and alpha stay.
    """
    box = bounds(mask)
    if box is None:
        return picture
    pixels = picture.pixels.copy()
    part, inside = pixels[box.slices], mask[box.slices] > 0
    colour = part[:, :, :-1] if picture.has_alpha else part
    colour[inside] = VEILS[how](colour, inside)[inside]
    return Picture(pixels, picture.icc_profile)


def blurred(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Soft colours: what a few averages tell, and no more."""
    return magnified(averages(colour), colour, cv2.INTER_LINEAR)


def pixelated(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """The same averages as squares."""
    return magnified(averages(colour), colour, cv2.INTER_NEAREST_EXACT)


def blackened(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    return np.zeros_like(colour)


def worded(colour: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Plain grey, and the sentence as large as it fits into the mask; without it where it could not be read."""
    layer = np.full(colour.shape[:2], GREY, np.uint8)
    best = max((fitted(lines, inside) for lines in LINES), key=lambda fit: fit[0])
    if best[0] >= LEAST_SCALE:
        write(layer, *best)
    unit = 1 if colour.dtype == np.uint8 else 257
    return cast("Pixels", np.repeat((layer.astype(colour.dtype) * unit)[:, :, None], colour.shape[2], axis=2))


VEILS: dict[str, Callable[[Pixels, NDArray[np.bool_]], Pixels]] = {
    "blur": blurred,
    "pixelate": pixelated,
    "black": blackened,
    "sensitive_content_text": worded,
}


def averages(colour: Pixels) -> Pixels:
    """A picture so small that nothing in it can be read, of the same proportions as nearly as can be."""
    height, width = colour.shape[:2]
    cells = min(CELLS, max(1, max(height, width) // LEAST_CELL))
    cell = max(height, width) / cells
    size = max(1, round(width / cell)), max(1, round(height / cell))
    return cast("Pixels", cv2.resize(np.ascontiguousarray(colour), size, interpolation=cv2.INTER_AREA))


def magnified(small: Pixels, like: Pixels, how: int) -> Pixels:
    height, width = like.shape[:2]
    return cast("Pixels", cv2.resize(small, (width, height), interpolation=how).reshape(like.shape))


def fitted(lines: tuple[str, ...], inside: NDArray[np.bool_]) -> tuple[float, tuple[str, ...], tuple[int, int]]:
    """The largest scale of the font at which the lines lie wholly inside, the lines, and x, y of their middle.

    Searched on a small copy of the mask, in which only what is wholly inside counts.
    """
    height, width = inside.shape
    shrunk = min(1.0, SEARCH_SIDE / max(height, width))
    size = max(1, round(width * shrunk)), max(1, round(height * shrunk))
    room = (cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999).astype(np.uint8)
    wide, tall = extent(lines, 1.0)
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


def extent(lines: tuple[str, ...], scale: float) -> tuple[float, float]:
    """Width and height in pixels of the lines with a margin around them."""
    thick = thickness(scale)
    sizes = [cv2.getTextSize(line, FONT, scale, thick)[0] for line in lines]
    tall = sizes[0][1] * (1 + LEADING * (len(lines) - 1)) * 1.4  # below the line too: letters have tails
    return max(width for width, _ in sizes) * MARGIN, tall * MARGIN


def write(layer: NDArray[np.uint8], scale: float, lines: tuple[str, ...], middle: tuple[int, int]) -> None:
    thick = thickness(scale)
    tall = cv2.getTextSize(lines[0], FONT, scale, thick)[0][1]
    for number, line in enumerate(lines):
        wide = cv2.getTextSize(line, FONT, scale, thick)[0][0]
        below = tall / 2 + (number - (len(lines) - 1) / 2) * tall * LEADING
        at = round(middle[0] - wide / 2), round(middle[1] + below)
        cv2.putText(layer, line, at, FONT, scale, WHITE, thick, cv2.LINE_AA)


def thickness(scale: float) -> int:
    return max(1, round(scale * 1.7))
