"""Draw an image that is inserted into another one, and clone it there without a seam.

Places are in the pixels of the image that gets it: 0, 0 is the corner of its first pixel, whose middle is 0.5, 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.colour import divide_by_alpha
from inpainting.core.geometry import Box, Size, row_strips
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.masks import bounds
from inpainting.core.poisson import HarmonicSurface
from inpainting.core.seams import true_pixels
from inpainting.core.settings_table import INSERT_SIDES, PaintSettings

MAX_POINTS = 1_000_000
"""Pixels beside a clone that its correction goes through; of more, every n-th."""


@dataclass(frozen=True, slots=True)
class InsertPlacement:
    """Where an insert lies: its middle, its width before it is rotated, and the degrees by which it is, clockwise."""

    x: float
    y: float
    width: float
    rotation: float = 0.0

    @classmethod
    def of(cls, settings: PaintSettings, insert: CanonicalImage, marked: Box) -> InsertPlacement:
        """Return the placement by the settings; without them, in the middle of the mask's bounds.

        Without `insert_width` the insert covers the bounds; one with transparent pixels fits into them, or what it
        shows would be cut off.
        """
        rotation = settings.insert_rotation or 0.0
        width = settings.insert_width
        if width is None:
            ratio = insert.size.height / insert.size.width
            cosine, sine = abs(math.cos(math.radians(rotation))), abs(math.sin(math.radians(rotation)))
            across, down = marked.size.width, marked.size.height
            if insert.has_alpha:
                width = min(across / (cosine + ratio * sine), down / (sine + ratio * cosine))
            else:
                width = max(across * cosine + down * sine, (across * sine + down * cosine) / ratio)
            width = min(max(round(width, 2), INSERT_SIDES[0]), INSERT_SIDES[1])
        return cls(
            x=(marked.left + marked.right) / 2 if settings.insert_x is None else settings.insert_x,
            y=(marked.top + marked.bottom) / 2 if settings.insert_y is None else settings.insert_y,
            width=width,
            rotation=rotation,
        )

    def turn(self) -> NDArray[np.float64]:
        """Return the matrix [2, 2] of the rotation; y points down, so that it is clockwise."""
        angle = math.radians(self.rotation)
        cosine, sine = math.cos(angle), math.sin(angle)
        return np.array([[cosine, -sine], [sine, cosine]])

    def corners(self, insert: Size) -> NDArray[np.float64]:
        """Return the corners [4, (x, y)] of an insert of that size."""
        half = np.array([self.width, self.width * insert.height / insert.width]) / 2
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        return signs * half @ self.turn().T + [self.x, self.y]

    def box(self, insert: Size) -> Box:
        """Return the bounds of an insert of that size; they may extend beyond the image."""
        corners = self.corners(insert).round(6)
        left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
        return Box(left, top, max(right, left + 1), max(bottom, top + 1))

    def meets(self, insert: Size, mask: Mask) -> bool:
        """Return whether an insert of that size covers the middle of any pixel that the mask marks."""
        (cosine, minus_sine), _ = self.turn()
        half_width, half_height = self.width / 2, self.width * insert.height / insert.width / 2
        right = np.arange(mask.shape[1], dtype=np.float32)[np.newaxis, :] + np.float32(0.5 - self.x)
        down = np.arange(mask.shape[0], dtype=np.float32)[:, np.newaxis] + np.float32(0.5 - self.y)
        for top, bottom in row_strips(*mask.shape):
            across = right * cosine - down[top:bottom] * minus_sine
            along = right * minus_sine + down[top:bottom] * cosine
            if ((abs(across) <= half_width) & (abs(along) <= half_height) & (mask[top:bottom] > 0)).any():
                return True
        return False


def draw(insert: CanonicalImage, placement: InsertPlacement, box: Box, work: Size) -> CanonicalImage:
    """Return an insert as it lies in a part of the image: RGBA of 8 bits, whose alpha is what it covers.

    insert: 8-bit RGB or RGBA. box: the part. work: the size at which the part is wanted.
    It is averaged over areas where it is reduced, and interpolated linearly where it is enlarged or rotated.
    """
    pixels = np.ascontiguousarray(insert.pixels, np.uint8)
    if insert.has_alpha:
        pixels = multiplied_by_alpha(pixels)
    across, down = work.width / box.size.width, work.height / box.size.height
    scale = placement.width / insert.size.width
    reduced = math.sqrt(across * down) * scale
    if reduced < 1:
        size = max(1, round(insert.size.width * reduced)), max(1, round(insert.size.height * reduced))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    height, width = pixels.shape[:2]
    stretch = np.diag([insert.size.width * scale / width, insert.size.height * scale / height])
    linear = np.diag([across, down]) @ placement.turn() @ stretch
    middle = np.array([across * (placement.x - box.left), down * (placement.y - box.top)])
    # OpenCV's coordinates are 0 in the middle of the first pixel.
    offset = middle - linear @ (np.array([width, height]) - 1) / 2 - 0.5
    matrix, size = np.column_stack([linear, offset]), (work.width, work.height)
    if insert.has_alpha:
        drawn = cv2.warpAffine(pixels, matrix, size)
        divide_by_alpha(drawn)
        return CanonicalImage(drawn)
    # The colours go on beyond its edge, where cloning compares them with the image.
    colour = cv2.warpAffine(pixels, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return CanonicalImage(np.dstack([colour, cv2.warpAffine(np.full((height, width), 255, np.uint8), matrix, size)]))


def multiplied_by_alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGBA [height, width, 4] with colours multiplied by alpha, rounded."""
    multiplied = pixels.copy()
    for top, bottom in row_strips(*pixels.shape[:2]):
        alpha = pixels[top:bottom, :, 3:].astype(np.uint16)
        multiplied[top:bottom, :, :3] = (pixels[top:bottom, :, :3] * alpha + np.uint16(127)) // np.uint16(255)
    return multiplied


def paste(image: NDArray[np.uint8], drawn: CanonicalImage, mask: Mask) -> NDArray[np.uint8]:
    """Return a copy of an image [height, width, 3] with a drawn insert over it where the mask is above 0."""
    out = image.copy()
    for top, bottom in row_strips(*mask.shape):
        rows = drawn.rows(top, bottom)
        inside = true_pixels((mask[top:bottom] > 0) & (rows[:, :, 3] > 0))
        below, part = out[top:bottom][inside].astype(np.float32), rows[inside].astype(np.float32)
        mixed = below + part[:, 3:] / np.float32(255) * (part[:, :3] - below)
        out[top:bottom][inside] = np.rint(mixed).astype(np.uint8)
    return out


def clone(image: NDArray[np.uint8], drawn: CanonicalImage, mask: Mask) -> NDArray[np.uint8]:
    """Return a copy of an image [height, width, 3] with a drawn insert where it covers what the mask marks.

    The insert keeps its gradients and meets the image around it: P. Pérez, M. Gangnet, A. Blake, "Poisson Image
    Editing" (SIGGRAPH 2003), section 3, "seamless cloning". What is added to it is the harmonic surface through the
    differences beside it (equation 7 there).
    """
    covered = covered_part(drawn, mask)
    marked = bounds(covered.view(np.uint8))
    if marked is None:
        return image
    height, width = mask.shape
    box = marked.expanded(1).clipped(Box(0, 0, width, height))
    inside, insert = covered[box.slices], drawn.pixels[box.slices]
    out = image.copy()
    part = out[box.slices]
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    rows, columns = np.nonzero((cv2.dilate(inside.view(np.uint8), cross) > 0) & ~inside)
    if every := len(rows) // MAX_POINTS:
        rows, columns = rows[:: every + 1], columns[:: every + 1]
    beside = part[rows, columns].astype(np.float32) - insert[rows, columns, :3]
    surface = HarmonicSurface(inside.shape, rows, columns, beside) if len(rows) else None
    for top, bottom in row_strips(*inside.shape):
        at = true_pixels(inside[top:bottom])
        colour = insert[top:bottom][at][:, :3].astype(np.float32)
        if surface is not None:
            colour += surface.strip(top, bottom)[at]
        part[top:bottom][at] = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
    return out


def covered_part(drawn: CanonicalImage, mask: Mask) -> NDArray[np.bool_]:
    """Return [height, width]: the pixels that the mask marks and of which a drawn insert covers at least half."""
    return (mask > 0) & (drawn.pixels[:, :, 3] > 127)
