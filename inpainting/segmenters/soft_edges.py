"""Turns the hard edge of a mask into a soft one that follows hair and fur.

In a band along the edge the mask is filtered with the image as its guide (K. He, J. Sun, X. Tang, "Guided Image
Filtering", ECCV 2010, section 4.2), which is one step towards the matte of closed-form matting. It is filtered several
times; between them its contrast is raised, so that what is nearly inside or outside is not left as a haze.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core import masks
from inpainting.core.geometry import Box, Size
from inpainting.core.image import Mask
from inpainting.core.resizing import resize_pixels

WORKING_SIDE = 1024
"""Longer side of the window in which the mask is filtered. Larger ones are reduced, and the result is enlarged with the
pixels of the image as the guide."""
SHARE = 0.02
"""Width of the band on either side of the edge, in shares of the longer side of the object."""
SMALLEST, LARGEST = 3, 20
"""Limits of that width, in pixels of what is filtered."""
SMOOTHNESS = 6.5
"""Square of the difference of colours, in levels of 8 bits, below which an edge is no edge: 1e-4 of the range."""
PASSES = 3
CONTRAST = 1.5
CLEARED = 0.1
"""Shares of the object below this, and above 1 less this, become none and all of it."""
ENLARGING = 4
"""Pixels of a reduced result within which the image guides its enlargement."""
TILE = 1024
"""Side of the squares in which a reduced result is enlarged, which bounds the memory."""

RGB = NDArray[np.uint8]
Alpha = NDArray[np.float32]


def soften(pixels: RGB, mask: Mask) -> Mask:
    """The mask with soft edges, 255 for the object; unchanged farther from its edge than the band.

    pixels: RGB [height, width, 3], of the size of the mask.
    """
    hard = np.where(mask > 127, np.uint8(255), np.uint8(0))
    box = masks.bounds(hard)
    if box is None:
        return mask
    margin = max(SMALLEST, round(2 * SHARE * box.size.longer))
    window = box.expanded(margin).clipped(Box(0, 0, mask.shape[1], mask.shape[0]))
    scale = min(1.0, WORKING_SIDE / window.size.longer)
    size = Size(max(1, round(window.size.width * scale)), max(1, round(window.size.height * scale)))
    radius = min(max(SMALLEST, round(SHARE * box.size.longer * scale)), LARGEST)
    guide = np.ascontiguousarray(resize_pixels(pixels[window.slices], size))
    small = cv2.resize(hard[window.slices], (size.width, size.height), interpolation=cv2.INTER_AREA)
    band = band_of(small, radius)
    alpha = filtered(guide, small, band, radius)
    softened = mask.copy()
    part = softened[window.slices]
    if scale == 1:
        part[band] = levels(alpha)[band]
    else:
        enlarge(part, pixels[window.slices], alpha, band)
    return softened


def band_of(mask: Mask, radius: int) -> NDArray[np.bool_]:
    """The pixels that are at most `radius` from the edge of the mask."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask, kernel) > 0) & (cv2.erode(mask, kernel) < 255)


def filtered(guide: RGB, mask: Mask, band: NDArray[np.bool_], radius: int) -> Alpha:
    """The share of the object in each pixel, 0 to 1; outside the band that of the mask."""
    known = mask.astype(np.float32) / 255
    guided = cv2.ximgproc.createGuidedFilter(guide, radius, SMOOTHNESS)
    alpha = known
    for _ in range(PASSES):
        alpha = np.where(band, np.clip((guided.filter(alpha) - 0.5) * CONTRAST + 0.5, 0, 1), known)
    return np.where(band, np.clip(guided.filter(alpha), 0, 1), known)


def enlarge(part: Mask, pixels: RGB, alpha: Alpha, band: NDArray[np.bool_]) -> None:
    """Put a result of reduced size into the mask, square by square, guided by the pixels at their full size."""
    height, width = part.shape
    scale = alpha.shape[1] / width
    reach = round(ENLARGING / scale)
    wide = cv2.resize(band.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            inner = Box(left, top, min(left + TILE, width), min(top + TILE, height))
            if not wide[inner.slices].any():
                continue
            outer = inner.expanded(2 * reach).clipped(Box(0, 0, width, height))
            across = (np.arange(outer.left, outer.right, dtype=np.float32) + 0.5) * scale - 0.5
            down = (np.arange(outer.top, outer.bottom, dtype=np.float32) + 0.5) * (alpha.shape[0] / height) - 0.5
            x, y = np.meshgrid(across, down)
            coarse = cv2.remap(alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            guide = np.ascontiguousarray(pixels[outer.slices])
            least = 1 / min(outer.size.width, outer.size.height)  # leaves the filter a pixel
            fine = cv2.ximgproc.guidedFilter(guide, coarse, reach, SMOOTHNESS, scale=max(scale, least))
            chosen = wide[inner.slices]
            part[inner.slices][chosen] = levels(fine)[inner.relative_to(outer).slices][chosen]


def levels(alpha: Alpha) -> Mask:
    """As 0 to 255, cleared of a haze."""
    return np.rint(np.clip((alpha - CLEARED) / (1 - 2 * CLEARED), 0, 1) * 255).astype(np.uint8)
