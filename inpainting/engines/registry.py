"""The engines of this process, by name: one for each package beside this module."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from inpainting import engines as packages
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.engines.base import Engine, EngineDeclaration, Queue
from inpainting.engines.upscaling import UPSCALE

AUTO = "auto"
"""Stands for the name of the best engine for the request, see `Planner.choose`."""


@cache
def engines() -> dict[str, Engine]:
    """Return every engine by its name, made by `create` of its module `engine`.

    First called at start-up by one thread, so that one set uses the device.
    """
    modules = (module for module in pkgutil.iter_modules(packages.__path__, f"{packages.__name__}.") if module.ispkg)
    known: list[Engine] = [import_module(f"{module.name}.engine").create() for module in modules]
    # The least demanding first: on the CPU without a library of its own, with one, on the GPU.
    known.sort(key=lambda engine: (engine.declaration.queue, engine.declaration.library != ""))
    return {engine.declaration.name: engine for engine in known}


def find(name: str) -> Engine:
    """Return the engine of that name. Raises InvalidRequest, `engine_not_found`, which lists the names."""
    engine = engines().get(name)
    if engine is None:
        raise InvalidRequest(
            sentence(
                "There is no engine called “{name}”; the engines are: {names}.",
                name=name[:60],
                names=", ".join([AUTO, *engines()]),
            ),
            code="engine_not_found",
            field="engine",
            actual=name[:60],
        )
    return engine


def declaration(name: str) -> EngineDeclaration:
    """Return the declaration of that engine, or of upscaling. Raises InvalidRequest as `find` does."""
    return UPSCALE if name == UPSCALE.name else find(name).declaration


def check_name(name: str) -> None:
    """Raise InvalidRequest as `find` does, unless the name is "auto"."""
    if name != AUTO:
        find(name)


def loaded_models(queue: Queue | None = None) -> set[str]:
    """Return the slugs of the models in the memory of this process, of the engines of one queue or of all."""
    used = (engine for engine in engines().values() if queue in (None, engine.declaration.queue))
    return {slug for engine in used for slug in getattr(engine, "loaded_models", ())}


def early_failures() -> dict[str, str]:
    """Return the slugs of the models that this process could not load before their first request, each with the
    reason."""
    return {
        slug: reason for engine in engines().values() for slug, reason in getattr(engine, "early_failures", {}).items()
    }


def label(name: str) -> str:
    """Return the engine's name for people; `name` itself where no such engine exists any more."""
    if name == UPSCALE.name:
        return UPSCALE.label
    engine = engines().get(name)
    return name if engine is None else engine.declaration.label
