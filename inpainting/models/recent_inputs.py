"""The decoded input images of generations that this process has just accepted, for a worker of the same process."""

from __future__ import annotations

import threading
from collections import OrderedDict

from inpainting.core.picture import Picture

MAX_BYTES = 64 * 2**20
"""Of all pixels together: five photos of 2048 x 2048."""

_pictures: OrderedDict[str, Picture] = OrderedDict()
_bytes = 0
_lock = threading.Lock()


def keep(name: str, picture: Picture) -> None:
    """Keep the picture that was written to the file `name`; the oldest ones go once there are more than MAX_BYTES."""
    global _bytes
    if picture.pixels.nbytes > MAX_BYTES:
        return
    with _lock:
        _pictures[name] = picture
        _bytes += picture.pixels.nbytes
        while _bytes > MAX_BYTES:
            _, oldest = _pictures.popitem(last=False)
            _bytes -= oldest.pixels.nbytes


def take(name: str) -> Picture | None:
    """The picture of the file `name`, which is kept no longer; None where it is not kept."""
    global _bytes
    with _lock:
        picture = _pictures.pop(name, None)
        _bytes -= 0 if picture is None else picture.pixels.nbytes
        return picture
