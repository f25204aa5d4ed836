"""The last texts that a model's text encoders encoded: the same words are encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

MAX_TEXTS = 32
"""Texts that are kept: 20 MB for SDXL, 130 MB for FLUX in half precision."""
Encoded = TypeVar("Encoded")


class TextCache:
    """Encodings by what they depend on. Only the device's thread uses it. Their tensors are never changed."""

    def __init__(self) -> None:
        self._encodings: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, encode: Callable[[], Encoded]) -> Encoded:
        """The encoding for a key; encoded now if it is not among the last MAX_TEXTS."""
        if key not in self._encodings:
            self._encodings[key] = encode()
            if len(self._encodings) > MAX_TEXTS:
                self._encodings.popitem(last=False)
        self._encodings.move_to_end(key)
        found: Encoded = self._encodings[key]
        return found

    def clear(self) -> None:
        self._encodings.clear()
