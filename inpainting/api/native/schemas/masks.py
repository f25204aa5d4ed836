"""The body and the answer of `POST /api/masks/`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from django.urls import reverse
from pydantic import Field, PlainValidator, WithJsonSchema
from rest_framework.request import Request

from inpainting.api.dialect import origin_of
from inpainting.api.fields import Fields, FromJson, Integer, Length, Number, Range
from inpainting.api.media.links import ending_key, image_link
from inpainting.api.native.mask_objects import MaskFormat
from inpainting.api.native.schemas.base import Answer, Optional, Page, Success
from inpainting.api.native.schemas.bodies import IMAGE_FILE, IMAGE_TEXT, File
from inpainting.api.native.schemas.drafts import SHA256
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.validation import finite_numbers
from inpainting.models import UploadedImage
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS
from inpainting.segmenters import registry
from inpainting.segmenters.base import (
    MAX_BOXES,
    MAX_CORNERS,
    MAX_DILATE,
    MAX_POINTS,
    MAX_WORDS_CHARACTERS,
    Detection,
    Hint,
    Point,
    Selection,
    box_around,
)

POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}
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
BOX = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
DETECTION = Detection()
DETECTION_FIELDS = ("box_threshold", "text_threshold", "max_detections", "dilate")


def read_points(entries: object) -> tuple[Point, ...]:
    """The points of a list of [x, y] or [x, y, 1 or 0]."""
    if not isinstance(entries, list):
        raise InvalidRequest("points must be a list.", field="points")
    return tuple(read_point(entry, f"points[{index}]") for index, entry in enumerate(entries[: MAX_POINTS + 1]))


def read_point(entry: object, place: str) -> Point:
    numbers = finite_numbers(entry)
    if numbers is None or len(numbers) not in (2, 3) or numbers[2:] not in ((), (0.0,), (1.0,)):
        message = f"{place} must be [x, y], or [x, y, 1] on the object, or [x, y, 0] beside it."
        raise InvalidRequest(message, field="points")
    return Point(numbers[0], numbers[1], numbers[2:] != (0.0,))


def read_box(entries: object) -> Box:
    numbers = finite_numbers(entries)
    if numbers is None or len(numbers) != 4:
        raise InvalidRequest("box must be [left, top, right, bottom].", field="box")
    return box_around(*numbers)


def read_outline(entries: object) -> tuple[tuple[float, float], ...]:
    """The corners of a list of [x, y]."""
    if not isinstance(entries, list):
        raise InvalidRequest("outline must be a list.", field="outline")
    corners = [finite_numbers(entry) for entry in entries[: MAX_CORNERS + 1]]
    if not all(corner is not None and len(corner) == 2 for corner in corners):
        raise InvalidRequest("Each corner of the outline must be [x, y].", field="outline")
    return tuple((corner[0], corner[1]) for corner in corners if corner)


def list_of(items: dict[str, Any], limit: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "items": items, "maxItems": limit})


Points = Annotated[tuple[Point, ...], PlainValidator(read_points), FromJson, list_of(POINT, MAX_POINTS)]
BoxEdges = Annotated[Box, PlainValidator(read_box), FromJson, WithJsonSchema(BOX)]
Corners = tuple[tuple[float, float], ...]
Outline = Annotated[Corners, PlainValidator(read_outline), FromJson, list_of({**POINT, "maxItems": 2}, MAX_CORNERS)]


class MaskForm(Fields):
    """A selection. Each segmenter reads some of points, box, outline, words and category, and needs one of some."""

    points: Points | None = Field(
        None,
        description="[[x, y, 1 or 0], …] in pixels: 1, the default, on the object, 0 beside it. In forms as JSON text.",
    )
    box: BoxEdges | None = Field(
        None, description="[left, top, right, bottom] around the object. In forms as JSON text."
    )
    outline: Outline | None = Field(
        None, description="[[x, y], …] roughly around the object, whose edges are found. In forms as JSON."
    )
    words: Annotated[str, Length(MAX_WORDS_CHARACTERS)] | None = Field(
        None, description="What to select; some segmenters read it."
    )
    box_threshold: Annotated[Number, Range(0, 1)] | None = Field(
        None, description=f"With `words`: lowest score of a find. Default: {DETECTION.box_threshold}."
    )
    text_threshold: Annotated[Number, Range(0, 1)] | None = Field(
        None, description=f"With `words`: lowest score of a word of a find. Default: {DETECTION.text_threshold}."
    )
    max_detections: Annotated[Integer, Range(0, MAX_BOXES)] | None = Field(
        None, description=f"With `words`: how many of the best finds are selected; 0, the default, is {MAX_BOXES}."
    )
    dilate: Annotated[Number, Range(-MAX_DILATE, MAX_DILATE)] | None = Field(
        None,
        description="With `words`: pixels by which the box of each find is widened; below 0 narrowed. Default: 0.",
    )
    category: Annotated[str, Length(60)] | None = Field(
        None, description="Of garments: `upper`, `lower` or `full`. Default: all."
    )
    tolerance: Annotated[float, Field(ge=0, le=255)] | None = Field(
        None, description="Of the segmenter `colour`: difference of each channel."
    )
    soft_edges: bool = Field(
        False,
        description="Whether the edges follow hair and fur by greys. `rle` and `svg` then hold each pixel that is "
        "selected in part.",
    )
    source: UUID | None = Field(
        None, description="In place of `image`: the id of a generation whose source image is read."
    )
    picture: Annotated[str, Field(pattern=f"^{SHA256}$")] | None = Field(
        None,
        description="In place of `image`: the SHA-256 of an image that was sent to `/api/draft/pictures/<sha256>/`.",
    )
    format: MaskFormat = Field(MaskFormat.PNG, description="Of the answer.")
    segmenter: Annotated[str, Length(60)] | None = Field(None, description=f"Default: {registry.DEFAULT}.")
    webhook_url: Annotated[str, Length(MAX_URL_CHARACTERS)] | None = Field(
        None,
        description="Called when a worker has ended the selection, with a message of type `analysis.succeeded`, "
        "`analysis.failed` or `analysis.cancelled`.",
    )
    store: bool = Field(True, description="Whether the mask is stored, for later requests to name it by its `id`.")


def selection_of(values: Mapping[str, Any]) -> Selection:
    """The selection that the fields of a MaskForm describe. Raises InvalidRequest."""
    detection = Detection(**{name: values[name] for name in DETECTION_FIELDS if name in values})
    hints = {name: values[name] for name in Hint if name in values}
    return Selection(**hints, detection=detection, soft_edges=values["soft_edges"])


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
