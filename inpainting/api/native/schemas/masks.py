"""The body and the answer of `POST /api/masks/`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from django.urls import reverse
from pydantic import Field, WithJsonSchema
from rest_framework.request import Request

from inpainting.api.dialect import origin_of
from inpainting.api.fields import Length
from inpainting.api.media.links import ending_key, image_link
from inpainting.api.native.mask_objects import MaskFormat
from inpainting.api.native.schemas.base import Answer, Optional, Page, Success
from inpainting.api.native.schemas.bodies import IMAGE_FILE, IMAGE_TEXT, File
from inpainting.api.native.schemas.drafts import SHA256
from inpainting.api.native.selections import SelectionForm
from inpainting.models import UploadedImage
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

SIZE = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2, "description": "Height, width."}
COUNTS = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}
MASK_OBJECT = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": SIZE,
        "counts": {**COUNTS, "description": "COCO's run lengths: a list, or their compressed text."},
        "path": {"type": "string", "description": "The `d` of an SVG path of straight lines, filled by even-odd."},
        "polygons": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}},
            "description": "COCO's polygons, [x, y, x, y, …] each; the mask is all of them together.",
        },
    },
}


class MaskForm(SelectionForm):
    """A selection. Each segmenter reads some of points, box, outline, words and category, and needs one of some."""

    source: UUID | None = Field(
        None, description="In place of `image`: the id of a generation whose source image is read."
    )
    picture: Annotated[str, Field(pattern=f"^{SHA256}$")] | None = Field(
        None,
        description="In place of `image`: the SHA-256 of an image that was sent to `/api/draft/pictures/<sha256>/`.",
    )
    format: MaskFormat = Field(MaskFormat.PNG, description="Of the answer.")
    webhook_url: Annotated[str, Length(MAX_URL_CHARACTERS)] | None = Field(
        None,
        description="Called when a worker has ended the selection, with a message of type `analysis.succeeded`, "
        "`analysis.failed` or `analysis.cancelled`.",
    )
    store: bool = Field(True, description="Whether the mask is stored, for later requests to name it by its `id`.")


class MaskUploadForm(MaskForm):
    """Form fields and a file."""

    image: File | None = Field(None, description=IMAGE_FILE)


class MaskJson(MaskForm):
    """The same fields as in the form."""

    image: str | None = Field(None, description=IMAGE_TEXT)


MASKS = {"multipart/form-data": MaskUploadForm, "application/json": MaskJson}


WrittenMask = Annotated[Any, WithJsonSchema({"oneOf": [{"type": "string"}, MASK_OBJECT]})]


class ChangedMask(Success):
    mask: WrittenMask = Field(
        description="By `format`: a data URL of a PNG in which white is selected (`white_repaints`), or an object with"
        " `size` and `counts` or `path`."
    )
    box: list[int] | None = Field(description="Left, top, right, bottom of what is selected.")
    area: int = Field(description="Selected pixels; 0 where nothing is selected.")
    width: int
    height: int


SCORE = "How well it fits, 0 to 1; null where the segmenter does not say."


class MaskCandidate(Answer):
    mask: WrittenMask = Field(description="As `mask` of the answer.")
    box: list[int] | None
    area: int
    score: float | None = Field(description=SCORE)


class FoundMask(Answer):
    """A stored mask."""

    id: UUID = Field(description="Accepted as `mask` by later requests: what it selects is repainted.")
    file: str = Field(description="The path of the PNG, in which white is selected.")
    url: str = Field(description="A signed link to the PNG, which the APIs of other services accept.")
    created_at: datetime
    expires_at: datetime = Field(description="When it is deleted; a day after it was found by default.")
    segmenter: str
    box: list[int]
    area: int
    score: float | None = Field(description=SCORE)
    width: int
    height: int

    @classmethod
    def of(cls, mask: UploadedImage, request: Request) -> Self:
        return cls(
            id=mask.pk,
            file=reverse("mask-file", args=[mask.pk]),
            url=image_link("inputs", "mask.png", mask, origin=origin_of(request), key=ending_key(request)),
            created_at=mask.created_at,
            expires_at=mask.expires_at,
            width=mask.width,
            height=mask.height,
            **(mask.found or {}),
        )


class FoundMaskPage(Page[FoundMask]):
    pass


class SelectedMask(ChangedMask):
    segmenter: str
    score: float | None = Field(description=SCORE)
    candidates: list[MaskCandidate] = Field(description="Other masks that fit, best first; they are not stored.")
    id: Optional[UUID] = Field(
        None, description="Of the stored mask: accepted as `mask` by later requests. Not with `store` false."
    )
    file: Optional[str] = Field(None, description="The path of the PNG.")
    url: Optional[str] = Field(None, description="A signed link to the PNG.")
    expires_at: Optional[datetime] = Field(None, description="When it is deleted.")
