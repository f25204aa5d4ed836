"""Moves the edge of a mask with GrabCut (Rother, Kolmogorov, Blake 2004), on a reduced window around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from inpainting.core.geometry import Box, Size
from inpainting.core.image import Mask
from inpainting.core.resizing import resize_pixels
from inpainting.segmenters import geodesic
from inpainting.segmenters.base import Point, Selection

WORKING_SIDE = 448
"""Longer side of what GrabCut gets."""
CHANGED_SIDE = 320
"""The same for what a further point changes, which has to be found sooner."""
ITERATIONS = 4
"""Of GrabCut in a box or an outline."""
MARGIN = 0.3
"""Of the object's longer side, around it: where GrabCut learns the colours of the background."""
POINT_RADIUS = 3
BAND = 12
"""How far GrabCut may move the edge of a guess, in pixels of what it gets."""
GUESS_ERROR = 4
"""How far the edge of a guess may be from the object's, in pixels of the guess."""

RGB = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def cut(pixels: RGB, window: Box, box: Box, guess: tuple[Mask, float] | None, selection: Selection) -> Mask:
    """The mask of a window of the image. guess: the whole image's, at a scale; None: the outline or the box."""
    scale = min(1.0, WORKING_SIDE / window.size.longer)
    small = resize_pixels(pixels, scaled_size(window.size, scale))
    size = Size(small.shape[1], small.shape[0])
    if selection.outline:
        labels = labels_of_outline(selection.outline, window, scale, size)
    elif guess is None:
        labels = labels_of_box(box.relative_to(window), scale, size)
    else:
        region = part_of(guess, window, size)
        labels = np.where(region > 0, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
        band = disc(max(BAND, math.ceil(GUESS_ERROR * scale / guess[1])))
        labels[cv2.erode(region, band) > 0] = cv2.GC_FGD
        labels[cv2.dilate(region, band) == 0] = cv2.GC_BGD
    seeds = draw_points(labels, selection.points, window, scale)
    found = grab_cut(small, labels, ITERATIONS if guess is None else 1)
    if seeds:
        found = geodesic.keep_connected(found, seeds)
    return enlarged(found, window.size)


def changed(pixels: RGB, window: Box, present: Mask, change: tuple[Mask, float], points: Sequence[Point]) -> Mask:
    """The pixels of a window that the last point adds to a mask, or takes from it where it is beside the object.

    present: the mask of the window. change: about these pixels, of the whole image at a scale.
    """
    scale = min(1.0, CHANGED_SIDE / window.size.longer)
    size = scaled_size(window.size, scale)
    small = resize_pixels(pixels, size)
    adds = points[-1].is_object
    before = cv2.resize(present, (size.width, size.height), interpolation=cv2.INTER_NEAREST) > 127
    region = part_of(change, window, size)
    after = before | (region > 0) if adds else before & (region == 0)
    band = disc(max(BAND, math.ceil(GUESS_ERROR * scale / change[1])))
    fixed = (before == adds) | (cv2.erode(region, band) > 0) | (cv2.dilate(region, band) == 0)
    labels = np.where(after, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
    labels[fixed & after], labels[fixed & ~after] = cv2.GC_FGD, cv2.GC_BGD
    draw_points(labels, points, window, scale)
    found = grab_cut(small, labels, 1) > 0
    differs = np.where((found != before) & (found == adds), np.uint8(255), np.uint8(0))
    last = pixel_in(points[-1], window, scale, size)
    return enlarged(geodesic.keep_connected(differs, [last]), window.size)


def draw_points(labels: Mask, points: Sequence[Point], window: Box, scale: float) -> list[tuple[int, int]]:
    """Draw points into cv2.GC_… of a window; those on the object, x and y in it."""
    size = Size(labels.shape[1], labels.shape[0])
    places = [pixel_in(point, window, scale, size) for point in points]
    for point, place in zip(points, places, strict=True):
        cv2.circle(labels, place, POINT_RADIUS, cv2.GC_FGD if point.is_object else cv2.GC_BGD, -1)
    return [place for point, place in zip(points, places, strict=True) if point.is_object]


def pixel_in(point: Point, window: Box, scale: float, size: Size) -> tuple[int, int]:
    """The pixel of a scaled window at a point of the image, or the nearest one."""
    x, y = int((point.x - window.left) * scale), int((point.y - window.top) * scale)
    return min(max(x, 0), size.width - 1), min(max(y, 0), size.height - 1)


def enlarged(found: Mask, size: Size) -> Mask:
    """A mask at the size of its window: 0 or 255."""
    scaled = cv2.resize(found, (size.width, size.height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.threshold(scaled, 127, 255, cv2.THRESH_BINARY)[1], np.uint8)


def labels_of_box(inner: Box, scale: float, size: Size) -> Mask:
    """Probably the object inside the box, certainly not outside of it: cv2.GC_…, of that size."""
    labels = np.full((size.height, size.width), cv2.GC_BGD, np.uint8)
    columns, rows = (
        slice(math.floor(start * scale), math.ceil(end * scale))
        for start, end in ((inner.left, inner.right), (inner.top, inner.bottom))
    )
    labels[rows, columns] = cv2.GC_PR_FGD
    return labels


def labels_of_outline(corners: Sequence[tuple[float, float]], window: Box, scale: float, size: Size) -> Mask:
    """Probably the object inside the outline, certainly not outside of it: cv2.GC_…, of that size."""
    ring = np.clip((np.array(corners) - (window.left, window.top)) * scale, -32_000, 32_000)  # for fillPoly
    labels = np.full((size.height, size.width), cv2.GC_BGD, np.uint8)
    cv2.fillPoly(labels, [np.rint(ring).astype(np.int32)], cv2.GC_PR_FGD)
    return labels


def grab_cut(pixels: RGB, labels: Mask, iterations: int) -> Mask:
    """255 for the object. labels: cv2.GC_…; without a pixel of either kind there is nothing to tell apart."""
    is_object = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if is_object.any() and not is_object.all():
        cv2.setRNGSeed(0)  # of this thread; k-means starts at random colours
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(np.ascontiguousarray(pixels), labels, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
        is_object = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return np.where(is_object, np.uint8(255), np.uint8(0))


def part_of(guess: tuple[Mask, float], window: Box, size: Size) -> Mask:
    """A window of the image from a mask of the whole image at a scale: 0 or 255, of that size."""
    region, scale = guess
    across = np.linspace(window.left * scale, window.right * scale, size.width, endpoint=False, dtype=np.float32)
    down = np.linspace(window.top * scale, window.bottom * scale, size.height, endpoint=False, dtype=np.float32)
    taken = cv2.remap(region, *np.meshgrid(across, down), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(taken > 127, np.uint8(255), np.uint8(0))


def scaled_size(size: Size, scale: float) -> Size:
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def disc(radius: int) -> Mask:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
