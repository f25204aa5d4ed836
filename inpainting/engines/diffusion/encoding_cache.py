"""The last encodings of a model: the same words and the same images are encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

MAX_TEXTS = 32
"""Texts that are kept: 20 MB for SDXL, 130 MB for FLUX in half precision."""
MAX_IMAGES = 16
"""Images that are kept, masked ones too: 8 MB for SDXL at 1024 x 1024, 17 MB for FLUX in half precision."""
Encoded = TypeVar("Encoded")


class EncodingCache:
    """Encodings by what they depend on. Only the device's thread uses it. Their tensors are never changed."""

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        self._encodings: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, encode: Callable[[], Encoded]) -> Encoded:
        """The encoding for a key; encoded now if it is not among the last `max_count`."""
        if key not in self._encodings:
            self._encodings[key] = encode()
            if len(self._encodings) > self._max_count:
                self._encodings.popitem(last=False)
        self._encodings.move_to_end(key)
        found: Encoded = self._encodings[key]
        return found

    def clear(self) -> None:
        self._encodings.clear()
