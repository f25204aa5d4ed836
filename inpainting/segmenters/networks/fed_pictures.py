"""The inputs of networks that outline objects: the size of the scaled picture, and embeddings of recent pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Size
from inpainting.segmenters.base import check_side_ratio

MAX_EMBEDDINGS = 8
"""Kept for further clicks on the same picture, of each model: 4 MB each of SAM and MobileSAM, 16 MB of SAM 2."""


def fed_size(height: int, width: int, longer: int) -> tuple[int, int]:
    """Height and width of a picture whose longer side is scaled to `longer`, rounded as SAM does.

    Raises InvalidRequest for a picture that is too thin.
    """
    check_side_ratio(Size(width, height), longer)
    scale = longer / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


class Embeddings:
    """The embeddings that an encoder makes of pictures, kept for the next selection on it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, pixels: NDArray[np.uint8], embed: Callable[[NDArray[np.uint8]], Any]) -> Any:
        """The result of `embed`, computed now or kept, for RGB [height, width, 3]."""
        key = blake2b(pixels.tobytes(), salt=f"{pixels.shape[1]}".encode()).digest()
        with self._lock:  # two clicks on a new picture compute it once
            embedding = self._kept.pop(key, None)
            if embedding is None:
                embedding = embed(pixels)
            self._kept[key] = embedding
            while len(self._kept) > MAX_EMBEDDINGS:
                self._kept.popitem(last=False)
        return embedding
