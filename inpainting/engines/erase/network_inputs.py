"""The input tensors of each family's networks, from an image and its hole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Inputs = dict[str, NDArray[Any]]
PrepareInputs = Callable[[NDArray[np.uint8], NDArray[np.bool_]], Inputs]
"""(RGB image [side, side, 3], hole [side, side]) -> tensors by input name."""


def lama_inputs(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Inputs:
    """Return inputs of Carve/LaMa-ONNX: image [1, 3, h, w] RGB and mask [1, 1, h, w], float32 of 0 to 1, 1 = hole."""
    return {
        "image": np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255),
        "mask": hole[None, None].astype(np.float32),
    }


def migan_inputs(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Inputs:
    """Return inputs of MI-GAN's scripts/create_onnx_pipeline.py: both uint8, the mask 255 = known and 0 = hole."""
    return {
        "image": np.ascontiguousarray(image.transpose(2, 0, 1)[None]),
        "mask": np.where(hole, np.uint8(0), np.uint8(255))[None, None],
    }


def fill_hole_with_nearest(image: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the image [height, width, 3] with each pixel of the hole in the colour of the nearest known pixel.

    LaMa masks the hole inside its graph, so its contents do not matter. MI-GAN's graph fades its result in over the
    three pixels inside the hole's border (a dilation of the known part by 3x3, then a Gaussian of 5x5, in the authors'
    scripts/create_onnx_pipeline.py) and mixes what the hole holds into them: a black hole leaves a dark outline there,
    the photo itself the outline of the object.
    """
    if hole.all() or not hole.any():
        return image
    _, labels = cv2.distanceTransformWithLabels(
        hole.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Each known pixel has a label of its own, and each pixel of the hole that of the nearest known one.
    colours = np.zeros((labels.max() + 1, 3), np.uint8)
    colours[labels[~hole]] = image[~hole]
    return colours[labels]
