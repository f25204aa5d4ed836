"""`docs/use/settings.md`, written from the table of settings."""

from __future__ import annotations

from inpainting.cli.options import ROWS, option_name
from inpainting.core.setting import EVERY_ENGINE, Setting, SettingGroup, ValueType
from inpainting.core.upscaling import UPSCALE_ROWS

HEADING = """# Settings

Every setting of a generation, by its name in `POST /api/img2img` and its option of `manage.py inpaint`; those of
upscaling are of `POST /api/upscale` and `manage.py upscale`. The label is that of the editor and of the history. "Read
by" names the engines that use the setting; with the others, and where it has no effect, the metadata lists it under
`ignored`. Some model families ignore further settings, see [models.md](models.md).

This file is generated: `python manage.py settings_document > docs/use/settings.md`.
"""
COLUMNS = ("Setting", "Label", "Values", "Default", "Read by", "Description")
MAX_LISTED_CHOICES = 6


def settings_document() -> str:
    """Return the document as Markdown, one table for each group."""
    parts = [HEADING]
    for group in SettingGroup:
        rows = [row for row in (*ROWS, *UPSCALE_ROWS) if row.group is group]
        parts.append("\n".join([f"## {group}\n", line(COLUMNS), line(["---"] * len(COLUMNS)), *map(table_row, rows)]))
    return "\n".join(f"{part}\n" for part in parts).replace("\n\n\n", "\n\n").rstrip() + "\n"


def line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table_row(row: Setting) -> str:
    engines = "all engines" if EVERY_ENGINE in row.read_by else ", ".join(sorted(row.read_by))
    description = [row.help]
    if row.ignored_when:
        description.append(row.ignored_when.reason)
    if row.no_option:
        description.append(row.no_option)
    text = " ".join(description).replace("<", "&lt;").replace(">", "&gt;")
    return line([names_cell(row), row.label, values_cell(row), row.default_words, engines, text])


def names_cell(row: Setting) -> str:
    names = [f"`{row.public_name}`"]
    if row.aliases:
        names.append(f"or {', '.join(f'`{alias}`' for alias in row.aliases)}")
    if not row.no_option:
        names.append(f"`{option_name(row.name)}`")
    return "<br>".join(names)


def values_cell(row: Setting) -> str:
    """Return the type with its limits."""
    if row.range is not None:
        lowest, highest = (str(number) if row.type is ValueType.INTEGER else f"{number:g}" for number in row.range)
        return f"{row.type}, {lowest} to {highest}{' px' if row.unit == 'px' else ''}"
    if row.choices:
        listed = len(row.choices) <= MAX_LISTED_CHOICES
        return ", ".join(f"`{name}`" for name in row.choices) if listed else f"one of {len(row.choices)} names"
    if row.type is ValueType.TEXT:
        return f"text, up to {row.max_length} characters"
    if row.max_length is not None:
        entries = row.label if row.type is ValueType.ADAPTERS else row.type
        return f"up to {row.max_length} {entries}"
    return str(row.type)
