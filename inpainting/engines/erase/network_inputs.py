"""The input tensors of each family's networks, from an image and its hole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Inputs = dict[str, NDArray[Any]]
PrepareInputs = Callable[[NDArray[np.uint8], NDArray[np.bool_]], Inputs]
"""(RGB picture [side, side, 3], hole [side, side]) -> tensors by input name."""


def lama_inputs(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Inputs:
    """Inputs of Carve/LaMa-ONNX: image [1, 3, h, w] RGB and mask [1, 1, h, w], float32 of 0 to 1, 1 = hole."""
    return {
        "image": np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / np.float32(255),
        "mask": hole[None, None].astype(np.float32),
    }


def migan_inputs(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Inputs:
    """Inputs of MI-GAN's scripts/create_onnx_pipeline.py: both uint8, the mask 255 = known and 0 = hole."""
    return {
        "image": np.ascontiguousarray(picture.transpose(2, 0, 1)[None]),
        "mask": np.where(hole, np.uint8(0), np.uint8(255))[None, None],
    }
