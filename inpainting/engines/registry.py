"""Name -> engine, made once a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

from inpainting.catalog import families
from inpainting.catalog.families import DIFFUSION, ERASE
from inpainting.catalog.shipped import no_model_sentence
from inpainting.catalog.specs import DraftParts, Kind, LoraSpec, ModelSpec
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.engines.base import Engine, Queue
from inpainting.engines.diffusion import engine as diffusion
from inpainting.engines.diffusion.engine import Diffusion, Options, no_lora, no_part
from inpainting.engines.erase import engine as erase
from inpainting.engines.erase.engine import Erase
from inpainting.engines.quick_fill.engine import QuickFill

AUTO = "auto"
LABELS = {"quick-fill": "Quick fill", "erase": "Erase", "diffusion": "Diffusion"}
"""What people call an engine."""
WISHES = {
    "model": "A model was asked for",
    "preset": "A preset was asked for",
    "loras": "LoRAs were asked for",
    "vae": "A VAE was asked for",
    "embeddings": "Embeddings were asked for",
    "control": "A ControlNet was asked for",
    "ip_adapter": "An IP-Adapter was asked for",
}
"""Settings that want a diffusion model even where there are no words."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine that paints, and a sentence for people: why this one."""

    engine: Engine
    why: str


class Models(Protocol):
    """The catalog, as engines see it."""

    def find(self, name: str | None, engine: str = DIFFUSION) -> ModelSpec:
        """The installed model of that slug or other name; None is the default of that engine.

        Raises InvalidRequest where there is none, it is not installed, or another engine paints with it.
        """
        ...

    def find_lora(self, slug: str) -> LoraSpec:
        """The LoRA of that slug, whose file is here. Raises InvalidRequest otherwise."""
        ...

    def find_part(self, name: str, kind: Kind, field: str) -> ModelSpec:
        """The installed part of that slug or other name, for the setting `field`. Raises InvalidRequest otherwise."""
        ...

    def draft_parts(self, family: str) -> DraftParts:
        """What the preset `draft` takes of what is here."""
        ...

    def any_installed(self, engine: str = DIFFUSION) -> bool: ...

    def family_of(self, name: str) -> str | None:
        """Of the model that is known by that name, installed or not; None for others."""
        ...


class NoModels:
    """Before the catalog is there."""

    def find(self, name: str | None, engine: str = DIFFUSION) -> ModelSpec:
        raise InvalidRequest(no_model_sentence(engine), code="model_unavailable", field="engine")

    def find_lora(self, slug: str) -> LoraSpec:
        return no_lora(slug)

    def find_part(self, name: str, kind: Kind, field: str) -> ModelSpec:
        return no_part(name, kind, field)

    def draft_parts(self, family: str) -> DraftParts:
        return DraftParts()

    def any_installed(self, engine: str = DIFFUSION) -> bool:
        return False

    def family_of(self, name: str) -> str | None:
        return None


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
    find_eraser = partial(models.find, engine=ERASE)
    dreaming = Diffusion(
        models.find,
        options,
        find_lora=models.find_lora,
        find_part=models.find_part,
        draft_parts=models.draft_parts,
    )
    known: list[Engine] = [QuickFill(), Erase(find_eraser), dreaming]
    return {engine.name: engine for engine in known}


def find(name: str, settings: PaintSettings | None = None) -> Engine:
    """The engine of that name; "auto" is the best one installed, for those settings where they are known.

    Raises InvalidRequest that lists the names.
    """
    return choose(name, settings).engine


def choose(name: str, settings: PaintSettings | None = None) -> Choice:
    """As `find`, and why."""
    check_name(name)
    return best(settings) if name == AUTO else Choice(engines()[name], "It was asked for by name.")


def check_name(name: str) -> None:
    """Raises InvalidRequest that lists the names, for what is neither an engine's nor "auto"."""
    names = [AUTO, *engines()]
    if name not in names:
        raise InvalidRequest(
            f"There is no engine called “{name[:60]}”; the engines are: {', '.join(names)}.",
            code="engine_not_found",
            field="engine",
            actual=name[:60],
        )


def best(settings: PaintSettings | None) -> Choice:
    """The engine of the model that was asked for; else the best that is here: dreaming where there are words, and
    without them, where dreaming does worse, erasing, or filling."""
    asked = settings or PaintSettings()
    if asked.model and models.family_of(asked.model) in families.names(engine=ERASE):
        return Choice(engines()[Erase.name], f"The model {asked.model} was asked for.")
    wish = (
        "There is a prompt"
        if asked.prompt.strip()
        else next((WISHES[name] for name in WISHES if getattr(asked, name)), "")
    )
    if (wish or settings is None) and diffusion.is_installed() and models.any_installed():
        return Choice(engines()[Diffusion.name], f"{wish}, and a model is installed that paints what is asked.")
    why = f"{wish}, but no model is installed that could paint it" if wish else "There is no prompt"
    return closing(f"{why}, so the gap is closed from the picture itself")


def closing(why: str) -> Choice:
    """The best engine that needs no words. why: a clause, to which it is added what it lacks."""
    if erase.is_installed() and models.any_installed(ERASE):
        return Choice(engines()[Erase.name], f"{why}.")
    return Choice(engines()[QuickFill.name], f"{why}; no model for erasing is installed.")


def below(engine: str) -> Choice | None:
    """What paints where that engine's memory is too small; None below the smallest."""
    if engine != Diffusion.name:
        return None
    return closing("The device's memory was too small for the model, so the gap was closed from the picture itself")


def in_queue(queue: Queue) -> list[str]:
    """The names of the engines whose generations wait in that line."""
    return [engine.name for engine in engines().values() if engine.queue is queue]


def label(name: str) -> str:
    return LABELS.get(name, name)
