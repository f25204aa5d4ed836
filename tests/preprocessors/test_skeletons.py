"""Skeletons: which key point is where in OpenPose's order, and what is drawn of them, equal to ControlNet's drawing."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from inpainting.preprocessors.skeletons import drawn, openpose_points

COCO = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder"),
    *("left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip"),
    *("left knee", "right knee", "left ankle", "right ankle"),
)
OPENPOSE = (
    *("nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist"),
    *("right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle"),
    *("right eye", "left eye", "right ear", "left ear"),
)
"""The orders of key points that COCO and OpenPose (its output format "COCO") document."""
STANDING = np.array(
    [
        *([256, 80], [256, 140], [200, 140], [170, 220], [150, 300], [312, 140], [340, 220], [360, 300]),
        *([225, 300], [220, 400], [215, 490], [285, 300], [290, 400], [295, 490]),
        *([236, 70], [276, 70], [222, 78], [290, 78]),
    ],
    np.float32,
)
LEFT = np.array([100, 0], np.float32)
PUBLISHED_COLOURS = (
    *([255, 0, 0], [255, 85, 0], [255, 170, 0], [255, 255, 0], [170, 255, 0], [85, 255, 0], [0, 255, 0]),
    *([0, 255, 85], [0, 255, 170], [0, 255, 255], [0, 170, 255], [0, 85, 255], [0, 0, 255], [85, 0, 255]),
    *([170, 0, 255], [255, 0, 255], [255, 0, 170], [255, 0, 85]),
)
LIMBS = (
    *("neck-right shoulder", "neck-left shoulder", "right shoulder-right elbow", "right elbow-right wrist"),
    *("left shoulder-left elbow", "left elbow-left wrist", "neck-right hip", "right hip-right knee"),
    *("right knee-right ankle", "neck-left hip", "left hip-left knee", "left knee-left ankle", "neck-nose"),
    *("nose-right eye", "right eye-right ear", "nose-left eye", "left eye-left ear"),
)


def test_the_key_points_come_in_openposes_order_with_the_neck_between_the_shoulders() -> None:
    places = {name: np.array([index, 100 - 3 * index], np.float32) for index, name in enumerate(COCO)}
    points = openpose_points(np.array([places[name] for name in COCO]), np.ones(len(COCO), np.bool_))
    places["neck"] = np.mean([places["left shoulder"], places["right shoulder"]], axis=0, dtype=np.float32)
    assert np.array_equal(points, [places[name] for name in OPENPOSE])


@pytest.mark.parametrize("hidden", ["left shoulder", "right shoulder"])
def test_without_both_shoulders_there_is_no_neck(hidden: str) -> None:
    visible = np.array([name != hidden for name in COCO])
    points = openpose_points(np.ones((len(COCO), 2), np.float32), visible)
    missing = {name for name, point in zip(OPENPOSE, points, strict=True) if np.isnan(point).all()}
    assert missing == {"neck", hidden}


@pytest.mark.parametrize("scale", [1, 2])
def test_points_and_limbs_have_the_published_colours_and_widths(scale: int) -> None:
    points = STANDING * scale
    image = drawn([points], 512 * scale, 512 * scale)
    for (x, y), colour in zip(points.astype(int), PUBLISHED_COLOURS, strict=True):
        assert image[y, x].tolist() == colour
    for name, colour in zip(LIMBS, PUBLISHED_COLOURS, strict=False):
        start, end = (points[OPENPOSE.index(end)] for end in name.split("-"))
        x, y = ((start + end) / 2).astype(int)
        assert image[y, x].tolist() == [int(0.6 * channel) for channel in colour], name
    alone = np.full_like(points, np.nan)
    alone[0] = points[0]
    assert cv2.boundingRect(drawn([alone], 512 * scale, 512 * scale).max(axis=2))[2:] == (8 * scale + 1, 8 * scale + 1)
    thigh = np.full_like(points, np.nan)
    thigh[[8, 9]] = (100 * scale, 200 * scale), (100 * scale, 400 * scale)
    column = drawn([thigh], 512 * scale, 512 * scale)[300 * scale].any(axis=1)
    assert abs(column.sum() - 8 * scale) <= 1


def test_a_missing_point_takes_its_limbs_along_and_everybody_is_drawn() -> None:
    armless = STANDING.copy()
    armless[OPENPOSE.index("right elbow")] = np.nan
    one, both = drawn([armless], 512, 512), drawn([armless, STANDING - LEFT], 512, 512)
    assert not one[220, 170].any()
    assert not one[180, 185].any()
    assert one[300, 150].any()
    assert np.array_equal(one[:, 380:], both[:, 380:])
    assert both[80, 156].tolist() == [255, 0, 0]
    assert not drawn([], 7, 9).any()


def as_controlnet_draws(people: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """The steps of `draw_bodypose` (controlnet_aux, open_pose/util.py, Apache-2.0; the same in DWPose):
    half-widths and radii of 4, angles from the second end to the first, and every number cut off before it is drawn.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    for name, colour in zip(LIMBS, PUBLISHED_COLOURS, strict=False):
        first, second = (OPENPOSE.index(end) for end in name.split("-"))
        for points in people:
            (x1, y1), (x2, y2) = points[first].tolist(), points[second].tolist()
            if any(map(math.isnan, (x1, y1, x2, y2))):
                continue
            half = int(math.hypot(x1 - x2, y1 - y2) / 2)
            angle = int(math.degrees(math.atan2(y1 - y2, x1 - x2)))
            outline = cv2.ellipse2Poly((int((x1 + x2) / 2), int((y1 + y2) / 2)), (half, 4), angle, 0, 360, 1)
            cv2.fillConvexPoly(canvas, outline, colour)
    canvas = (canvas * 0.6).astype(np.uint8)
    for number, colour in enumerate(PUBLISHED_COLOURS):
        for points in people:
            if not np.isnan(points[number]).any():
                cv2.circle(canvas, tuple(map(int, points[number].tolist())), 4, colour, thickness=-1)
    return canvas


def test_the_drawing_is_controlnets_pixel_for_pixel_at_its_size() -> None:
    generator = np.random.default_rng(0)
    people = [
        STANDING + generator.normal(0, 9, STANDING.shape).astype(np.float32) + shift for shift in (0, LEFT, -LEFT)
    ]
    people[1][[4, 7, 10]] = np.nan
    expected = as_controlnet_draws(people, 512, 768)
    assert expected.any(axis=2).sum() > 5_000
    assert np.array_equal(drawn(people, 512, 768), expected)
