"""Images as base64, as several services answer them."""

from __future__ import annotations

import base64
import io

from PIL import Image

from inpainting.realtime.events import StepPreview


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def preview_image(preview: StepPreview) -> Image.Image:
    """Return a preview, whose URL holds it, as an image that is not decoded yet."""
    return Image.open(io.BytesIO(base64.b64decode(preview["url"].partition(",")[2])))


def preview_as_png(preview: StepPreview) -> str:
    """Return the base64 of a preview as a PNG, the format that clients show."""
    shown = io.BytesIO()
    preview_image(preview).save(shown, "png")
    return base64_of(shown.getvalue())
