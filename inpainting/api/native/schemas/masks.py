"""The body and the answer of `POST /api/masks/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inpainting.api.dialect import origin_of
from inpainting.api.media.links import ending_key, image_link
from inpainting.api.native.mask_objects import MaskFormat
from inpainting.api.native.schemas.base import Answer, Constant, Link, Page, UtcDateTime
from inpainting.api.native.schemas.drafts import SHA256
from inpainting.api.setting_fields import Integer, Number, Text, parse_json
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.validation import finite_numbers
from inpainting.image_limits import accepted_files
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


@extend_schema_field({"type": "array", "items": POINT, "maxItems": MAX_POINTS})
class Points(serializers.Field):
    """A list of [x, y] or [x, y, 1 or 0]; in forms the same list as JSON text."""

    def to_internal_value(self, data: Any) -> tuple[Point, ...]:
        entries = parse_json(data, self) if isinstance(data, str) else data
        if not isinstance(entries, list):
            raise InvalidRequest("points must be a list.", field="points")
        return tuple(self._point(entry, f"points[{index}]") for index, entry in enumerate(entries[: MAX_POINTS + 1]))

    def _point(self, entry: Any, place: str) -> Point:
        numbers = finite_numbers(entry)
        if numbers is None or len(numbers) not in (2, 3) or numbers[2:] not in ((), (0.0,), (1.0,)):
            message = f"{place} must be [x, y], or [x, y, 1] on the object, or [x, y, 0] beside it."
            raise InvalidRequest(message, field="points")
        return Point(numbers[0], numbers[1], numbers[2:] != (0.0,))


@extend_schema_field(BOX)
class BoxEdges(serializers.Field):
    """[left, top, right, bottom]; in forms as JSON text."""

    def to_internal_value(self, data: Any) -> Box:
        numbers = finite_numbers(parse_json(data, self) if isinstance(data, str) else data)
        if numbers is None or len(numbers) != 4:
            raise InvalidRequest("box must be [left, top, right, bottom].", field="box")
        return box_around(*numbers)


@extend_schema_field({"type": "array", "items": {**POINT, "maxItems": 2}, "maxItems": MAX_CORNERS})
class Outline(serializers.Field):
    """A list of [x, y]; in forms as JSON text."""

    def to_internal_value(self, data: Any) -> tuple[tuple[float, float], ...]:
        entries = parse_json(data, self) if isinstance(data, str) else data
        if not isinstance(entries, list):
            raise InvalidRequest("outline must be a list.", field="outline")
        corners = [finite_numbers(entry) for entry in entries[: MAX_CORNERS + 1]]
        if not all(corner is not None and len(corner) == 2 for corner in corners):
            raise InvalidRequest("Each corner of the outline must be [x, y].", field="outline")
        return tuple((corner[0], corner[1]) for corner in corners if corner)


class MaskForm(serializers.Serializer):
    """A selection. Each segmenter reads some of points, box, outline, words and category, and needs one of some."""

    points = Points(
        required=False,
        help_text="[[x, y, 1 or 0], …] in pixels: 1, the default, on the object, 0 beside it. In forms as JSON text.",
    )
    box = BoxEdges(required=False, help_text="[left, top, right, bottom] around the object. In forms as JSON text.")
    outline = Outline(
        required=False,
        help_text="[[x, y], …] roughly around the object, whose edges are found. In forms as JSON.",
    )
    words = Text(required=False, max_length=MAX_WORDS_CHARACTERS, help_text="What to select; some segmenters read it.")
    box_threshold = Number(
        required=False,
        min_value=0,
        max_value=1,
        help_text=f"With `words`: lowest score of a find. Default: {DETECTION.box_threshold}.",
    )
    text_threshold = Number(
        required=False,
        min_value=0,
        max_value=1,
        help_text=f"With `words`: lowest score of a word of a find. Default: {DETECTION.text_threshold}.",
    )
    max_detections = Integer(
        required=False,
        min_value=0,
        max_value=MAX_BOXES,
        help_text=f"With `words`: how many of the best finds are selected; 0, the default, is {MAX_BOXES}.",
    )
    dilate = Number(
        required=False,
        min_value=-MAX_DILATE,
        max_value=MAX_DILATE,
        help_text="With `words`: pixels by which the box of each find is widened; below 0 narrowed. Default: 0.",
    )
    category = Text(required=False, max_length=60, help_text="Of garments: `upper`, `lower` or `full`. Default: all.")
    tolerance = serializers.FloatField(
        required=False, min_value=0, max_value=255, help_text="Of the segmenter `colour`: difference of each channel."
    )
    source = serializers.UUIDField(  # type: ignore[assignment]  # the metaclass collects it
        required=False, help_text="In place of `image`: the id of a generation whose source image is read."
    )
    picture = serializers.RegexField(
        f"^{SHA256}$",
        required=False,
        help_text="In place of `image`: the SHA-256 of an image that was sent to `/api/draft/pictures/<sha256>/`.",
    )
    format = serializers.ChoiceField([*MaskFormat], default=MaskFormat.PNG, help_text="Of the answer.")
    segmenter = Text(required=False, max_length=60, help_text=f"Default: {registry.DEFAULT}.")
    webhook_url = Text(
        required=False,
        max_length=MAX_URL_CHARACTERS,
        help_text="Called when a worker has ended the selection, with a message of type `analysis.succeeded`, "
        "`analysis.failed` or `analysis.cancelled`.",
    )
    store = serializers.BooleanField(
        default=True, help_text="Whether the mask is stored, for later requests to name it by its `id`."
    )


def selection_of(values: Mapping[str, Any]) -> Selection:
    """The selection that the fields of a MaskForm describe. Raises InvalidRequest."""
    detection = Detection(**{name: values[name] for name in DETECTION_FIELDS if name in values})
    return Selection(**{name: values[name] for name in Hint if name in values}, detection=detection)


class MaskUploadForm(MaskForm):
    """Form fields and a file."""

    image = serializers.FileField(required=False, help_text=f"{accepted_files()}; or a text, as in JSON.")


class MaskJson(MaskForm):
    """The same fields as in the form."""

    image = serializers.CharField(
        required=False, help_text="Base64, a data URL, an http(s) URL, or a link of this site."
    )


MASKS = {"multipart/form-data": MaskUploadForm, "application/json": MaskJson}


@extend_schema_field({"oneOf": [{"type": "string"}, MASK_OBJECT]})
class WrittenMask(serializers.Field):
    def to_representation(self, value: Any) -> Any:
        return value


class ChangedMask(Answer):
    status = Constant("success")
    mask = WrittenMask(
        help_text="By `format`: a data URL of a PNG in which white is selected (`white_repaints`), or an object with"
        " `size` and `counts` or `path`."
    )
    box = serializers.ListField(
        child=serializers.IntegerField(), allow_null=True, help_text="Left, top, right, bottom of what is selected."
    )
    area = serializers.IntegerField(help_text="Selected pixels; 0 where nothing is selected.")
    width = serializers.IntegerField()
    height = serializers.IntegerField()


SCORE = "How well it fits, 0 to 1; null where the segmenter does not say."


class MaskCandidate(Answer):
    mask = WrittenMask(help_text="As `mask` of the answer.")
    box = serializers.ListField(child=serializers.IntegerField(), allow_null=True)
    area = serializers.IntegerField()
    score = serializers.FloatField(allow_null=True, help_text=SCORE)


class FoundMask(Answer):
    """A stored mask."""

    id = serializers.UUIDField(help_text="Accepted as `mask` by later requests: what it selects is repainted.")
    file = Link("mask-file", help_text="The path of the PNG, in which white is selected.")
    url = serializers.URLField(help_text="A signed link to the PNG, which the APIs of other services accept.")
    created_at = UtcDateTime()
    expires_at = UtcDateTime(help_text="When it is deleted; a day after it was found by default.")
    segmenter = serializers.CharField(source="found.segmenter")
    box = serializers.ListField(source="found.box", child=serializers.IntegerField())
    area = serializers.IntegerField(source="found.area")
    score = serializers.FloatField(source="found.score", allow_null=True, help_text=SCORE)
    width = serializers.IntegerField()
    height = serializers.IntegerField()

    def get_url(self, mask: UploadedImage) -> str:
        request = self.context["request"]
        return image_link("inputs", "mask.png", mask, origin=origin_of(request), key=ending_key(request))


class FoundMaskPage(Page):
    results = FoundMask(many=True)


class SelectedMask(ChangedMask):
    segmenter = serializers.CharField()
    score = serializers.FloatField(allow_null=True, help_text=SCORE)
    candidates = MaskCandidate(many=True, help_text="Other masks that fit, best first; they are not stored.")
    id = serializers.UUIDField(
        required=False, help_text="Of the stored mask: accepted as `mask` by later requests. Not with `store` false."
    )
    file = serializers.CharField(required=False, help_text="The path of the PNG.")
    url = serializers.URLField(required=False, help_text="A signed link to the PNG.")
    expires_at = UtcDateTime(required=False, help_text="When it is deleted.")
