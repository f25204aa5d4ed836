"""The rows of the table of settings as inputs of the editor's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy

from inpainting.catalog.specs import COMPUTED_CONTROLS
from inpainting.core.adapter_uses import (
    ADAPTER_LISTS,
    IMAGE_LABELS,
    INSERT,
    REFERENCES,
    REGIONS,
    AdapterList,
    entry_fields,
)
from inpainting.core.codecs.formats import LABELS as FILE_FORMATS
from inpainting.core.outpainting import OUTPAINT_ROWS
from inpainting.core.setting import Setting, ValueType
from inpainting.core.settings_table import INSERT_SETTINGS, SETTINGS
from inpainting.engines.upscaling import DETAIL_ROWS, FILE_ROWS
from inpainting.translation import translated

PLACED_BY_HAND = frozenset(
    {"prompt", "regions", "preset", "model", "loras", "embeddings", "safety_checker", "safety_checker_type"}
    | {adapters.setting for adapters in ADAPTER_LISTS}
    | INSERT_SETTINGS
)
"""Settings whose inputs the template writes out: they stand elsewhere on the page, or are more than one input."""
IN_ROWS = frozenset(setting for adapters in ADAPTER_LISTS for setting in adapters.first)
"""Settings of the first entry of a list of adapters, whose inputs stand in its row."""
BASIC = ("strength", "num_images", "steps", "seed")
"""Settings whose inputs are always shown, below the model; the others are under Advanced."""
COMMON_SCHEDULERS = {
    "EulerDiscreteScheduler": gettext_lazy("Euler: clean, in 20 to 30 steps"),
    "EulerAncestralDiscreteScheduler": gettext_lazy("Euler a: varied, in 20 to 30 steps"),
    "DPMSolverMultistepScheduler": gettext_lazy("DPM++ 2M: detailed, in 15 to 30 steps"),
    "UniPCMultistepScheduler": gettext_lazy("UniPC: fast, in 10 to 20 steps"),
    "HeunDiscreteScheduler": gettext_lazy("Heun: exact, twice the time for a step"),
    "LCMScheduler": gettext_lazy("LCM: in 4 to 8 steps, for LCM models and LoRAs"),
    "FlowMatchEulerDiscreteScheduler": gettext_lazy("Euler: as the model was trained"),
    "FlowMatchHeunDiscreteScheduler": gettext_lazy("Heun: exact, twice the time for a step"),
}
"""The schedulers that come first, with what they are good for. The numbers of steps are those of their papers or of
diffusers' documentation."""
FULL_WIDTH = frozenset({ValueType.TEXT, ValueType.CATALOG_NAME})
LONGEST_UNIT = 2
"""Characters of a unit that is shown in the label; a longer one is left to the tooltip."""
LONGEST_DEFAULT = 4
"""Characters of a default that is named in the first option of a select."""
LABELS_OF_BOOLEANS = {"true": pgettext_lazy("a setting", "On"), "false": pgettext_lazy("a setting", "Off")}


def setting_inputs() -> dict[str, Any]:
    """Return the inputs of each part of the form: one for each setting placed by hand, lists for the others."""
    inputs = {row.name: setting_input(row) for row in SETTINGS}
    return {
        **{name: inputs[name] for name in PLACED_BY_HAND},
        "basic": [inputs[name] for name in BASIC],
        "sections": sections(inputs),
        "adapter_lists": [adapter_list(adapters, inputs) for adapters in ADAPTER_LISTS],
        "insert_label": translated(IMAGE_LABELS[INSERT.image]),
        "references": [{"id": element_id(name), "label": translated(IMAGE_LABELS[name])} for name in REFERENCES.images],
    }


def form_constants() -> dict[str, Any]:
    """What the scripts of the editor know of the tables, as JSON.

    `adapter_lists` are described in `static/js/editor/form/adapter_lists.js`. `computed_controls` are the kinds of
    control images that need no file, `references` and `region_masks` the names of these images, `upscale_settings` the
    names of the settings that an upscaling reads, and `max_margin` is the largest margin of outpainting, in pixels.
    """
    return {
        "adapter_lists": [adapter_list_constants(adapters) for adapters in ADAPTER_LISTS],
        "computed_controls": sorted(COMPUTED_CONTROLS),
        "references": REFERENCES.images,
        "region_masks": REGIONS.images,
        "upscale_settings": {
            "file": [row.public_name for row in FILE_ROWS],
            "detail": [row.public_name for row in DETAIL_ROWS],
        },
        "max_margin": next(row.range[1] for row in OUTPAINT_ROWS if row.range),
    }


def adapter_list_constants(adapters: AdapterList) -> dict[str, Any]:
    """The names of a list's inputs, images and fields, for the scripts of the editor."""
    return {
        "setting": adapters.setting,
        "id": element_id(adapters.name),
        "images": adapters.images,
        "first": dict(adapters.first),
        "numbers": [name for name, entry in entry_fields(adapters.use).items() if entry.range is not None],
    }


def adapter_list(adapters: AdapterList, inputs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the inputs of each entry of a list of adapters: those of the first one's settings, numbered for the
    others."""
    name, *others = (inputs[setting] for setting in adapters.first)
    rows = [
        {
            "id": number_input(name, number, adapters)["id"],
            "number": number,
            "adapter": number_input(name, number, adapters),
            "numbers": [number_input(field, number, adapters) for field in others],
            "image_label": translated(IMAGE_LABELS[image]),
        }
        for number, image in enumerate(adapters.images, 1)
    ]
    return {"id": name["id"], "add_label": translated(adapters.add_label), "rows": rows}


def number_input(first: dict[str, Any], number: int, adapters: AdapterList) -> dict[str, Any]:
    """An input of the first entry as that of another."""
    if number == 1:
        return first
    noun, label = adapters.noun, first["label"]
    label = label.replace(noun, f"{noun} {number}") if noun in label else f"{label} {number}"
    return {**first, "id": f"{first['id']}-{number}", "name": f"{first['name']}_{number}", "label": label}


def sections(inputs: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The inputs that the page lists by their groups, in the order of the table."""
    elsewhere = PLACED_BY_HAND | IN_ROWS | frozenset(BASIC)
    listed = [row for row in SETTINGS if row.name not in elsewhere]
    groups = dict.fromkeys(row.group for row in listed)
    return [
        {"label": gettext(group.value), "inputs": [inputs[row.name] for row in listed if row.group is group]}
        for group in groups
    ]


def setting_input(row: Setting) -> dict[str, Any]:
    """Return the context of `includes/setting_input.html`."""
    lowest, highest = row.range or (None, None)
    return {
        "id": element_id(row.name),
        "name": row.public_name,
        "label": translated(row.label),
        "unit": row.unit if len(row.unit) <= LONGEST_UNIT else "",
        "help": translated(row.help),
        "kind": input_element(row),
        "is_wide": row.type in FULL_WIDTH or row.step is not None or len(row.choices) > len(LABELS_OF_BOOLEANS) + 1,
        "lowest": html_number(lowest),
        "highest": html_number(highest),
        "step": "1" if row.type is ValueType.INTEGER else html_number(row.step) or "any",
        "max_length": row.max_length,
        # Of a slider; one that depends on the model is filled in by the page.
        "default": html_number(row.default) if row.step is not None else "",
        "placeholder": translated(row.placeholder or row.default_words),
        "choices": select_options(row),
    }


def element_id(name: str) -> str:
    """The id of the input of a setting."""
    return name.replace("_", "-")


def input_element(row: Setting) -> str:
    """Return the kind of form element: textarea, slider, number or select."""
    if row.type is ValueType.TEXT:
        return "textarea"
    if row.range is not None:
        return "number" if row.step is None else "slider"
    return "select"


def select_options(row: Setting) -> list[tuple[str, str]]:
    """Return value and label of each option; the first stands for the default. Catalog names are filled in by the
    page."""
    if row.type is ValueType.CATALOG_NAME:
        return [("", capfirst(translated(row.default_words)))]
    if row.default in row.choices:
        rest = [name for name in row.choices if name != row.default]
        return [("", label_of(row.default)), *((name, label_of(name)) for name in rest)]
    labels = {choice: choice for choice in row.choices}
    if row.type is ValueType.BOOLEAN:
        labels = {choice: str(label) for choice, label in LABELS_OF_BOOLEANS.items()}
    choices = sorted(labels.items(), key=lambda choice: choice[0] not in COMMON_SCHEDULERS)
    default = gettext("Default")
    if len(row.default_words) <= LONGEST_DEFAULT:
        default = gettext("Default ({value})").format(value=translated(row.default_words))
    return [("", default), *((name, label_of(label)) for name, label in choices)]


def label_of(choice: str) -> str:
    """Return the label of a choice."""
    if choice in COMMON_SCHEDULERS:
        return str(COMMON_SCHEDULERS[choice])
    return gettext(FILE_FORMATS.get(choice, choice)).removesuffix("Scheduler")


def html_number(value: float | None) -> str:
    """Return a number for an HTML attribute: decimal point, no separators, no exponent; "" for None."""
    if value is None:
        return ""
    return str(int(value)) if value == int(value) else str(value)
