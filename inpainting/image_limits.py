"""The limits of this site on uploaded images, from the settings MAX_MEGAPIXELS, MAX_SIDE and MAX_IMAGE_MB."""

from __future__ import annotations

from django.conf import settings

from inpainting.core.codecs.accepted import ACCEPTED
from inpainting.core.codecs.intake import IntakeLimits, limits_of


def image_limits() -> IntakeLimits:
    """For every image that is sent, and for the canvas of an outpainting."""
    return limits_of(megapixels=settings.MAX_MEGAPIXELS, max_side=settings.MAX_SIDE, mebibytes=settings.MAX_IMAGE_MB)


def accepted_files() -> str:
    """The accepted formats and bytes, for people: "PNG, JPEG, ... or HEIC, up to 32 MB"."""
    return f"{ACCEPTED}, up to {settings.MAX_IMAGE_MB} MB"
