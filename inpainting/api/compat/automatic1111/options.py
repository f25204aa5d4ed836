"""The options that the service keeps as its state: here each API key has its own, of which the model is the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.compat.automatic1111.body import OptionsBody
from inpainting.api.compat.callers_options import read_options, update_options
from inpainting.api.dialect import closest_model
from inpainting.catalog.lookup import Catalog, first_found, spellings
from inpainting.catalog.specs import Kind

NAME = "automatic1111"
OVERRIDDEN_MODEL = "override_settings.sd_model_checkpoint"
UNSET = ("", "None", "Automatic")
"""Names that leave the choice of a model or a VAE to the server."""


def store_options(request: Request, sent: Mapping[str, Any]) -> list[str]:
    """Keep the options that have an effect; return the names of the others. Raises InvalidRequest for a name that
    nothing installed has."""
    options, catalog = check_options(sent), Catalog()
    kept = {name: value for name, value in sent.items() if name in OptionsBody.model_fields}
    if "sd_model_checkpoint" in kept:
        kept["sd_model_checkpoint"] = find_model(options.sd_model_checkpoint, catalog, [])
    if "sd_vae" in kept:
        kept["sd_vae"] = find_vae(options.sd_vae, catalog)
    if kept:
        update_options(request, NAME, kept)
    return [name for name in sent if name not in kept]


def check_options(sent: Mapping[str, Any]) -> OptionsBody:
    return fastapi.validate(OptionsBody, {name: value for name, value in sent.items() if value is not None})


def options_of(request: Request, catalog: Catalog) -> OptionsBody:
    """Return the options of the caller's key. A model or VAE that is no longer there leaves the choice to the server
    again."""
    stored = read_options(request, NAME)
    models = {row.slug for row in catalog.installed()}
    vaes = {row.slug for row in catalog.adapters if row.kind == Kind.VAE} if stored.get("sd_vae") else set()
    kept = {"sd_model_checkpoint": models, "sd_vae": vaes}
    return check_options({name: value for name, value in stored.items() if value in kept.get(name, [value])})


def find_model(name: str, catalog: Catalog, warnings: list[str]) -> str | None:
    """Return the slug of a checkpoint by a name or title; None for the server's choice. Raises InvalidRequest.

    warnings: see `closest_model`.
    """
    if name in UNSET:
        return None
    known = next(filter(catalog.has_named, spellings(name)), name)
    return closest_model(catalog, known, service=NAME, field=OVERRIDDEN_MODEL, warnings=warnings)


def find_vae(name: str, catalog: Catalog) -> str | None:
    if name in UNSET:
        return None
    return first_found(name, lambda each: catalog.find_adapter(each, Kind.VAE, "override_settings").slug)
