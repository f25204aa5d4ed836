"""Name -> engine, made once a process."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.engines.base import Engine, Lane
from inpainting.engines.catalog import LoraSpec, ModelSpec, no_model_sentence
from inpainting.engines.diffusion.engine import Diffusion, Options, is_installed, no_lora
from inpainting.engines.quick_fill.engine import QuickFill

AUTO = "auto"
LABELS = {"quick-fill": "Quick fill", "diffusion": "Diffusion"}
"""What people call an engine."""


class Models(Protocol):
    """The catalog, as engines see it."""

    def find(self, name: str | None) -> ModelSpec:
        """The installed model of that slug or other name; None is the default. Raises InvalidRequest otherwise."""
        ...

    def find_lora(self, slug: str) -> LoraSpec:
        """The LoRA of that slug, whose file is here. Raises InvalidRequest otherwise."""
        ...

    def any_installed(self) -> bool: ...


class NoModels:
    """Before the catalog is there."""

    def find(self, name: str | None) -> ModelSpec:
        raise InvalidRequest(no_model_sentence(), code="model_unavailable", field="engine")

    def find_lora(self, slug: str) -> LoraSpec:
        return no_lora(slug)

    def any_installed(self) -> bool:
        return False


models: Models = NoModels()
options = Options()


def use(catalog: Models, device: Options) -> None:
    """Where models are found, and what computes. Called once, before the first engine is asked for."""
    global models, options
    models, options = catalog, device
    engines.cache_clear()
    engines()  # made here, by one thread: two would each own the device


@cache
def engines() -> dict[str, Engine]:
    known: list[Engine] = [QuickFill(), Diffusion(models.find, options, find_lora=models.find_lora)]
    return {engine.name: engine for engine in known}


def find(name: str, settings: PaintSettings | None = None) -> Engine:
    """The engine of that name; "auto" is the best one installed, for those settings where they are known.

    Raises InvalidRequest that lists the names.
    """
    engine = engines().get(best(settings) if name == AUTO else name)
    if engine is None:
        names = ", ".join([AUTO, *engines()])
        raise InvalidRequest(
            f"There is no engine called “{name[:60]}”; the engines are: {names}.",
            code="engine_not_found",
            field="engine",
            actual=name[:60],
        )
    return engine


def best(settings: PaintSettings | None) -> str:
    """Without words, and without a model that was asked for, filling does better than dreaming."""
    wanted = settings is None or settings.prompt.strip() or settings.model or settings.loras
    return "diffusion" if wanted and is_installed() and models.any_installed() else "quick-fill"


def in_lane(lane: Lane) -> list[str]:
    """The names of the engines whose generations wait in that line."""
    return [engine.name for engine in engines().values() if engine.lane is lane]


def label(name: str) -> str:
    return LABELS.get(name, name)
