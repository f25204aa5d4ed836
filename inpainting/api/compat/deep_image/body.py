"""The bodies of Deep-Image's requests: JSON, or a form with the JSON text `parameters`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from rest_framework import serializers

from inpainting.api.dialect import shown_name
from inpainting.api.images import ImageText
from inpainting.api.parsers import JSON_VALUES, json_object
from inpainting.api.setting_fields import Integer, Number, Text, build_field
from inpainting.core.errors import InvalidRequest
from inpainting.core.settings_table import RANGES, find_setting
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

INPAINTING = "inpainting"
ADAPTER_TYPES = ("generate_background", "upscale", INPAINTING)
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


class SideField(serializers.Field):
    """A side of the result, sent as `1024`, `"1024"` or `"200%"`."""

    def to_internal_value(self, data: Any) -> SideLength:
        found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(%?)", "" if data is True else str(data).strip())
        if found is None or not float(found[1]):
            raise InvalidRequest(
                f"{self.field_name} must be a number of pixels or a percentage such as “200%”.",
                field=self.field_name,
            )
        return SideLength(Fraction(found[1]), bool(found[2]))


class FitField(serializers.Field):
    """Whether outpainting is requested, by `{"canvas": "outpainting"}`; the other documented values scale."""

    SCALING: ClassVar = (
        {},
        "canvas",
        "crop",
        "bounds",
        "cover",
        *({"crop": at} for at in ("item", "content", "center")),
    )

    def to_internal_value(self, data: Any) -> bool:
        if data == {"canvas": "outpainting"}:
            return True
        if data not in self.SCALING:
            raise InvalidRequest("fit has a value that is not documented.", field="fit")
        return False


class KilobytesField(serializers.Field):
    """A size, sent as `500000` bytes or as `"1MB"`, in kilobytes of 1000 bytes."""

    def to_internal_value(self, data: Any) -> int:
        found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*([kmg]?b|)", str(data).strip().lower())
        kilobytes = int(Fraction(found[1]) * BYTES[found[2]] / 1000) if found else 0
        if kilobytes < 1:
            raise InvalidRequest(
                f"{self.field_name} must be at least 1000 bytes, as a number or a size such as “1MB”.",
                field=self.field_name,
            )
        return min(kilobytes, int(RANGES["max_file_kilobytes"][1]))


class GenerateForm(serializers.Serializer):
    adapter_type = serializers.ChoiceField(
        ADAPTER_TYPES,
        required=False,
        error_messages={"invalid_choice": "adapter_type {input} is not available; inpainting and outpainting are."},
    )
    ip_image2 = ImageText(required=False)
    description = build_field(find_setting("prompt"))
    additional_prompt = build_field(find_setting("prompt"))
    negative_prompt = build_field(find_setting("negative_prompt"))
    sample_num = build_field(find_setting("seed"))
    controlnet_conditioning_scale = Number(required=False, min_value=0.0, max_value=1.0)


class BackgroundForm(serializers.Serializer):
    generate = GenerateForm(required=False)


class WebhooksForm(serializers.Serializer):
    complete = Text(required=False, allow_blank=True, max_length=MAX_URL_CHARACTERS)


class RequestForm(serializers.Serializer):
    """The fields that have an effect; all others are accepted and listed as ignored."""

    url = ImageText(required=False)
    width = SideField(required=False)
    height = SideField(required=False)
    fit = FitField(required=False)
    background = BackgroundForm(required=False)
    output_format = build_field(find_setting("output_format"))
    quality = Integer(required=False, min_value=0, max_value=100)
    output_quality = Integer(required=False, min_value=0, max_value=100, help_text="Sent by some clients.")
    max_file_size = KilobytesField(required=False)
    webhooks = WebhooksForm(required=False)


def parameters_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request without empty ones. Forms, and some clients in JSON, send them as one JSON
    text."""
    fields = dict(fields)
    parameters = fields.pop("parameters", {})
    try:
        if isinstance(parameters, str):
            JSON_VALUES.count(parameters.encode())
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


def names_of(sent: Mapping[str, Any], form: serializers.Serializer, prefix: str = "") -> Iterator[str]:
    """Yield names of the form's fields that were sent, in objects with their path:
    `background.generate.description`."""
    for name, value in sent.items():
        field = form.fields.get(name)
        if isinstance(field, serializers.Serializer):
            yield from names_of(value, field, f"{prefix}{name}.")
        elif field is not None:
            yield f"{prefix}{name}"


def unknown_fields(sent: Mapping[str, Any], form: serializers.Serializer, prefix: str = "") -> Iterator[str]:
    """Yield names of the fields with a value that the form does not have; of odd names only a placeholder."""
    for name, value in sent.items():
        field = form.fields.get(name)
        if isinstance(field, serializers.Serializer):
            yield from unknown_fields(value, field, f"{prefix}{name}.")
        elif field is None and value not in (False, "", [], {}):
            yield f"{prefix}{shown_name(name)}"


def echo(sent: Mapping[str, Any], form: serializers.Serializer) -> dict[str, Any]:
    """Return the form's fields for the webhook, long texts, such as images in base64, cut.

    All other fields are left out: their values are not checked, and one may be the caller's key.
    """
    echoed: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = sent.get(name)
        if isinstance(field, serializers.Serializer) and isinstance(value, dict):
            echoed[name] = echo(value, field)
        elif isinstance(value, str) and len(value) > MAX_ECHOED_CHARACTERS:
            echoed[name] = f"{value[:40]}…"
        elif value is not None:
            echoed[name] = value
    return echoed
