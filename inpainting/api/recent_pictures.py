"""Pictures in which objects are selected, as requests send them: the same bytes are decoded once for many clicks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from rest_framework.request import Request

from inpainting.api.pictures import IMAGE, PictureRole, SentPicture, decode_sent, read_bytes
from inpainting.core.picture import Picture
from inpainting.media.recent_pictures import recent_picture


@dataclass(frozen=True, slots=True, eq=False)
class ReadPicture:
    """A decoded picture, and its bytes as they were sent with their SHA-256 in hexadecimal."""

    picture: Picture
    data: bytes
    sha256: str


def read_recent(sent: SentPicture, request: Request, role: PictureRole = IMAGE) -> ReadPicture:
    """As `read_picture`. The bytes are read for each request, so that access to them is checked each time."""
    data = read_bytes(sent, role, request)
    sha256 = hashlib.sha256(data).hexdigest()
    return ReadPicture(recent_picture(sha256, lambda: decode_sent(sent, data, role).picture), data, sha256)
