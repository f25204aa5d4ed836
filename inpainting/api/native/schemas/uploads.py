"""The body and the answer of `POST /api/upload-mask`."""

from __future__ import annotations

from pydantic import Field

from inpainting.api.fields import Fields
from inpainting.api.native.schemas.base import Success
from inpainting.api.native.schemas.bodies import File


class MaskUpload(Fields):
    file: File = Field(description="PNG up to 10 MB; or a text, as in JSON.")


class UploadedMask(Success):
    message: str
    filename: str
    size: int = Field(description="Bytes of the file.")
    url: str = Field(description="A signed link that a later request may send as `mask`; a day by default.")
