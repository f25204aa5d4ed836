"""Finds the mirror image of an object on water or on a shiny floor.

A mirror image is the object upside down, at the same place across, below the line on which it stands (Zhang, Guo and
Cao 2010, "Water reflection detection using a flip invariant shape detector"). So the object is turned over at each line
near its lower edge and compared with what lies there by normalised cross-correlation, which does not change with the
tint and the strength of a mirror (Lewis 1995, "Fast normalized cross-correlation").
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box
from inpainting.core.image import Mask
from inpainting.core.masks import bounds, luminance
from inpainting.core.shadows.views import View

LIKENESS = 0.6
"""The lowest correlation of the brightness."""
LIKENESS_OF_EDGES = 0.45
"""The lowest correlation of the vertical gradients, which tells a mirror image from more of a post or of stripes."""
LEAD = 0.12
"""By how much the correlation exceeds that at other places across: elsewhere the ground may look like the object."""
SHARE_SEEN = 0.35
"""The share of its height that the mirror image shows above the lower edge of the image, at least."""
SMALLEST_SIDE = 8
"""An object of fewer pixels across or down is not recognised."""
LINES = 0.15, 0.06
"""How far above and below the lower edge of the object the line may lie, as shares of its height."""
SHIFT, ELSEWHERE = 0.05, 0.35
"""How far to the side the mirror image may lie, and from where on a place is another one, as shares of the object's
width."""


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """An object and its rim, turned over at a line of the image; the arrays are [height, width, ...] of it."""

    line: int  # the row below the line
    left: int
    grey: NDArray[np.float32]
    weight: Mask  # 1 where it is compared, else 0


def find_mirror_image(view: View) -> Mask | None:
    """Return 1 on the mirror image, else 0, at half the size of the view; None where there is none."""
    height, width = (side // 2 for side in view.marked.shape)
    half = cv2.resize(luminance(view.colour), (width, height), interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.GaussianBlur(half, (0, 0), 1), np.float32)
    mask = (cv2.resize(view.object * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA) > 127).view(np.uint8)
    box = bounds(mask)
    if box is None or box.size.shorter < SMALLEST_SIDE:
        return None
    best, best_elsewhere, match = LIKENESS, -1.0, None
    above, below = (max(2, round(share * box.size.height)) for share in LINES)
    for line in range(box.bottom - above, box.bottom + below):
        turned = turn_over(grey, mask, box, line)
        if turned is None:
            continue
        band = grey[line : line + len(turned.grey)]
        weight = turned.weight.astype(np.float32)
        scores = cv2.matchTemplate(band, turned.grey, cv2.TM_CCOEFF_NORMED, mask=weight)[0]
        scores = np.where(np.isfinite(scores), scores, -1)
        shifts = abs(np.arange(len(scores)) - turned.left)
        elsewhere = scores[shifts > ELSEWHERE * box.size.width]
        best_elsewhere = max(best_elsewhere, float(elsewhere.max(initial=-1)))
        here = np.where(shifts <= max(1, SHIFT * box.size.width), scores, -1)
        if here.max() > best:
            best, match = float(here.max()), (turned, int(here.argmax()))
    if match is None or best < best_elsewhere + LEAD or likeness_of_edges(grey, *match) < LIKENESS_OF_EDGES:
        return None
    turned, left = match
    return place(mask, turned, left - turned.left, spread=max(2, round(0.03 * box.size.height)))


def turn_over(grey: NDArray[np.float32], mask: Mask, box: Box, line: int) -> Turned | None:
    """Return the object turned over at a line, as far as the image has rows for it; None where it has too few."""
    rim = max(2, round(0.08 * np.sqrt(box.size.area)))
    rows = min(line - box.top + rim, line, len(mask) - line)
    if rows < SHARE_SEEN * box.size.height:
        return None
    left, right = max(0, box.left - rim), min(mask.shape[1], box.right + rim)
    part = slice(line - rows, line), slice(left, right)
    weight = np.ascontiguousarray(cv2.dilate(mask, np.ones((2 * rim + 1,) * 2, np.uint8))[part][::-1])
    weight[: max(1, round(0.03 * box.size.height))] = 0  # the object itself may cross the line
    return Turned(line, left, np.ascontiguousarray(grey[part][::-1]), weight) if weight.any() else None


def likeness_of_edges(grey: NDArray[np.float32], turned: Turned, left: int) -> float:
    """Return the correlation of the vertical gradients of an object that is turned over with those at its place."""
    height, width = turned.weight.shape
    there = grey[turned.line : turned.line + height, left : left + width]
    gradients = [cv2.Sobel(part, cv2.CV_32F, 0, 1)[turned.weight > 0] for part in (turned.grey, there)]
    first, second = (gradient - gradient.mean() for gradient in gradients)
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum() + 1e-9))


def place(mask: Mask, turned: Turned, shift: int, spread: int) -> Mask:
    """Return the object's mask turned over, moved `shift` columns to the right and widened by `spread` pixels."""
    rows = len(turned.weight)
    placed = np.zeros_like(mask)
    over = mask[turned.line - rows : turned.line][::-1]
    move = np.array([[1, 0, shift], [0, 1, 0]], np.float32)
    placed[turned.line : turned.line + rows] = cv2.warpAffine(over, move, (mask.shape[1], rows))
    return np.asarray(cv2.dilate(placed, np.ones((2 * spread + 1,) * 2, np.uint8)))
