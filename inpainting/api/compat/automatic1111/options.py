"""The options that the service keeps as its state: here each API key has its own, of which the model is the first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from django.utils.text import slugify
from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.compat.automatic1111.body import Options
from inpainting.api.compat.callers_options import read_options, update_options
from inpainting.api.dialect import closest_model
from inpainting.catalog.lookup import Catalog, filter_by_name
from inpainting.catalog.specs import Kind
from inpainting.core.errors import InvalidRequest

T = TypeVar("T")
NAME = "automatic1111"
HASH = re.compile(r" \[[0-9a-f]{6,64}\]$")
ENDING = re.compile(r"\.(safetensors|ckpt|pt|pth|bin)$")
OVERRIDDEN_MODEL = "override_settings.sd_model_checkpoint"
UNSET = ("", "None", "Automatic")
"""Names that leave the choice of a model or a VAE to the server."""


def store_options(request: Request, sent: Mapping[str, Any]) -> list[str]:
    """Keep the options that have an effect; return the names of the others. Raises InvalidRequest for a name that
    nothing installed has."""
    options, catalog = check_options(sent), Catalog()
    kept = {name: value for name, value in sent.items() if name in Options.model_fields}
    if "sd_model_checkpoint" in kept:
        kept["sd_model_checkpoint"] = find_model(options.sd_model_checkpoint, catalog, [])
    if "sd_vae" in kept:
        kept["sd_vae"] = find_vae(options.sd_vae, catalog)
    if kept:
        update_options(request, NAME, kept)
    return [name for name in sent if name not in kept]


def check_options(sent: Mapping[str, Any]) -> Options:
    return fastapi.validate(Options, {name: value for name, value in sent.items() if value is not None})


def options_of(request: Request, catalog: Catalog) -> Options:
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
    known = (each for each in spellings(name) if filter_by_name(catalog.checkpoints, each))
    return closest_model(catalog, next(known, name), service=NAME, field=OVERRIDDEN_MODEL, warnings=warnings)


def find_vae(name: str, catalog: Catalog) -> str | None:
    if name in UNSET:
        return None
    return first_found(name, lambda each: catalog.find_adapter(each, Kind.VAE, "override_settings").slug)


def first_found(name: str, find: Callable[[str], T]) -> T:
    """Return what is found by the first spelling of a name that finds something. Raises the error of the name as it
    is, or that which says how to install what it names."""
    errors: list[InvalidRequest] = []
    for each in spellings(name):
        try:
            return find(each)
        except InvalidRequest as error:
            errors.append(error)
    raise next((error for error in errors if error.code == "model_unavailable"), errors[0])


def spellings(name: str) -> Iterator[str]:
    """Yield a name as sent; without the folder, the hash and the ending of a file; and that as a slug."""
    stem = ENDING.sub("", HASH.sub("", name).replace("\\", "/").rpartition("/")[2])
    yield from dict.fromkeys([name, HASH.sub("", name), stem, slugify(stem)])
