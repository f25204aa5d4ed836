"""Images in which objects are selected, as requests send them: the same bytes are decoded once for many clicks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from rest_framework.request import Request

from inpainting.api.images import IMAGE, ImageRole, SentImage, decode_sent, read_bytes
from inpainting.core.image import CanonicalImage
from inpainting.media.recent_images import recent_image


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """A decoded image, and its bytes as they were sent with their SHA-256 in hexadecimal."""

    image: CanonicalImage
    data: bytes
    sha256: str


def read_recent(sent: SentImage, request: Request, role: ImageRole = IMAGE) -> ReadImage:
    """Read an image like `read_image`. The bytes are read for each request, so that access is checked each time."""
    data = read_bytes(sent, role, request)
    sha256 = hashlib.sha256(data).hexdigest()
    return ReadImage(recent_image(sha256, lambda: decode_sent(sent, data, role).image), data, sha256)
