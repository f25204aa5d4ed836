"""The pictures that were analysed last, decoded: the next click is usually in the same one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from inpainting.core.picture import Picture

MAX_BYTES = 128 * 2**20
"""Of all pixels together: three photos of 12 megapixels."""

_pictures: OrderedDict[str, Picture] = OrderedDict()
_lock = threading.Lock()


def recent_picture(sha256: str, decode: Callable[[], Picture]) -> Picture:
    """The picture of the bytes with that SHA-256: the one that is kept, else what `decode` returns, kept from now on.

    Raises what `decode` raises.
    """
    with _lock:
        picture = _pictures.get(sha256)
        if picture is not None:
            _pictures.move_to_end(sha256)
            return picture
    picture = decode()
    with _lock:
        _pictures[sha256] = picture
        while sum(kept.pixels.nbytes for kept in _pictures.values()) > MAX_BYTES:
            _pictures.popitem(last=False)
    return picture
