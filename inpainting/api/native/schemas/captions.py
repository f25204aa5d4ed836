"""The body and the answer of `POST /api/captions/`."""

from __future__ import annotations

from pydantic import Field

from inpainting.api.fields import Fields
from inpainting.api.native.schemas.base import Success
from inpainting.api.native.schemas.bodies import IMAGE_FILE, IMAGE_TEXT, File
from inpainting.captioning import NO_MODEL, CaptionStyle


class CaptionForm(Fields):
    style: CaptionStyle = Field(
        CaptionStyle.PHOTO, description="The style of the words: of a photo, or the tags of a drawing."
    )


class CaptionUploadForm(CaptionForm):
    """Form fields and a file."""

    image: File = Field(description=IMAGE_FILE)


class CaptionJson(CaptionForm):
    """The same fields as in the form."""

    image: str = Field(description=IMAGE_TEXT)


CAPTIONS = {"multipart/form-data": CaptionUploadForm, "application/json": CaptionJson}


class DescribedImage(Success):
    caption: str = Field(validation_alias="text", description="A description, for a prompt.")
    captioner: str = Field(description=f"The model that wrote it; `{NO_MODEL}`: its colours, without a model.")
