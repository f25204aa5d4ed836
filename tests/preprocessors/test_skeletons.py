"""Skeletons: which key point is where in OpenPose's order, and the colours and widths of what is drawn."""

from __future__ import annotations

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
    picture = drawn([points], 512 * scale, 512 * scale)
    for (x, y), colour in zip(points.astype(int), PUBLISHED_COLOURS, strict=True):
        assert picture[y, x].tolist() == colour
    for name, colour in zip(LIMBS, PUBLISHED_COLOURS, strict=False):
        start, end = (points[OPENPOSE.index(end)] for end in name.split("-"))
        x, y = ((start + end) / 2).astype(int)
        assert picture[y, x].tolist() == [int(0.6 * channel) for channel in colour], name
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
