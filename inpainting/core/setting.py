"""One row of the table of settings: the limits of a setting, its default, and its texts for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from types import UnionType
from typing import Any, ParamSpec, get_args, get_origin, get_type_hints

from inpainting.core.adapter_uses import ADAPTER_LISTS, LISTS_BY_SETTING, ControlUse, LoraUse, Region
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import mark, sentence
from inpainting.core.validation import check_count, check_range, check_slug, check_text

P = ParamSpec("P")

QUICK_FILL, ERASE, DIFFUSION = "quick-fill", "erase", "diffusion"
"""Names of the engines that the table distinguishes, and whose models the catalog has."""
UPSCALE = "upscale"
"""In place of an engine's name, for what enlarges images."""
EVERY_ENGINE = "*"
"""Stands in `read_by` for what is read by the steps around every engine, such as growing the mask and the safety
checker."""


class ValueType(StrEnum):
    """The type of a setting's value, apart from None."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    CATALOG_NAME = "catalog name"
    """The slug or another name of one catalog entry."""
    SLUGS = "slugs"
    LORAS = "LoRAs"
    ADAPTERS = "adapters"
    """Entries of an `AdapterList`."""
    REGIONS = "regions"


CATALOG_LISTS = frozenset({ValueType.SLUGS, ValueType.LORAS, ValueType.ADAPTERS})
"""Types of lists whose entries name catalog entries."""
LISTS = CATALOG_LISTS | {ValueType.REGIONS}
"""Types of lists."""
LISTS_BY_ENTRY: Mapping[type, ValueType] = {
    str: ValueType.SLUGS,
    LoraUse: ValueType.LORAS,
    Region: ValueType.REGIONS,
    **{adapters.use: ValueType.ADAPTERS for adapters in ADAPTER_LISTS},
}


class SettingGroup(StrEnum):
    """Headings under which forms and documents list the settings, in this order."""

    PROMPT = mark("Prompt")
    RESULT = mark("Results")
    SAMPLING = mark("Sampling")
    MASK = mark("Mask and working size")
    INSERT = mark("Image to insert")
    MODEL = mark("Model and adapters")
    CONTROLNET = mark("ControlNet")
    IP_ADAPTER = mark("IP-Adapter")
    SAFETY = mark("Safety checker")
    OUTPAINT = mark("Outpainting")
    UPSCALE = mark("Upscaling")


@dataclass(frozen=True, slots=True)
class IgnoredWhen:
    """A setting has no effect while the resolved setting `setting` equals `value`."""

    setting: str
    value: Any
    reason: str  # a sentence for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything that is known about one setting. The texts are English, for forms, OpenAPI, the CLI and the docs."""

    label: str  # the name in forms and in the history, without the unit
    help: str  # one or two sentences
    group: SettingGroup
    # `name`, `type`: filled in from the field of `PaintSettings` that declares the row.
    name: str = ""
    type: ValueType = ValueType.TEXT
    # The value of a request that does not send it; None leaves the choice to the model, the engine or the site.
    default: Any = None
    default_text: str = ""  # what applies while it is None, in a few words, where `default` does not say it
    unit: str = ""  # of numbers, such as "px"
    placeholder: str = ""  # an example in empty text fields
    range: tuple[float, float] | None = None  # the lowest and the highest number, both allowed
    step: float | None = None  # the interval of a slider; other numbers take any float, or any whole number
    max_length: int | None = None  # of a text in characters, of a list in entries
    choices: tuple[str, ...] = ()  # the names that are allowed
    choice_code: str = "field_invalid"  # the error code for any other name
    # Other spellings that the API and the CLI accept -> the choice.
    spellings: Mapping[str, str] = field(default_factory=dict, hash=False)
    catalog_kind: str = ""  # of catalog names, the kind of the entry
    public_name: str = ""  # the name in the API where it differs from `name`
    aliases: tuple[str, ...] = ()  # further names that the API accepts
    # Names of the engines that read it, or EVERY_ENGINE. A model family may ignore it nevertheless; see `catalog`.
    read_by: frozenset[str] = frozenset({DIFFUSION})
    ignored_when: IgnoredWhen | None = None  # the condition under which it has no effect
    # Why the engine `auto` takes diffusion where the setting is set, as the beginning of a sentence.
    auto_reason: str = ""
    # The setting that selects the adapter to which this setting belongs. It is idle without an adapter; with one, None
    # becomes `adapter_default` if there is one.
    adapter: str = ""
    adapter_default: float | None = None
    option: str = ""  # the name of the CLI option where it differs from `name`
    no_option: str = ""  # why the CLI has none

    @property
    def default_words(self) -> str:
        """The default in words; "" if there is none."""
        if self.default_text or self.default in (None, "", ()):
            return self.default_text or ("" if self.adapter_default is None else f"{self.adapter_default:g}")
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    @property
    def label_with_unit(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def is_read_by(self, engine: str) -> bool:
        return EVERY_ENGINE in self.read_by or engine in self.read_by

    def check(self, value: Any) -> None:
        """Raise InvalidRequest unless the value, which is not None, is within the limits of the row."""
        if self.range is not None:
            check_range(self.name, value, *self.range)
        if self.choices and value not in self.choices:
            raise InvalidRequest(
                sentence(
                    "There is no {name} of that name; there are: {names}.",
                    name=self.name,
                    names=", ".join(self.choices),
                ),
                code=self.choice_code,
                field=self.name,
            )
        if self.type is ValueType.TEXT and self.max_length is not None:
            check_text(self.name, value, self.max_length)
        if self.type in LISTS:
            self._check_entries(value)

    def _check_entries(self, entries: Sequence[Any]) -> None:
        """Check the length of a list, and the names of entries that the catalog knows by slug.

        A ControlNet-Union may be used once for each type, an IP-Adapter any number of times, each with its image.
        """
        if self.max_length is not None:
            description = sentence("{name} has {count} entries", name=self.name, count=len(entries))
            check_count(self.name, len(entries), self.max_length, description)
        is_adapters = self.type is ValueType.ADAPTERS
        if self.type not in CATALOG_LISTS or (is_adapters and LISTS_BY_SETTING[self.name].is_repeatable):
            return
        keys = [(entry.slug, entry.type) if isinstance(entry, ControlUse) else slug_of(entry) for entry in entries]
        for key in keys:
            if isinstance(key, str):
                check_slug(key, field=self.name)
        if len(set(keys)) < len(keys):
            raise InvalidRequest(sentence("{name} lists an entry more than once.", name=self.name), field=self.name)


def slug_of(entry: Any) -> str:
    return str(entry if isinstance(entry, str) else entry.slug)


def _field_of(make: Callable[P, Setting]) -> Callable[P, Any]:
    def declare(*args: P.args, **kwargs: P.kwargs) -> Any:
        row = make(*args, **kwargs)
        return field(default=row.default, metadata={"setting": row})

    return declare


setting = _field_of(Setting)
"""Declare a dataclass field together with its row: takes what `Setting` takes."""


def rows_of(declaration: type) -> tuple[Setting, ...]:
    """Return the rows that the fields of a dataclass declare, completed with the name and type of the field."""
    types = get_type_hints(declaration)
    rows = []
    for declared in fields(declaration):
        row: Setting = declared.metadata["setting"]
        ignored_when = row.ignored_when
        if row.adapter:
            ignored_when = IgnoredWhen(
                row.adapter, None, sentence("It has no effect unless {adapter} is set.", adapter=row.adapter)
            )
        rows.append(
            replace(
                row,
                name=declared.name,
                public_name=row.public_name or declared.name,
                type=_value_type(types[declared.name], row),
                ignored_when=ignored_when,
            )
        )
    return tuple(rows)


def _value_type(annotation: Any, row: Setting) -> ValueType:
    if isinstance(annotation, UnionType):
        (annotation,) = (member for member in get_args(annotation) if member is not type(None))
    if get_origin(annotation) is tuple:
        return LISTS_BY_ENTRY[get_args(annotation)[0]]
    if row.choices:
        return ValueType.CHOICE
    if row.catalog_kind:
        return ValueType.CATALOG_NAME
    scalars = {bool: ValueType.BOOLEAN, int: ValueType.INTEGER, float: ValueType.NUMBER, str: ValueType.TEXT}
    return scalars[annotation]
