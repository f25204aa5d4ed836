"""Skeletons as OpenPose draws them, which ControlNets for poses were trained on."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

COCO_POINTS = 17
NECK_SIDES = 5, 6
"""The shoulders among the 17 key points of COCO. OpenPose's neck is their mean, as in DWPose."""
COCO_ORDER = (0, COCO_POINTS, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose's 18 key points by their number in COCO, the neck being number 17 there (CMU's output format "COCO")."""
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""The key points of OpenPose that each limb joins, in the order of their colours (`limbSeq` of ControlNet)."""
COLOURS = tuple(
    tuple(round(255 * share) for share in colorsys.hsv_to_rgb(number / len(COCO_ORDER), 1, 1))
    for number in range(len(COCO_ORDER))
)
"""Of limbs and key points by their number, RGB: OpenPose's circle of 18 hues from red (`colors` of ControlNet)."""
LIMB_BRIGHTNESS = 0.6
"""Limbs are darkened to this share before the key points are drawn over them (ControlNet's `draw_bodypose`)."""
RADIUS, SHORTER_SIDE = 4, 512
"""Of key points, and half the width of limbs, in pixels, in images with this shorter side: those of ControlNet's
training (`stickwidth`, and `detect_resolution` of its annotators). ControlNet draws at this size and scales the drawing
to that of the image; here the radius is scaled, so that edges stay sharp."""


def openpose_points(points: NDArray[np.float32], visible: NDArray[np.bool_]) -> NDArray[np.float32]:
    """COCO's key points [17, 2] as OpenPose's [18, 2], NaN where one is not visible. visible: [17]."""
    known = np.where(visible[:, np.newaxis], points, np.float32(np.nan))
    neck = known[list(NECK_SIDES)].mean(axis=0, keepdims=True)
    return np.concatenate([known, neck])[list(COCO_ORDER)]


def drawn(people: Iterable[NDArray[np.float32]], height: int, width: int) -> NDArray[np.uint8]:
    """The skeletons in RGB [height, width, 3] on black. people: the OpenPose key points of each, [18, 2] of x and y in
    pixels; a limb is drawn where both its ends are finite."""
    people = [points.astype(np.float64) for points in people]
    canvas = np.zeros((height, width, 3), np.uint8)
    radius = max(1, round(RADIUS * min(height, width) / SHORTER_SIDE))
    for colour, (start, end) in zip(COLOURS, LIMBS, strict=False):
        for points in people:
            if np.isfinite(points[[start, end]]).all():
                draw_limb(canvas, points[start], points[end], radius, colour)
    canvas = (canvas * LIMB_BRIGHTNESS).astype(np.uint8)
    for number, colour in enumerate(COLOURS):
        for points in people:
            if np.isfinite(points[number]).all():
                x, y = points[number]
                cv2.circle(canvas, (int(x), int(y)), radius, colour, cv2.FILLED)
    return canvas


def draw_limb(
    canvas: NDArray[np.uint8],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: int,
    colour: tuple[int, ...],
) -> None:
    """Fill the ellipse between two points, `radius` from its longer axis to its edge.

    Everything is cut to whole numbers before it is drawn, as by ControlNet's `draw_bodypose`.
    """
    (x, y), (along_x, along_y) = (start + end) / 2, start - end
    half_length, degrees = int(np.hypot(along_x, along_y) / 2), int(np.degrees(np.arctan2(along_y, along_x)))
    outline = cv2.ellipse2Poly((int(x), int(y)), (half_length, radius), degrees, 0, 360, 1)
    cv2.fillConvexPoly(canvas, outline, colour)
