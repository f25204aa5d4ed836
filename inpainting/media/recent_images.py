"""The images that were analysed last, decoded: the next click is usually in the same one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from inpainting.core.image import CanonicalImage

MAX_BYTES = 128 * 2**20
"""The limit of all pixels together: three photos of 12 megapixels."""

_images: OrderedDict[str, CanonicalImage] = OrderedDict()
_lock = threading.Lock()


def recent_image(sha256: str, decode: Callable[[], CanonicalImage]) -> CanonicalImage:
    """Return the image of the bytes with that SHA-256: the one that is kept, else what `decode` returns, kept from now
    on.

    Raises what `decode` raises.
    """
    with _lock:
        image = _images.get(sha256)
        if image is not None:
            _images.move_to_end(sha256)
            return image
    image = decode()
    with _lock:
        _images[sha256] = image
        while sum(kept.pixels.nbytes for kept in _images.values()) > MAX_BYTES:
            _images.popitem(last=False)
    return image
