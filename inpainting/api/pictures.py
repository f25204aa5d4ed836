"""Every way a picture arrives -> a picture."""

from __future__ import annotations

from django.core.files.uploadedfile import UploadedFile

from inpainting.core.codecs import DecodedPicture, PictureLimits, decode_picture
from inpainting.core.errors import InvalidPicture

MAX_MASK_BYTES = 10 * 2**20
PNG_START = b"\x89PNG\r\n\x1a\n"
UNSAID_TYPES = {"", "application/octet-stream"}


def uploaded_image(file: UploadedFile) -> DecodedPicture:
    """The source image. Raises InvalidPicture whose message starts as the published API's does."""
    limits = PictureLimits()
    if (file.size or 0) > limits.max_bytes:
        raise InvalidPicture(
            f"Invalid input image: the file has {file.size} bytes; at most {limits.max_bytes} are allowed.",
            code="image_too_large",
            field="image",
            limit=limits.max_bytes,
            actual=file.size,
        )
    return _decoded(file, field="image", prefix="Invalid input image")


def uploaded_mask(file: UploadedFile) -> DecodedPicture:
    """A mask file: PNG by its declared type and by its bytes, and at most 10 MB."""
    if (file.size or 0) > MAX_MASK_BYTES:
        raise InvalidPicture(
            "Invalid mask file: Mask file size must be 10 MB or less",
            code="mask_too_large",
            field="mask",
            limit=MAX_MASK_BYTES,
            actual=file.size,
        )
    declared = (file.content_type or "").lower()
    start = file.read(len(PNG_START))
    file.seek(0)
    if declared not in {"image/png", *UNSAID_TYPES} or (start and start != PNG_START):
        raise InvalidPicture(
            "Invalid mask file: Mask file must be PNG format", code="mask_type_unsupported", field="mask"
        )
    return _decoded(file, field="mask", prefix="Invalid mask file")


def _decoded(file: UploadedFile, *, field: str, prefix: str) -> DecodedPicture:
    try:
        return decode_picture(file.read(), field=field)
    except InvalidPicture as error:
        raise InvalidPicture(
            f"{prefix}: {error.message}", code=error.code, field=field, limit=error.limit, actual=error.actual
        ) from error
