"""The form fields of the native API, and the settings that validated values stand for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from inpainting import families
from inpainting.api.compat.samplers import SAMPLERS
from inpainting.api.fields import ErrorsNameTheField, Fields, FromJson, Length
from inpainting.api.native.selections import SelectionForm
from inpainting.api.setting_types import NO_PRESET, with_settings
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ADAPTER_SETTINGS, Kind
from inpainting.core.adapter_uses import ADAPTER_LISTS, AdapterUse
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.outpainting import OUTPAINT_ROWS
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import sentence
from inpainting.core.setting import SettingGroup
from inpainting.core.settings_table import ALL_SCHEDULERS, RANGES, SETTINGS, find_setting
from inpainting.core.validation import check_range
from inpainting.engines import registry
from inpainting.families.declaration import MAX_GUIDANCE_SCALE
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS

SETTING_NAMES = {row.public_name: row.name for row in SETTINGS}
ALIASES = {alias: row.public_name for row in SETTINGS for alias in row.aliases}
LEGACY = {"sampler_name": "scheduler", "model_name": "model"}
"""Fields of other services' clients -> the settings that they choose."""
SIZE = ("width", "height")
TEXT_ROWS = [
    row for row in SETTINGS if row.name in SIZE or (row.group is not SettingGroup.MASK and row.name != "strength")
]
"""The settings that have an effect on an image that is painted from words alone."""
ENGINE = "A name from /api/engines/, or auto."
SELECT = "In place of a mask: what is selected and repainted, as `POST /api/masks/` takes it. In forms as JSON text."
PARENT = "The generation whose result this one edits further; one of yours."


class CommonForm(Fields):
    """The fields that are no settings."""

    sampler_name: Annotated[str, Length(200, may_be_blank=True)] | None = Field(
        None, description=f"One of {', '.join(SAMPLERS)}; others fall back."
    )
    engine: Annotated[str, Length(60)] | None = Field(None, description=ENGINE)
    model_name: Annotated[str, Length(200, may_be_blank=True)] | None = Field(
        None, description="Like model, but an unknown one falls back."
    )
    webhook_url: Annotated[str, Length(MAX_URL_CHARACTERS, may_be_blank=True)] | None = Field(
        None,
        description="Called when the generation has ended: an http or https URL of a public address. Running again "
        "does not inherit it.",
    )


@with_settings(SETTINGS)
class ChangesForm(CommonForm):
    """Every setting, and the fields that are no settings."""


@with_settings([find_setting("prompt"), *OUTPAINT_ROWS], required=["prompt"])
class Img2ImgForm(ChangesForm):
    mask_polarity: MaskPolarity = Field(MaskPolarity.BLACK_REPAINTS, description="Which part of the mask is repainted.")


class GenerationForm(Img2ImgForm):
    """The fields of one generation: those of a batch, its parent, and what is selected in place of a mask."""

    parent: UUID | None = Field(None, description=PARENT)
    select: Annotated[SelectionForm, FromJson, ErrorsNameTheField] | None = Field(None, description=SELECT)


@with_settings(TEXT_ROWS, required=["prompt"])
class TextToImageForm(CommonForm):
    """The fields of an image that is painted from words alone; width and height are those of the result."""

    parent: UUID | None = Field(None, description=PARENT)


def check_fields(
    form: type[Fields], fields: Mapping[str, Any], catalog: Catalog, *, clamp: bool
) -> tuple[dict[str, Any], list[str]]:
    """Validate fields with a form. Returns its values by public name, and warnings about clamped or replaced values.

    clamp: move numbers outside their range to the nearest limit instead of refusing them.
    Raises InvalidRequest, with the limit for a value outside its range.
    """
    named = {ALIASES[name]: value for name, value in fields.items() if name in ALIASES} | dict(fields)
    warnings: list[str] = []
    values = fall_back(form.read(named, clamped=warnings if clamp else None).sent(), catalog, warnings)
    requested = values.get("guidance_scale", 0.0)
    if clamp and requested > MAX_GUIDANCE_SCALE:
        values["guidance_scale"] = nearest = min(requested, max_guidance_of(values.get("model"), catalog))
        if nearest != requested:
            warnings.append(
                sentence("guidance_scale was {requested}; {nearest} was used.", requested=requested, nearest=nearest)
            )
    return values, warnings


def fall_back(values: dict[str, Any], catalog: Catalog, warnings: list[str]) -> dict[str, Any]:
    """Replace the names of other services' samplers and models by those of the settings.

    An unknown sampler or legacy model becomes None, the model's or the engine's default, with a warning.
    Raises InvalidRequest for a VAE or adapter that is unknown or not installed, for every engine.
    """
    scheduler, sampler = values.pop("scheduler", None), values.pop("sampler_name", None)
    known = [name for name in (scheduler, sampler) if name in ALL_SCHEDULERS]
    chosen = known[0] if known else SAMPLERS.get(sampler or "")
    if (scheduler, sampler) != (None, None):
        values["scheduler"] = chosen
    for name, value in (("scheduler", scheduler), ("sampler_name", sampler)):
        if value and value not in ALL_SCHEDULERS and value not in SAMPLERS:
            warnings.append(
                sentence(
                    "{name} “{value}” is not known here; {chosen} was used.",
                    name=name,
                    value=value,
                    chosen=chosen or "the engine’s own",
                )
            )
    for name, kind in ADAPTER_SETTINGS.items():
        if name in values:
            values[name] = catalog.find_adapter(values[name], kind, name).slug if values[name] else None
    for adapters in ADAPTER_LISTS:
        listed: tuple[AdapterUse, ...] = values.get(adapters.setting, ())
        kind = Kind(adapters.kind)
        found = [replace(use, slug=catalog.find_adapter(use.slug, kind, adapters.setting).slug) for use in listed]
        values |= {adapters.setting: tuple(found)} if found else {}
    model, legacy = values.pop("model", None), values.pop("model_name", None)
    if (model, legacy) != (None, None):
        values["model"] = chosen_model(model, legacy, warnings, catalog)
    return values


def chosen_model(name: str | None, legacy: str | None, warnings: list[str], catalog: Catalog) -> str | None:
    """Return the slug of the requested model, or None for the engine's default.

    name: the field `model`. Raises InvalidRequest unless that model is known and installed.
    legacy: the field `model_name`, which other services' clients send by themselves; if that model is unknown or not
    installed, the default is used with a warning.
    """
    try:
        model = catalog.requested_row(name) or catalog.requested_row(legacy)
        if model is None:
            return None
        model.check_installed()
    except InvalidRequest:
        if name not in (None, "", registry.AUTO):
            raise
        warnings.append(sentence("The model “{legacy}” is not installed; the engine's own was used.", legacy=legacy))
        return None
    requested = name if name not in (None, "", registry.AUTO) else legacy
    if requested not in model.names:
        warnings.append(
            sentence(
                "The model “{requested}” is not known here; {label} was used.", requested=requested, label=model.label
            )
        )
    return model.slug


def settings_from(
    values: Mapping[str, Any], catalog: Catalog, start: Mapping[str, Any] = MappingProxyType({})
) -> PaintSettings:
    """Return the settings of validated values. start: settings by name, which the values replace.

    Raises InvalidRequest for a guidance scale above the model's maximum.
    """
    named = {SETTING_NAMES[name]: value for name, value in values.items() if name in SETTING_NAMES}
    if named.get("preset") == NO_PRESET:
        named["preset"] = None
    guidance = named.get("guidance_scale") or 0.0
    if guidance > MAX_GUIDANCE_SCALE:
        model = named.get("model", start.get("model"))
        check_range("guidance_scale", guidance, RANGES["guidance_scale"][0], max_guidance_of(model, catalog))
    kept: Mapping[str, Any] = start
    for adapters in ADAPTER_LISTS:
        kept, named = adapters.merge(kept, named)
    return replace(PaintSettings.from_dict({name: value for name, value in kept.items() if name not in named}), **named)


def remove_empty(settings: Mapping[str, Any], empty: Collection[str]) -> dict[str, Any]:
    """Return the settings without those whose fields were sent empty. empty: names of fields."""
    public = {(ALIASES | LEGACY).get(name, name) for name in empty}
    removed = {SETTING_NAMES.get(name, name) for name in public}
    kept: Mapping[str, Any] = settings
    for adapters in ADAPTER_LISTS:
        kept, _ = adapters.merge(kept, dict.fromkeys(removed))
    return {name: value for name, value in kept.items() if name not in removed}


def max_guidance_of(model: str | None, catalog: Catalog) -> float:
    """Return the maximum guidance scale of the model with that slug, or of the default model for None."""
    row = catalog.requested_row(model) or catalog.default()
    return MAX_GUIDANCE_SCALE if row is None else families.get(row.family).max_guidance_scale
