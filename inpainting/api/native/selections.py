"""What a request says about the object that is to be selected: of `POST /api/masks/`, and in place of a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from inpainting.api.fields import Fields, FromJson, Integer, Length, Number, Range
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.sentences import sentence
from inpainting.core.validation import finite_numbers
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
BOX = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
DETECTION = Detection()
DETECTION_FIELDS = ("box_threshold", "text_threshold", "max_detections", "dilate")


def read_points(entries: object) -> tuple[Point, ...]:
    """The points of a list of [x, y] or [x, y, 1 or 0]."""
    if not isinstance(entries, list):
        raise InvalidRequest(sentence("points must be a list."), field="points")
    return tuple(read_point(entry, f"points[{index}]") for index, entry in enumerate(entries[: MAX_POINTS + 1]))


def read_point(entry: object, place: str) -> Point:
    numbers = finite_numbers(entry)
    if numbers is None or len(numbers) not in (2, 3) or numbers[2:] not in ((), (0.0,), (1.0,)):
        message = sentence("{place} must be [x, y], or [x, y, 1] on the object, or [x, y, 0] beside it.", place=place)
        raise InvalidRequest(message, field="points")
    return Point(numbers[0], numbers[1], numbers[2:] != (0.0,))


def read_box(entries: object) -> Box:
    numbers = finite_numbers(entries)
    if numbers is None or len(numbers) != 4:
        raise InvalidRequest(sentence("box must be [left, top, right, bottom]."), field="box")
    return box_around(*numbers)


def read_outline(entries: object) -> tuple[tuple[float, float], ...]:
    """The corners of a list of [x, y]."""
    if not isinstance(entries, list):
        raise InvalidRequest(sentence("outline must be a list."), field="outline")
    corners = [finite_numbers(entry) for entry in entries[: MAX_CORNERS + 1]]
    if not all(corner is not None and len(corner) == 2 for corner in corners):
        raise InvalidRequest(sentence("Each corner of the outline must be [x, y]."), field="outline")
    return tuple((corner[0], corner[1]) for corner in corners if corner)


def list_of(items: dict[str, Any], limit: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "items": items, "maxItems": limit})


Points = Annotated[tuple[Point, ...], PlainValidator(read_points), FromJson, list_of(POINT, MAX_POINTS)]
BoxEdges = Annotated[Box, PlainValidator(read_box), FromJson, WithJsonSchema(BOX)]
Corners = tuple[tuple[float, float], ...]
Outline = Annotated[Corners, PlainValidator(read_outline), FromJson, list_of({**POINT, "maxItems": 2}, MAX_CORNERS)]


class SelectionForm(Fields):
    """Where an object is. Each segmenter reads some of points, box, outline, words and category, and needs one of
    some."""

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
    segmenter: Annotated[str, Length(60)] | None = Field(None, description=f"Default: {registry.DEFAULT}.")


def selection_of(values: Mapping[str, Any]) -> Selection:
    """The selection that the fields of a SelectionForm describe. Raises InvalidRequest."""
    detection = Detection(**{name: values[name] for name in DETECTION_FIELDS if name in values})
    hints = {name: values[name] for name in Hint if name in values}
    return Selection(**hints, detection=detection, soft_edges=values["soft_edges"])
