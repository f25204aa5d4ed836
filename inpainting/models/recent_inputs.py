"""The decoded input images of generations that this process has just accepted, for a worker of the same process."""

from __future__ import annotations

import threading
from collections import OrderedDict

from inpainting.core.picture import Picture

MAX_BYTES = 64 * 2**20
"""Of all pixels together: five photos of 2048 x 2048."""

_pictures: OrderedDict[str, Picture] = OrderedDict()
_lock = threading.Lock()


def keep(name: str, picture: Picture) -> None:
    """Keep the picture that was written to the file `name`; the oldest ones go once there are more than MAX_BYTES."""
    if picture.pixels.nbytes > MAX_BYTES:
        return
    with _lock:
        _pictures[name] = picture
        while sum(kept.pixels.nbytes for kept in _pictures.values()) > MAX_BYTES:
            _pictures.popitem(last=False)


def take(name: str) -> Picture | None:
    """The picture of the file `name`, which is kept no longer; None where it is not kept."""
    with _lock:
        return _pictures.pop(name, None)
