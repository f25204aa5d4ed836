"""The serializer field of each row of the table of settings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inpainting.api.parsers import JSON_VALUES
from inpainting.core.adapter_uses import (
    ADAPTER_LISTS,
    LORA_WEIGHTS,
    MAX_NAME_CHARACTERS,
    AdapterList,
    AdapterUse,
    EntryField,
    LoraUse,
    entry_fields,
)
from inpainting.core.errors import InvalidRequest
from inpainting.core.setting import LISTS, Setting, ValueType
from inpainting.core.settings_table import MAX_EMBEDDINGS, MAX_LORAS, MAX_SEED, RANGES
from inpainting.core.validation import MAX_SLUG_CHARACTERS, SLUG, abbreviate, check_count, check_range

RANDOM_SEED = 0
NO_PRESET = "full"
"""The value of `preset` that stands for none, for running a draft again in full quality."""


class Integer(serializers.IntegerField):
    """A whole number. Booleans and fractions are refused."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or (isinstance(data, float) and not data.is_integer()):
            self.fail("invalid")
        return int(apply_range(self, super().to_internal_value(data)))


class Number(serializers.FloatField):
    """A finite number. Booleans are refused."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool):
            self.fail("invalid")
        try:
            value = super().to_internal_value(data)
        except OverflowError:
            self.fail("invalid")
        if not math.isfinite(value):
            self.fail("invalid")
        return float(apply_range(self, value))


@extend_schema_field(
    {
        "type": "number",
        "format": "double",
        "minimum": RANGES["guidance_scale"][0],
        "maximum": RANGES["guidance_scale"][1],
    }
)
class Guidance(Number):
    """A guidance scale. Its maximum is checked later, because it depends on the model."""


def apply_range(field: Integer | Number, value: float) -> float:
    """Return the value if it lies between `min_value` and `max_value`.

    Otherwise clamp it with a warning if the context has `clamp`, or else raise InvalidRequest.
    """
    lowest = -math.inf if field.min_value is None else field.min_value
    highest = math.inf if field.max_value is None else field.max_value
    if not field.context.get("clamp"):
        check_range(str(field.field_name), value, lowest, highest)
        return value
    nearest = min(max(value, lowest), highest)
    if nearest != value:
        field.context["warnings"].append(f"{field.field_name} was {abbreviate(value)}; {nearest} was used.")
    return nearest


class Seed(Integer):
    """A seed; 0 or less draws a random one. If the context has `clamp`, so does anything that is not a number."""

    def to_internal_value(self, data: Any) -> int:
        try:
            return max(super().to_internal_value(data), RANDOM_SEED)
        except serializers.ValidationError:
            if not self.context.get("clamp"):
                raise
            return RANDOM_SEED


class Text(serializers.CharField):
    """A JSON string or form text. Numbers are refused. The error for a text that is too long reports its length."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None:
            description = f"{self.field_name} has {len(data)} characters"
            check_count(str(self.field_name), len(data), self.max_length, description)
        return super().to_internal_value(data)


SLUG_SCHEMA = {"type": "string", "maxLength": MAX_SLUG_CHARACTERS, "pattern": SLUG.replace("\\Z", "$")}
"""JSON Schema has no `\\Z`; its `$` matches only at the end of the text."""
LORAS_SCHEMA = {
    "type": "array",
    "maxItems": MAX_LORAS,
    "items": {
        "type": "object",
        "required": ["slug"],
        "additionalProperties": False,
        "properties": {
            "slug": SLUG_SCHEMA,
            "weight": {"type": "number", "minimum": LORA_WEIGHTS[0], "maximum": LORA_WEIGHTS[1], "default": 1},
        },
    },
}


@extend_schema_field(LORAS_SCHEMA)
class Loras(serializers.Field):
    """A list of objects with a slug and a weight; in forms the same list as JSON text."""

    def to_internal_value(self, data: Any) -> tuple[LoraUse, ...]:
        entries = parse_json(data, self) if isinstance(data, str) else data
        if not isinstance(entries, list):
            raise InvalidRequest(f"{self.field_name} must be a list.", field=self.field_name)
        return tuple(self._lora(entry, f"{self.field_name}[{index}]") for index, entry in enumerate(entries))

    def _lora(self, entry: object, place: str) -> LoraUse:
        if not isinstance(entry, dict) or not {"slug"} <= entry.keys() <= {"slug", "weight"}:
            raise InvalidRequest(f"{place} must be an object of a slug and a weight.", field=self.field_name)
        slug, weight = entry["slug"], entry.get("weight", 1.0)
        if not isinstance(slug, str):
            raise InvalidRequest(f"{place}.slug must be a text.", field=self.field_name)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(as_float(weight)):
            raise InvalidRequest(f"{place}.weight must be a number.", field=self.field_name)
        lowest, highest = LORA_WEIGHTS
        nearest = min(max(float(weight), lowest), highest)
        if nearest != weight and self.context.get("clamp"):
            self.context["warnings"].append(f"{place}.weight was {abbreviate(weight)}; {nearest} was used.")
            weight = nearest
        return LoraUse(slug, float(weight))


def entry_schema(entry: EntryField) -> dict[str, Any]:
    if entry.range is None:
        return {"enum": [*entry.choices, None], "default": None}
    lowest, highest = entry.range
    return {"type": "number", "minimum": lowest, "maximum": highest, "default": entry.default}


def list_schema(adapters: AdapterList) -> dict[str, Any]:
    slug = {"type": "string", "maxLength": MAX_NAME_CHARACTERS}
    others = {name: entry_schema(entry) for name, entry in entry_fields(adapters.use).items()}
    return {
        "type": "array",
        "maxItems": adapters.limit,
        "items": {
            "type": "object",
            "required": ["slug"],
            "additionalProperties": False,
            "properties": {"slug": slug, **others},
        },
    }


class AdapterUses(serializers.Field):
    """A list of objects with the fields of an `AdapterUse`; in forms the same list as JSON text."""

    adapters: ClassVar[AdapterList]

    def to_internal_value(self, data: Any) -> tuple[AdapterUse, ...]:
        entries = parse_json(data, self) if isinstance(data, str) else data
        if not isinstance(entries, list):
            raise InvalidRequest(f"{self.field_name} must be a list.", field=self.field_name)
        name = str(self.field_name)
        check_count(name, len(entries), self.adapters.limit, f"{name} has {len(entries)} entries")  # each is looked up
        return tuple(self._use(entry, f"{self.field_name}[{index}]") for index, entry in enumerate(entries))

    def _use(self, entry: object, place: str) -> AdapterUse:
        entries = entry_fields(self.adapters.use)
        names = ("slug", *entries)
        if not isinstance(entry, dict) or not {"slug"} <= entry.keys() <= set(names):
            raise InvalidRequest(f"{place} must be an object of {', '.join(names)}.", field=self.field_name)
        given = {name: value for name, value in entry.items() if value is not None or name == "slug"}
        for name, value in given.items():
            if name in entries and entries[name].range is not None:
                given[name] = self._number(value, f"{place}.{name}")
            elif not isinstance(value, str):
                raise InvalidRequest(f"{place}.{name} must be a text.", field=self.field_name)
        return self.adapters.use(**given)

    def _number(self, value: object, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(as_float(value)):
            raise InvalidRequest(f"{place} must be a number.", field=self.field_name)
        return float(value)


FIELDS_OF_LISTS: dict[str, type[AdapterUses]] = {
    adapters.setting: extend_schema_field(list_schema(adapters))(
        type(adapters.use.__name__, (AdapterUses,), {"adapters": adapters})
    )
    for adapters in ADAPTER_LISTS
}
"""The field of each setting that lists adapters."""


@extend_schema_field({"type": "array", "maxItems": MAX_EMBEDDINGS, "uniqueItems": True, "items": SLUG_SCHEMA})
class Slugs(serializers.Field):
    """A list of slugs; in forms the same list as JSON text, or the field once for each slug."""

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        if isinstance(data, str):
            data = parse_json(data, self) if data.lstrip().startswith("[") else [data]
        if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
            raise InvalidRequest(f"{self.field_name} must be a list of texts.", field=self.field_name)
        return tuple(data)


def parse_json(text: str, field: serializers.Field) -> Any:
    """The value of a form field that holds JSON, of as many values as a JSON body. Its texts may not be Unicode."""
    JSON_VALUES.count(text.encode(errors="replace"))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{field.field_name} is not JSON.", field=field.field_name) from error


class CatalogName(Text):
    """The name of a catalog entry. null, or an empty text in forms, stands for none."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation(None if data == "" else data)


def as_float(number: float) -> float:
    """Return the number as a float; infinity for an integer that is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


class Choice(serializers.ChoiceField):
    """One of a row's choices, also in its other spellings."""

    def __init__(self, row: Setting, **options: Any) -> None:
        super().__init__((*row.choices, *row.spellings), **options)
        self.spellings = row.spellings

    def to_internal_value(self, data: Any) -> str:
        choice: str = super().to_internal_value(data)
        return self.spellings.get(choice, choice)


def build_field(row: Setting, *, is_required: bool = False) -> serializers.Field:
    """Return an unbound field with the limits and the help of the row."""
    common: dict[str, Any] = {"required": is_required, "help_text": help_text(row)}
    if row.name in SPECIAL_FIELDS:
        return SPECIAL_FIELDS[row.name](row, common)
    match row.type:
        case ValueType.TEXT:
            return Text(allow_blank=True, trim_whitespace=False, max_length=row.max_length, **common)
        case ValueType.INTEGER:
            lowest, highest = row.range or (0, MAX_SEED)
            return Integer(min_value=int(lowest), max_value=int(highest), **common)
        case ValueType.NUMBER:
            lowest, highest = row.range or (-math.inf, math.inf)
            return Number(min_value=lowest, max_value=highest, **common)
        case ValueType.BOOLEAN:
            return serializers.BooleanField(allow_null=True, **common)
        case ValueType.CHOICE:
            return Choice(row, **common)
        case ValueType.CATALOG_NAME:
            return CatalogName(allow_null=True, max_length=MAX_NAME_CHARACTERS, **common)
        case ValueType.SLUGS:
            return Slugs(**common)
        case ValueType.LORAS:
            return Loras(**common)
        case ValueType.ADAPTERS:
            return FIELDS_OF_LISTS[row.name](**common)


def help_text(row: Setting) -> str:
    """Return the row's help with its default, its aliases and, for lists, how forms send them."""
    sentences = [row.help]
    if row.name in API_HELP:
        sentences.append(API_HELP[row.name])
    if row.catalog_kind or row.type in LISTS - {ValueType.SLUGS}:
        sentences.append("/api/models lists them.")
    if row.type in LISTS:
        once_each = ", or the field once for each" if row.type is ValueType.SLUGS else ""
        sentences.append(f"In forms as JSON text{once_each}.")
    if row.default_words:
        sentences.append(f"Default: {row.default_words}.")
    if row.aliases:
        sentences.append(f"Alias: {', '.join(row.aliases)}.")
    return " ".join(sentences)


API_HELP = {
    "seed": "0 or less draws a random seed, which the metadata reports.",
    "scheduler": "Other names fall back to the model's, with a warning.",
    "model": "auto leaves the choice to the server; an unknown name is refused.",
    "preset": "full: no preset.",
}
"""Sentences that only the API adds to the help of a row."""


SPECIAL_FIELDS: dict[str, Callable[[Setting, dict[str, Any]], serializers.Field]] = {
    "seed": lambda row, common: Seed(max_value=MAX_SEED, **common),
    "guidance_scale": lambda row, common: Guidance(min_value=RANGES[row.name][0], **common),
    "scheduler": lambda row, common: Text(allow_blank=True, max_length=MAX_NAME_CHARACTERS, **common),
    "model": lambda row, common: Text(max_length=MAX_NAME_CHARACTERS, **common),
    "preset": lambda row, common: serializers.ChoiceField((NO_PRESET, *row.choices), **common),
    "step_down": lambda row, common: serializers.BooleanField(**common),
}
"""Fields of settings that accept other values than the rest of their type."""
