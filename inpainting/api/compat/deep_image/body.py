"""The bodies of Deep-Image's requests: JSON, or a form with the JSON text `parameters`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from inpainting.api.dialect import shown_name
from inpainting.api.fields import Fields, ImageText, Integer, Length, Number, Range
from inpainting.api.parsers import JSON_VALUES, json_object
from inpainting.api.setting_types import Prompt, Seed, with_settings
from inpainting.core.backgrounds import WHITE, Colour
from inpainting.core.errors import InvalidRequest
from inpainting.core.settings_table import RANGES, find_setting
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

INPAINTING, UPSCALE = "inpainting", "upscale"
ADAPTER_TYPES = ("generate_background", UPSCALE, INPAINTING)
"""The adapter types that are available here: of outpainting all, the first one by default."""
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
MAX_ECHOED_CHARACTERS = 2_000
"""The limit for each text of a request in its webhook."""


@dataclass(frozen=True, slots=True)
class SideLength:
    """A side of the result: pixels, or a percentage of the source's."""

    number: Fraction
    is_percentage: bool

    def pixels(self, source: int) -> int:
        return max(1, round(self.number * source / 100 if self.is_percentage else self.number))


def read_side(value: Any, info: ValidationInfo) -> SideLength:
    """`1024`, `"1024"` or `"200%"`."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(%?)", "" if value is True else str(value).strip())
    if found is None or not float(found[1]):
        raise InvalidRequest(
            f"{info.field_name} must be a number of pixels or a percentage such as “200%”.", field=info.field_name
        )
    return SideLength(Fraction(found[1]), bool(found[2]))


NAME = "deep-image"
OUTPAINTING, BLUR = "outpainting", "blur"
"""The values of `fit.canvas`: what is beyond the image is painted, or a blurred copy of it."""
REMOVALS = ("auto", "v2", "human", "item")
HEX_COLOUR = re.compile("#([0-9a-fA-F]{6})")
SCALING = ({}, "canvas", "crop", "bounds", "cover", *({"crop": at} for at in ("item", "content", "center")))
"""The documented values of `fit` besides that of outpainting."""


def read_fit(value: Any) -> str:
    """Return OUTPAINTING or BLUR, which are objects such as `{"canvas": "outpainting"}`; empty for other values."""
    for canvas in (OUTPAINTING, BLUR):
        if value == {"canvas": canvas}:
            return canvas
    if value not in SCALING:
        raise InvalidRequest("fit has a value that is not documented.", field="fit")
    return ""


def read_word(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str) and value is not False:
        field = f"background.{info.field_name}"
        raise InvalidRequest(f"{field} must be a text.", field=field)
    return value or ""


def read_colour(value: Any) -> Colour | None:
    """Return the colour behind a cut-out; None for a transparent background. `auto` is white.

    Raises InvalidRequest.
    """
    found = HEX_COLOUR.fullmatch(str(value))
    if found is None and value not in ("transparent", "auto"):
        message = "background.color must be “transparent”, “auto” or a colour such as “#FFFFFF”."
        raise InvalidRequest(message, field="background.color")
    if found is None:
        return None if value == "transparent" else WHITE
    red, green, blue = bytes.fromhex(found[1])
    return red, green, blue


def read_kilobytes(value: Any, info: ValidationInfo) -> int:
    """`500000` bytes, or `"1MB"`, in kilobytes of 1000 bytes."""
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*([kmg]?b|)", str(value).strip().lower())
    kilobytes = int(Fraction(found[1]) * BYTES[found[2]] / 1000) if found else 0
    if kilobytes < 1:
        raise InvalidRequest(
            f"{info.field_name} must be at least 1000 bytes, as a number or a size such as “1MB”.",
            field=info.field_name,
        )
    return min(kilobytes, int(RANGES["max_file_kilobytes"][1]))


def check_adapter_type(name: Any) -> str:
    if name not in ADAPTER_TYPES:
        message = f"adapter_type {name} is not available; inpainting and outpainting are."
        raise PydanticCustomError("adapter_type", message)
    return str(name)


SideOfResult = Annotated[SideLength, PlainValidator(read_side)]
Word = Annotated[str, PlainValidator(read_word)]
Quality = Annotated[Integer, Range(0, 100)]


class GenerateForm(Fields):
    adapter_type: Annotated[str, PlainValidator(check_adapter_type)] | None = None
    ip_image2: ImageText | None = None
    description: Prompt | None = None
    additional_prompt: Prompt | None = None
    negative_prompt: Prompt | None = None
    sample_num: Seed | None = None
    controlnet_conditioning_scale: Annotated[Number, Range(0.0, 1.0)] | None = None


class BackgroundObject(Fields):
    generate: GenerateForm | None = None
    remove: Word | None = None  # read, as `color` is, where nothing is painted
    color: Word | None = None


class WebhooksForm(Fields):
    complete: Annotated[str, Length(MAX_URL_CHARACTERS, may_be_blank=True)] | None = None


@with_settings([find_setting("output_format")])
class DeepImageForm(Fields):
    """The fields that have an effect; all others are accepted and listed as ignored."""

    url: ImageText | None = None
    width: SideOfResult | None = None
    height: SideOfResult | None = None
    fit: Annotated[str, PlainValidator(read_fit)] | None = None
    background: BackgroundObject | None = None
    quality: Quality | None = None
    output_quality: Quality | None = None  # sent by some clients
    max_file_size: Annotated[int, PlainValidator(read_kilobytes)] | None = None
    webhooks: WebhooksForm | None = None


OBJECTS: dict[str, type[Fields]] = {"background": BackgroundObject, "generate": GenerateForm, "webhooks": WebhooksForm}
"""Fields that are objects -> their fields."""


def parameters_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request without empty ones. Forms, and some clients in JSON, send them as one JSON
    text."""
    fields = dict(fields)
    parameters = fields.pop("parameters", {})
    try:
        if isinstance(parameters, str):
            JSON_VALUES.count(parameters)
            parameters = json_object(parameters)
    except ValueError as error:
        raise InvalidRequest(f"parameters cannot be read as JSON: {error}", field="parameters") from error
    if not isinstance(parameters, dict):
        raise InvalidRequest("parameters must be a JSON object.", field="parameters")
    return remove_nulls({**fields, **parameters})


def remove_nulls(fields: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Return the fields without those that are null.

    depth: how many levels of objects are read; a request may be nested much deeper.
    """
    return {
        name: remove_nulls(value, depth - 1) if isinstance(value, dict) and depth > 1 else value
        for name, value in fields.items()
        if value is not None
    }


def names_of(sent: Mapping[str, Any], form: type[Fields], prefix: str = "") -> Iterator[str]:
    """Names of the form's fields that were sent, in objects with their path: `background.generate.description`."""
    for name, value in sent.items():
        if name in form.model_fields and name in OBJECTS:
            yield from names_of(value, OBJECTS[name], f"{prefix}{name}.")
        elif name in form.model_fields:
            yield f"{prefix}{name}"


def unknown_fields(sent: Mapping[str, Any], form: type[Fields], prefix: str = "") -> Iterator[str]:
    """Names of the fields with a value that the form does not have; of odd names only a placeholder."""
    for name, value in sent.items():
        if name in form.model_fields and name in OBJECTS:
            yield from unknown_fields(value, OBJECTS[name], f"{prefix}{name}.")
        elif name not in form.model_fields and value not in (False, "", [], {}):
            yield f"{prefix}{shown_name(name)}"


def echo(sent: Mapping[str, Any], form: type[Fields]) -> dict[str, Any]:
    """The form's fields for the webhook, long texts, such as images in base64, cut.

    All other fields are left out: their values are not checked, and one may be the caller's key.
    """
    echoed: dict[str, Any] = {}
    for name in form.model_fields:
        value = sent.get(name)
        if name in OBJECTS and isinstance(value, dict):
            echoed[name] = echo(value, OBJECTS[name])
        elif isinstance(value, str) and len(value) > MAX_ECHOED_CHARACTERS:
            echoed[name] = f"{value[:40]}…"
        elif value is not None:
            echoed[name] = value
    return echoed
