"""The body and the answer of `POST /api/masks/operations/`, and masks as run lengths or outlines."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inpainting.api.native.mask_objects import MaskFormat
from inpainting.api.native.schemas.masks import MASK_OBJECT
from inpainting.api.setting_fields import parse_json
from inpainting.core.errors import InvalidRequest
from inpainting.core.mask_operations import MAX_OPERATIONS, NAMES, Operation
from inpainting.core.masks import MaskPolarity
from inpainting.core.validation import check_count

OPERATION = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "enum": list(NAMES)},
        "pixels": {
            "type": "integer",
            "description": "A width in pixels (grow, shrink, feather, smooth), or an area (fill_holes, remove_specks).",
        },
        "mask": {"description": "The other mask, of the same size (add, subtract, intersect): a text or an object."},
    },
}


@extend_schema_field({"oneOf": [{"type": "string"}, MASK_OBJECT]})
class MaskField(serializers.Field):
    """A text, or an object; in forms a file, or the object as JSON text."""

    def to_internal_value(self, data: Any) -> Any:
        return parse_json(data, self) if isinstance(data, str) and data.lstrip().startswith("{") else data


@extend_schema_field({"type": "array", "items": OPERATION, "maxItems": MAX_OPERATIONS})
class Operations(serializers.Field):
    """A list of operations; in forms as JSON text. Read as pairs of an operation and its mask as sent."""

    def to_internal_value(self, data: Any) -> list[tuple[Operation, Any]]:
        entries = parse_json(data, self) if isinstance(data, str) else data
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InvalidRequest("operations must be a list of objects with a name.", field="operations")
        check_count("operations", len(entries), MAX_OPERATIONS, f"operations has {len(entries)} entries")
        return [(self._operation(entry), entry.get("mask")) for entry in entries]

    def _operation(self, entry: dict[str, Any]) -> Operation:
        name, pixels = entry.get("name"), entry.get("pixels")
        if not isinstance(name, str) or type(pixels) not in (int, type(None)):
            message = "Each operation needs a name; pixels must be a whole number."
            raise InvalidRequest(message, field="operations")
        return Operation(name, pixels)


class OperationsBase(serializers.Serializer):
    """How masks are read, what is done with them, and the format of the answer."""

    mask_polarity = serializers.ChoiceField(
        [*MaskPolarity],
        default=MaskPolarity.WHITE_REPAINTS,
        help_text="How PNGs are read: `white_repaints` reads white as selected. Objects have no polarity.",
    )
    operations = Operations(default=list, help_text="Applied in this order. In forms as JSON text.")
    format = serializers.ChoiceField(
        [*MaskFormat], default=MaskFormat.PNG, help_text="Of the answer; greys only in `png`."
    )


class OperationsForm(OperationsBase):
    """The same with the mask."""

    mask = MaskField(help_text="A PNG (base64, data URL or URL), the id of a mask, or an object; in forms also a file.")


class OperationsUploadForm(OperationsBase):
    """Form fields and a file."""

    mask = serializers.FileField(help_text="A PNG up to 10 MB; or a text, as in JSON.")


MASK_OPERATIONS = {"multipart/form-data": OperationsUploadForm, "application/json": OperationsForm}
