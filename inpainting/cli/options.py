"""The options of `manage.py inpaint` for the settings in the settings table, and for outpainting."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from inpainting.core.adapter_uses import IMAGE_LABELS, LISTS_BY_SETTING, AdapterUse, LoraUse, Region, entry_fields
from inpainting.core.errors import InvalidRequest
from inpainting.core.outpainting import OUTPAINT_ROWS, SIDES, Outpaint, outpaint_from
from inpainting.core.prompt_loras import named_networks, weight_of, without_networks
from inpainting.core.setting import LISTS, Setting, SettingGroup, ValueType
from inpainting.core.settings_table import SETTINGS, PaintSettings
from inpainting.core.upscaling import UPSCALE_ROWS

METAVARS = {
    ValueType.TEXT: "TEXT",
    ValueType.INTEGER: "N",
    ValueType.NUMBER: "X",
    ValueType.CATALOG_NAME: "SLUG",
    ValueType.SLUGS: "SLUG",
    ValueType.LORAS: "SLUG[:WEIGHT]",
    ValueType.ADAPTERS: "SLUG[,NAME=VALUE...]",
    ValueType.REGIONS: "PROMPT[:WEIGHT]",
}
MAX_SHOWN_CHOICES = 4
ROWS = (*SETTINGS, *OUTPAINT_ROWS)
_OPTIONS = {row.name: "--" + (row.option or row.name).replace("_", "-") for row in (*ROWS, *UPSCALE_ROWS)}


def add_setting_options(parser: ArgumentParser, rows: Sequence[Setting] = ROWS) -> None:
    """Add an option for each of these rows of the settings table, except rows with a `no_option`.

    With those of outpainting, `--outpaint` is added as well.
    """
    groups = {
        group: parser.add_argument_group(group) for group in SettingGroup if any(group is row.group for row in rows)
    }
    if SettingGroup.OUTPAINT in groups:
        groups[SettingGroup.OUTPAINT].add_argument(
            "--outpaint",
            type=pixels_of_sides,
            metavar="SIDE=PX,...",
            help=f"Pixels to add to the sides, such as left=256,right=256. The sides are {', '.join(SIDES)}.",
        )
    for row in rows:
        if not row.no_option:
            groups[row.group].add_argument(
                option_name(row.name), dest=row.name, default=None, help=help_text(row), **_arguments(row)
            )


def add_image_options(parser: ArgumentParser) -> None:
    """Add an option for each conditioning image."""
    folder = "for a folder of images, one for all or a folder of NAME.png"
    for name, label in IMAGE_LABELS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=Path, metavar="PATH", help=f"{label}; {folder}")


def option_name(name: str) -> str:
    """Return the option name of a setting: "mask_grow" -> "--mask-grow"."""
    return _OPTIONS[name]


def settings_from_options(options: Mapping[str, Any]) -> PaintSettings:
    """Build the settings from parsed options. Raises InvalidRequest."""
    values = {row.name: options[row.name] for row in SETTINGS if options.get(row.name) is not None}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    if "safety_checker_type" in values:
        values["safety_checker"] = True
    return PaintSettings(**values)


def outpaint_from_options(options: Mapping[str, Any]) -> Outpaint | None:
    """Return the canvas that parsed options ask for; None if they ask for none. Raises InvalidRequest."""
    return outpaint_from({**options, **(options.get("outpaint") or {})})


def help_text(row: Setting) -> str:
    """Return the row's help with its range and default. argparse formats it with `%`."""
    parts = [row.help]
    if row.range is not None and row.name != "seed":
        lowest, highest = row.range
        parts.append(f"{lowest:g} to {highest:g}{f' {row.unit}' if row.unit == 'px' else ''}.")
    if row.type in LISTS:
        parts.append("May be repeated.")
    if row.default_words:
        parts.append(f"(default: {row.default_words})")
    return " ".join(parts).replace("%", "%%")


def _arguments(row: Setting) -> dict[str, Any]:
    """Return the keyword arguments of `add_argument` for the type of the setting."""
    if row.type is ValueType.BOOLEAN:
        return {"action": BooleanOptionalAction}
    if row.type is ValueType.CHOICE:
        # argparse shows the choices in place of a metavar, which reads well for a few of them.
        metavar = "NAME" if len(row.choices) > MAX_SHOWN_CHOICES else None
        return {"choices": row.choices, "metavar": metavar, "type": lambda text: row.spellings.get(text, text)}
    arguments: dict[str, Any] = {"metavar": "PX" if row.unit == "px" else METAVARS[row.type]}
    if row.type in LISTS:
        arguments["action"] = "append"
    if row.type is ValueType.ADAPTERS:
        arguments["type"] = partial(adapter_use, LISTS_BY_SETTING[row.name].use)
    elif row.type in PARSERS:
        arguments["type"] = PARSERS[row.type]
    return arguments


def parse_weighted(use: Callable[[str, float], Any], text: str) -> Any:
    """Parse SLUG or SLUG:WEIGHT."""
    slug, _, weight = text.partition(":")
    try:
        return use(slug, float(weight or 1))
    except ValueError:
        raise ArgumentTypeError(f"{weight} is not a number") from None
    except InvalidRequest as error:
        raise ArgumentTypeError(error.message) from None


def adapter_use(use: type[AdapterUse], text: str) -> AdapterUse:
    """Parse SLUG, SLUG:NUMBER for the first number of such an entry, or SLUG,NAME=VALUE,..."""
    slug, *assignments = text.split(",")
    entries = entry_fields(use)
    slug, colon, amount = slug.partition(":")
    if colon:
        assignments.insert(0, f"{next(iter(entries))}={amount}")
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.strip().partition("=")
        if name not in entries:
            allowed = ", ".join(f"{key}={'NAME' if entry.choices else 'X'}" for key, entry in entries.items())
            raise ArgumentTypeError(f"{assignment!r} is not one of {allowed}")
        try:
            values[name] = value if entries[name].choices else float(value)
        except ValueError:
            raise ArgumentTypeError(f"{value} is not a number") from None
    try:
        return use(slug, **values)
    except InvalidRequest as error:
        raise ArgumentTypeError(error.message) from None


def region(text: str) -> Region:
    """Parse PROMPT, or PROMPT:WEIGHT where the text after the last colon is a number.

    `<lora:SLUG:WEIGHT>` in the prompt is a LoRA of the region, of weight 1 without a number.
    """
    prompt, _, number = text.rpartition(":")
    try:
        prompt, weight = (prompt, float(number)) if prompt else (text, 1.0)
    except ValueError:
        prompt, weight = text, 1.0
    try:
        loras = tuple(LoraUse(slug, weight_of(slug, numbers)) for _, slug, numbers in named_networks(prompt))
        return Region(without_networks(prompt), weight, loras)
    except InvalidRequest as error:
        raise ArgumentTypeError(error.message) from None


PARSERS: Mapping[ValueType, Callable[[str], Any]] = {
    ValueType.INTEGER: int,
    ValueType.NUMBER: float,
    ValueType.LORAS: partial(parse_weighted, LoraUse),
    ValueType.REGIONS: region,
}


def pixels_of_sides(text: str) -> dict[str, int]:
    """Parse SIDE=PX,... to the fields of a request: "left=256" -> {"outpaint_left": 256}."""
    fields: dict[str, int] = {}
    for part in text.split(","):
        side, _, pixels = part.strip().partition("=")
        if side not in SIDES or not pixels.isdecimal():
            raise ArgumentTypeError(f"{part!r} is not one of {', '.join(f'{side}=PX' for side in SIDES)}")
        fields[f"outpaint_{side}"] = int(pixels)
    return fields
