"""The decoded input images of generations that this process has just accepted, for a worker of the same process."""

from __future__ import annotations

import threading
from collections import OrderedDict

from inpainting.core.image import CanonicalImage

MAX_BYTES = 64 * 2**20
"""The limit for all pixels together: five photos of 2048 x 2048."""

_images: OrderedDict[str, CanonicalImage] = OrderedDict()
_bytes = 0
_lock = threading.Lock()


def keep(name: str, image: CanonicalImage) -> None:
    """Keep the image that was written to the file `name`; the oldest ones go once there are more than MAX_BYTES."""
    global _bytes
    if image.pixels.nbytes > MAX_BYTES:
        return
    with _lock:
        _images[name] = image
        _bytes += image.pixels.nbytes
        while _bytes > MAX_BYTES:
            _, oldest = _images.popitem(last=False)
            _bytes -= oldest.pixels.nbytes


def pop(name: str) -> CanonicalImage | None:
    """The image of the file `name`, which is kept no longer; None where it is not kept."""
    global _bytes
    with _lock:
        image = _images.pop(name, None)
        _bytes -= 0 if image is None else image.pixels.nbytes
        return image
