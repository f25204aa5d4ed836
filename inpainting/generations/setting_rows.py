"""The settings of a generation as rows of a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import pgettext

from inpainting.core.setting import Setting, ValueType
from inpainting.core.settings_table import SETTINGS
from inpainting.translation import translated

WRITTEN_BY_TEMPLATE = frozenset(
    {"prompt", "negative_prompt", "regions", "strength", "seed", "model", "loras", "embeddings", "controls"}
    | {"ip_adapters", "safety_checker"}
)
"""Settings that the template shows itself, always or with links; safety_checker_type shows whether the checker ran."""
METADATA_NAMES = {"width": "work_width", "height": "work_height"}
"""Names in the metadata, whose width and height are those of the result."""
LABELS = {row.name: row.label_with_unit for row in SETTINGS}
LABELS_BY_PUBLIC_NAME = {row.public_name: row.label for row in SETTINGS}


def setting_rows(metadata: Mapping[str, Any], catalog_labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return name, label and value of the settings that differ from their defaults.

    catalog_labels: slug -> label of models and adapters.
    """
    rows = []
    for row in SETTINGS:
        value = metadata.get(METADATA_NAMES.get(row.name, row.public_name))
        if row.name not in WRITTEN_BY_TEMPLATE and value not in (None, row.default, row.adapter_default):
            label = f"{translated(row.label)}, {translated(row.unit)}" if row.unit else translated(row.label)
            rows.append({"name": row.public_name, "label": label, "value": display_value(row, value, catalog_labels)})
    return rows


def display_value(row: Setting, value: Any, catalog_labels: Mapping[str, str]) -> Any:
    if row.type is ValueType.BOOLEAN:
        return pgettext("a setting", "on") if value else pgettext("a setting", "off")
    return catalog_labels.get(value, value) if row.type is ValueType.CATALOG_NAME else value
