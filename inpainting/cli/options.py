"""The options of `manage.py inpaint` for the settings in the settings table."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction
from collections.abc import Mapping
from typing import Any

from inpainting.core.errors import InvalidRequest
from inpainting.core.setting import Group, Setting, ValueType
from inpainting.core.settings_table import SETTINGS, LoraUse, PaintSettings, by_name

METAVARS = {
    ValueType.TEXT: "TEXT",
    ValueType.INTEGER: "N",
    ValueType.NUMBER: "X",
    ValueType.CATALOG_NAME: "SLUG",
    ValueType.SLUGS: "SLUG",
    ValueType.LORAS: "SLUG[:WEIGHT]",
}
MAX_SHOWN_CHOICES = 4


def add_setting_options(parser: ArgumentParser) -> None:
    """Add an option for each row of the settings table, except rows with a `no_option`."""
    groups = {group: parser.add_argument_group(group) for group in Group}
    for row in SETTINGS:
        if not row.no_option:
            groups[row.group].add_argument(
                option_name(row.name), dest=row.name, default=None, help=help_text(row), **_arguments(row)
            )


def option_name(name: str) -> str:
    """Return the option name of a setting: "mask_grow" -> "--mask-grow"."""
    return "--" + (by_name(name).option or name).replace("_", "-")


def settings_from_options(options: Mapping[str, Any]) -> PaintSettings:
    """Build the settings from parsed options. Raises InvalidRequest."""
    values = {row.name: options[row.name] for row in SETTINGS if options.get(row.name) is not None}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    if "safety_checker_type" in values:
        values["safety_checker"] = True
    return PaintSettings(**values)


def help_text(row: Setting) -> str:
    """Return the row's help with its range and default. argparse formats it with `%`."""
    parts = [row.help]
    if row.range is not None and row.name != "seed":
        lowest, highest = row.range
        parts.append(f"{lowest:g} to {highest:g}{f' {row.unit}' if row.unit == 'px' else ''}.")
    if row.type in (ValueType.SLUGS, ValueType.LORAS):
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
        return {"choices": row.choices, "metavar": "NAME" if len(row.choices) > MAX_SHOWN_CHOICES else None}
    arguments: dict[str, Any] = {"metavar": "PX" if row.unit == "px" else METAVARS[row.type]}
    if row.type in (ValueType.SLUGS, ValueType.LORAS):
        arguments["action"] = "append"
    types = {ValueType.INTEGER: int, ValueType.NUMBER: float, ValueType.LORAS: lora_use}
    if row.type in types:
        arguments["type"] = types[row.type]
    return arguments


def lora_use(text: str) -> LoraUse:
    """Parse SLUG or SLUG:WEIGHT."""
    slug, _, weight = text.partition(":")
    try:
        return LoraUse(slug, float(weight or 1))
    except ValueError:
        raise ArgumentTypeError(f"{weight} is not a number") from None
    except InvalidRequest as error:
        raise ArgumentTypeError(error.message) from None
