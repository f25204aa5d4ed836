"""The inputs and outputs of networks that outline objects: scaled images, kept embeddings, masks from logits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Size
from inpainting.core.image import Mask
from inpainting.segmenters.base import Selection, check_side_ratio

MAX_EMBEDDINGS = 8
"""Kept for further clicks on the same image, of each model: 4 MB each of SAM and MobileSAM, 16 MB of SAM 2."""


def is_ambiguous(selection: Selection) -> bool:
    """Whether one point alone marks the object: three masks answer it, such as a part, the whole thing and a group.

    Several points, or a box, mean one thing, for which the decoder has a mask of its own: `multimask_output=False` of
    SAM's predictor ("for non-ambiguous prompts"), and SAM 2's training, where a box counts as two points
    (`multimask_max_pt_num: 1` in its configurations).
    """
    return selection.box is None and len(selection.points) == 1


def fed_size(height: int, width: int, longer: int) -> tuple[int, int]:
    """Height and width of an image whose longer side is scaled to `longer`, rounded as SAM does.

    Raises InvalidRequest for an image that is too thin.
    """
    check_side_ratio(Size(width, height), longer)
    scale = longer / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def remove_padding(logits: NDArray[np.float32], side: int, fed: tuple[int, int]) -> NDArray[np.float32]:
    """The logits [height, width] of an image of the size `fed`, which padding made a square of this side."""
    return cv2.resize(logits, (side, side), interpolation=cv2.INTER_LINEAR)[: fed[0], : fed[1]]


def mask_of(logits: NDArray[np.float32], height: int, width: int) -> Mask:
    """The mask of that size from the logits [.., ..] of the whole image: what is above 0."""
    scaled = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    return cast(Mask, (scaled > 0).view(np.uint8) * np.uint8(255))


class Embeddings:
    """The embeddings that an encoder makes of images, kept for the next selection on it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, pixels: NDArray[np.uint8], embed: Callable[[NDArray[np.uint8]], Any]) -> Any:
        """The result of `embed`, computed now or kept, for RGB [height, width, 3]."""
        key = blake2b(pixels.tobytes(), salt=f"{pixels.shape[1]}".encode()).digest()
        with self._lock:  # two clicks on a new image compute it once
            embedding = self._kept.pop(key, None)
            if embedding is None:
                embedding = embed(pixels)
            self._kept[key] = embedding
            while len(self._kept) > MAX_EMBEDDINGS:
                self._kept.popitem(last=False)
        return embedding
