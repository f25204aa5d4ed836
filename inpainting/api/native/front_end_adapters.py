"""The LoRA and the ControlNets of a body as the published front end sends them: objects that stand for settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from inpainting.api.media.links import UPLOAD
from inpainting.api.native.bodies import Body
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Kind
from inpainting.core.adapter_uses import CONTROLS
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence

MAX_UNITS = 10
"""The units of `controlnet` that are read; the front end has fewer."""


def with_adapters(body: Body, catalog: Catalog) -> tuple[Body, list[str]]:
    """Return the body with the settings that its `lora` and `controlnet` stand for, and warnings.

    Where they name nothing that is installed, or are not enabled, they stay fields without effect.
    """
    fields, warnings = dict(body.fields), list[str]()
    lora = enabled(fields.get("lora"))
    if lora is not None and "loras" not in fields and (entry := lora_entry(lora, catalog, warnings)):
        del fields["lora"]
        fields["loras"] = [entry]
    units = list(usable_units(enabled(fields.get("controlnet")), catalog, warnings))[: CONTROLS.limit]
    if units and not any(name in fields for name in (CONTROLS.setting, CONTROLS.name)):
        del fields["controlnet"]
        fields[CONTROLS.setting] = [entry for entry, _ in units]
        fields |= zip(CONTROLS.images, (image for _, image in units), strict=False)
    return replace(body, fields=fields), warnings


def enabled(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and value.get("enabled", False) is True else None


def lora_entry(lora: dict[str, Any], catalog: Catalog, warnings: list[str]) -> dict[str, Any] | None:
    """Return the entry of `loras`; None, with a warning, for a LoRA that is not installed."""
    name, weight = str(lora.get("lora_name", "")), lora.get("strength_model", 1.0)
    try:
        slug = catalog.find_lora(name).slug
    except InvalidRequest:
        warnings.append(sentence("The LoRA “{name}” is not installed; none was used.", name=name[:60]))
        return None
    if lora.get("strength_clip", weight) != weight:
        warnings.append(sentence("lora.strength_clip was not read: strength_model is that of the whole LoRA."))
    return {"slug": slug, "weight": weight}


def usable_units(
    controlnet: dict[str, Any] | None, catalog: Catalog, warnings: list[str]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the entry of `controls` and the control image of each enabled unit; a warning for one that lacks either."""
    units = controlnet.get("units") if controlnet else None
    for index, unit in enumerate(units[:MAX_UNITS] if isinstance(units, list) else ()):
        if not isinstance(unit, dict) or not unit.get("enabled", True):
            continue
        place, image, name = f"controlnet.units[{index}]", unit.get("input_image"), str(unit.get("model", ""))
        if not isinstance(image, str) or not image:
            warnings.append(sentence("{place} has no image and was not used.", place=place))
            continue
        try:
            slug = catalog.find_adapter(name, Kind.CONTROLNET, CONTROLS.setting).slug
        except InvalidRequest:
            warnings.append(
                sentence(
                    "{place}: the ControlNet “{name}” is not installed; none was used.", place=place, name=name[:60]
                )
            )
            continue
        if unit.get("preprocessor") not in (None, "", "none"):
            warnings.append(
                sentence(
                    "{place}: its image was used as it is; {preprocessor} was not run.",
                    place=place,
                    preprocessor=str(unit["preprocessor"])[:60],
                )
            )
        numbers = {"strength": "weight", "start": "guidance_start", "end": "guidance_end"}
        sent = {field: unit[name] for field, name in numbers.items() if unit.get(name) is not None}
        yield {"slug": slug, **sent}, f"/images/{image}" if image.startswith(UPLOAD) else image
