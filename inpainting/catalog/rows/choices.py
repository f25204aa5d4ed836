"""Choices of the catalog's columns, as callables: a further family, kind or scheduler needs no migration."""

from __future__ import annotations

from enum import StrEnum

from inpainting import families
from inpainting.catalog.specs import ControlImageKind, Kind, LoraKind, Source
from inpainting.core.settings_table import ALL_SCHEDULERS

Choices = list[tuple[str, str]]


def family_choices() -> Choices:
    return [(name, name) for name in families.names()]


def lora_family_choices() -> Choices:
    """The families whose models take LoRAs."""
    return [(name, name) for name in families.families_with_loras()]


def kind_choices() -> Choices:
    return named(Kind)


def lora_kind_choices() -> Choices:
    return named(LoraKind)


def control_choices() -> Choices:
    return named(ControlImageKind)


def source_choices() -> Choices:
    return named(Source)


def scheduler_choices() -> Choices:
    """The schedulers of all families."""
    return [(name, name) for name in ALL_SCHEDULERS]


def named(values: type[StrEnum]) -> Choices:
    return [(value.value, value.value) for value in values]
