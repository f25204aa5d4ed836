"""The body and the answer of `POST /api/masks/operations/`, and masks as run lengths or outlines."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from inpainting.api.fields import Fields, FromJson, parse_json_after
from inpainting.api.native.mask_objects import MaskFormat
from inpainting.api.native.schemas.bodies import File
from inpainting.api.native.schemas.masks import MASK_OBJECT
from inpainting.core.errors import InvalidRequest
from inpainting.core.mask_operations import MAX_OPERATIONS, NAMES, Operation
from inpainting.core.masks import MaskPolarity
from inpainting.core.sentences import sentence
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


def read_operations(entries: object) -> list[tuple[Operation, Any]]:
    """The operations of a list, each with its mask as sent."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest(sentence("operations must be a list of objects with a name."), field="operations")
    check_count(
        "operations",
        len(entries),
        MAX_OPERATIONS,
        sentence("{name} has {count} entries", name="operations", count=len(entries)),
    )
    return [(read_operation(entry), entry.get("mask")) for entry in entries]


def read_operation(entry: dict[str, Any]) -> Operation:
    name, pixels = entry.get("name"), entry.get("pixels")
    if not isinstance(name, str) or type(pixels) not in (int, type(None)):
        message = sentence("Each operation needs a name; pixels must be a whole number.")
        raise InvalidRequest(message, field="operations")
    return Operation(name, pixels)


Operations = Annotated[
    list[tuple[Operation, Any]],
    PlainValidator(read_operations),
    FromJson,
    WithJsonSchema({"type": "array", "items": OPERATION, "maxItems": MAX_OPERATIONS}),
]
SentMask = Annotated[
    Any,
    parse_json_after("{"),
    WithJsonSchema({"oneOf": [{"type": "string"}, MASK_OBJECT]}),
]
"""A text, or an object; in forms a file, or the object as JSON text."""


class OperationsBase(Fields):
    """How masks are read, what is done with them, and the format of the answer."""

    mask_polarity: MaskPolarity = Field(
        MaskPolarity.WHITE_REPAINTS,
        description="How PNGs are read: `white_repaints` reads white as selected. Objects have no polarity.",
    )
    operations: Operations = Field([], description="Applied in this order. In forms as JSON text.")
    format: MaskFormat = Field(MaskFormat.PNG, description="Of the answer; greys only in `png`.")


class OperationsForm(OperationsBase):
    """The same with the mask."""

    mask: SentMask = Field(
        description="A PNG (base64, data URL or URL), the id of a mask, or an object; in forms also a file."
    )


class OperationsUploadForm(OperationsBase):
    """Form fields and a file."""

    mask: File = Field(description="A PNG up to 10 MB; or a text, as in JSON.")


MASK_OPERATIONS = {"multipart/form-data": OperationsUploadForm, "application/json": OperationsForm}
