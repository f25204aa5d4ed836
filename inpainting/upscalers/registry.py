"""The upscalers by name: one for each module beside this one, and the upscalers of the catalog."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from inpainting import upscalers as package
from inpainting.catalog.specs import ModelSpec
from inpainting.upscalers.base import Tiling, Upscaler
from inpainting.upscalers.networks.network_upscaler import NetworkUpscaler

NO_UPSCALERS = {"base", "enlarging", "networks", "registry"}


@cache
def upscalers() -> dict[str, Upscaler]:
    """The upscalers that need no model, by name, made by `create` of their module."""
    names = (module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in NO_UPSCALERS)
    made: list[Upscaler] = [import_module(f"{package.__name__}.{name}").create() for name in names]
    return {upscaler.name: upscaler for upscaler in made}


def upscaler_of(name: str, model: ModelSpec | None) -> Upscaler:
    """Return the upscaler of that name. model: of the catalog; None for one that needs none."""
    return upscalers()[name] if model is None else NetworkUpscaler(model)


def planned_tiling(name: str, model: ModelSpec | None) -> Tiling | None:
    """Return the tiling of that upscaler without loading its network, see `NetworkUpscaler.planned_tiling`."""
    return upscalers()[name].tiling if model is None else NetworkUpscaler(model).planned_tiling
