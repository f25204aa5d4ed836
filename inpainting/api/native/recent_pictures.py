"""The pictures in which objects were selected last, decoded: the next click is usually in the same one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b

from rest_framework.request import Request

from inpainting.api.pictures import IMAGE, SentPicture, decode_sent, read_bytes
from inpainting.core.picture import Picture

MAX_BYTES = 128 * 2**20
"""Of all pixels together: three photos of 12 megapixels."""

_pictures: OrderedDict[bytes, Picture] = OrderedDict()
_lock = threading.Lock()


def read_recent(sent: SentPicture, request: Request) -> Picture:
    """As `read_picture` of an image; the same bytes are decoded once while they are kept.

    The bytes are read for each request, so that access to them is checked each time.
    """
    data = read_bytes(sent, IMAGE, request)
    key = blake2b(data, digest_size=32).digest()
    with _lock:
        picture = _pictures.get(key)
        if picture is not None:
            _pictures.move_to_end(key)
            return picture
    picture = decode_sent(sent, data, IMAGE).picture
    with _lock:
        _pictures[key] = picture
        while sum(kept.pixels.nbytes for kept in _pictures.values()) > MAX_BYTES:
            _pictures.popitem(last=False)
    return picture
