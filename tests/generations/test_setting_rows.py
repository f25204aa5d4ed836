"""The page of a generation lists each setting that differs from its default."""

from __future__ import annotations

from typing import Any

import pytest

from inpainting.core.setting import Setting, ValueType
from inpainting.core.settings_table import SETTINGS
from inpainting.generations.setting_rows import METADATA_NAMES, WRITTEN_BY_TEMPLATE, setting_rows

LISTED = [row for row in SETTINGS if row.name not in WRITTEN_BY_TEMPLATE]


def other_than_default(row: Setting) -> Any:
    match row.type:
        case ValueType.BOOLEAN:
            return True
        case ValueType.CHOICE:
            return next(choice for choice in row.choices if choice != row.default)
        case ValueType.INTEGER | ValueType.NUMBER:
            assert row.range is not None
            return row.range[0] + (row.range[1] - row.range[0]) / 4
        case _:
            return "a-slug"


def metadata(**values: Any) -> dict[str, Any]:
    """Metadata of a generation with defaults for all other settings."""
    defaults = {row.public_name: row.default for row in SETTINGS if row.default is not None}
    return {**defaults, "width": 640, "height": 480, **values}


def test_a_setting_with_its_default_is_not_listed() -> None:
    adapter_defaults = {row.name: row.adapter_default for row in SETTINGS if row.adapter_default is not None}
    assert setting_rows(metadata(**adapter_defaults), {}) == []


@pytest.mark.parametrize("row", LISTED, ids=lambda row: row.name)
def test_a_changed_setting_is_listed_with_its_label(row: Setting) -> None:
    value = other_than_default(row)
    (listed,) = setting_rows(metadata(**{METADATA_NAMES.get(row.name, row.public_name): value}), {})
    assert (listed["name"], listed["label"]) == (row.public_name, row.label_with_unit)
    assert listed["value"] == ("on" if value is True else value)


def test_catalog_entries_are_listed_by_their_labels() -> None:
    (listed,) = setting_rows(metadata(vae="soft"), {"soft": "A soft VAE"})
    assert listed["value"] == "A soft VAE"


def test_a_disabled_setting_is_listed_as_off() -> None:
    (listed,) = setting_rows(metadata(use_karras_sigmas=False), {})
    assert (listed["label"], listed["value"]) == ("Karras sigmas", "off")
