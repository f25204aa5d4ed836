"""The type of each row of the table of settings in a body, and models with a field for each row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from types import GenericAlias
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
)

from inpainting.api.fields import (
    FieldsType,
    FromJson,
    Integer,
    Length,
    Number,
    Range,
    clamp,
    extended_by,
    parse_json_after,
)
from inpainting.core.adapter_uses import (
    LISTS_BY_SETTING,
    LORA_WEIGHTS,
    MAX_NAME_CHARACTERS,
    MAX_PROMPT_CHARACTERS,
    EntryField,
    ListEntry,
    LoraUse,
    Region,
    entry_fields,
)
from inpainting.core.errors import as_field
from inpainting.core.sentences import sentence
from inpainting.core.setting import CATALOG_LISTS, LISTS, Setting, ValueType
from inpainting.core.settings_table import MAX_LORAS, MAX_SEED, PRESETS, RANGES
from inpainting.core.validation import MAX_SLUG_CHARACTERS, SLUG, check_count

RANDOM_SEED = 0
NO_PRESET = "full"
"""The value of `preset` that stands for none, for running a draft again in full quality."""
SLUG_SCHEMA = {"type": "string", "maxLength": MAX_SLUG_CHARACTERS, "pattern": SLUG.replace("\\Z", "$")}
"""JSON Schema has no `\\Z`; its `$` matches only at the end of the text."""


def read_seed(value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> int:
    """A seed; 0 or less draws a random one. Where numbers are clamped, so does anything that is not a number."""
    try:
        return max(read(value), RANDOM_SEED)
    except ValidationError:
        if info.context is None:
            raise
        return RANDOM_SEED


Seed = Annotated[Integer, Range(highest=MAX_SEED), WrapValidator(read_seed)]
Guidance = Annotated[
    Number, Range(RANGES["guidance_scale"][0]), Field(json_schema_extra={"maximum": RANGES["guidance_scale"][1]})
]
"""A guidance scale. Its maximum is checked later, because it depends on the model."""
Prompt = Annotated[str, Length(MAX_PROMPT_CHARACTERS, may_be_blank=True, is_stripped=False)]
Boolean = Annotated[bool | None, BeforeValidator(lambda value: None if str(value).lower() in ("null", "") else value)]
"""true, false, or null; each also as text."""


class Entry(BaseModel):
    """Base class of the entries of lists."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class LoraEntry(Entry):
    slug: Annotated[str, WithJsonSchema(SLUG_SCHEMA)]
    weight: Annotated[float, Field(json_schema_extra={"minimum": LORA_WEIGHTS[0], "maximum": LORA_WEIGHTS[1]})] = 1.0


def lora_uses(entries: list[LoraEntry], info: ValidationInfo) -> tuple[LoraUse, ...]:
    for index, entry in enumerate(entries):
        if info.context is not None:
            entry.weight = clamp(f"{info.field_name}[{index}].weight", entry.weight, *LORA_WEIGHTS, info.context)
    return tuple(LoraUse(entry.slug, entry.weight) for entry in entries)


def loras_of_region(value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> tuple[LoraUse, ...]:
    """The LoRAs of one region."""
    with as_field(Region.SETTING):
        return lora_uses(read(value), info)


def entry_type(use: type[ListEntry]) -> Any:
    """The type of an entry of a list: an object with the fields of a `ListEntry`, which it becomes."""
    name, max_length = ("prompt", MAX_PROMPT_CHARACTERS) if use is Region else ("slug", MAX_NAME_CHARACTERS)
    fields: dict[str, Any] = {name: (Annotated[str, Field(json_schema_extra={"maxLength": max_length})], ...)}
    fields |= {name: entry_field(entry) for name, entry in entry_fields(use).items()}
    if use is Region:
        limits = Field(json_schema_extra={"maxItems": MAX_LORAS})
        fields["loras"] = (Annotated[list[LoraEntry], WrapValidator(loras_of_region), limits] | None, None)
    model = create_model(f"{use.__name__}Entry", __base__=Entry, **fields)
    return Annotated[model, AfterValidator(lambda entry: use(**{name: v for name, v in entry if v is not None}))]


def entry_field(entry: EntryField) -> Any:
    if entry.range is None:
        return str | None, Field(None, json_schema_extra={"enum": [*entry.choices, None]})
    lowest, highest = entry.range
    limits: dict[str, Any] = {"minimum": lowest, "maximum": highest, "default": entry.default}
    return float | None, Field(None, json_schema_extra=limits)


def check_entries(limit: int) -> BeforeValidator:
    """Refuse more entries before any is read."""

    def check(entries: Any, info: ValidationInfo) -> Any:
        if isinstance(entries, list):
            check_count(
                str(info.field_name),
                len(entries),
                limit,
                sentence("{name} has {count} entries", name=info.field_name, count=len(entries)),
            )
        return entries

    return BeforeValidator(check)


def type_of(row: Setting) -> Any:
    """The type of a row's values, with its limits."""
    if row.name in SPECIAL_TYPES:
        return SPECIAL_TYPES[row.name]
    match row.type:
        case ValueType.TEXT:
            return Annotated[str, Length(row.max_length or MAX_NAME_CHARACTERS, may_be_blank=True, is_stripped=False)]
        case ValueType.INTEGER:
            return Annotated[Integer, Range(*(row.range or (0, MAX_SEED)))]
        case ValueType.NUMBER:
            return Annotated[Number, Range(*(row.range or ()))]
        case ValueType.BOOLEAN:
            return Boolean
        case ValueType.CHOICE:
            spelled = AfterValidator(lambda choice: row.spellings.get(choice, choice))
            return Annotated[Literal[*row.choices, *row.spellings], spelled]
        case ValueType.CATALOG_NAME:
            name = Annotated[str, Length(MAX_NAME_CHARACTERS)]
            return Annotated[name | None, BeforeValidator(lambda name: None if name == "" else name)]
        case ValueType.SLUGS:
            items = Annotated[str, WithJsonSchema(SLUG_SCHEMA)]
            limits = Field(json_schema_extra={"maxItems": row.max_length, "uniqueItems": True})
            one = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
            return Annotated[list[items], AfterValidator(tuple), one, parse_json_after("["), limits]
        case ValueType.LORAS:
            limits = Field(json_schema_extra={"maxItems": row.max_length})
            return Annotated[list[LoraEntry], AfterValidator(lora_uses), FromJson, limits]
        case ValueType.ADAPTERS | ValueType.REGIONS:
            use = Region if row.type is ValueType.REGIONS else LISTS_BY_SETTING[row.name].use
            limit = row.max_length or 0
            entries: Any = GenericAlias(list, (entry_type(use),))
            limits = Field(json_schema_extra={"maxItems": limit})
            return Annotated[entries, AfterValidator(tuple), check_entries(limit), FromJson, limits]


SPECIAL_TYPES: dict[str, Any] = {
    "seed": Seed,
    "guidance_scale": Guidance,
    "scheduler": Annotated[str, Length(MAX_NAME_CHARACTERS, may_be_blank=True)],
    "model": Annotated[str, Length(MAX_NAME_CHARACTERS)],
    "preset": Literal[NO_PRESET, *PRESETS],
    "step_down": bool,
}
"""Types of settings that accept other values than the rest of their type."""


def with_settings(
    rows: Iterable[Setting], *, required: Collection[str] = ()
) -> Callable[[type[FieldsType]], type[FieldsType]]:
    """Give a model a field for each row, by its public name. required: the names of those that must be sent."""
    fields: dict[str, Any] = {
        row.public_name: (type_of(row), Field(description=help_text(row)))
        if row.name in required
        else (type_of(row) | None, Field(None, description=help_text(row)))
        for row in rows
    }
    return extended_by(fields)


def help_text(row: Setting) -> str:
    """Return the row's help with its default, its aliases and, for lists, how forms send them."""
    sentences = [row.help]
    if row.name in API_HELP:
        sentences.append(API_HELP[row.name])
    if row.catalog_kind or row.type in CATALOG_LISTS - {ValueType.SLUGS}:
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
