"""Fake engines, plans for unregistered engines, and libraries that seem installed or missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest

from inpainting.catalog.specs import Kind, LoraSpec, ModelSpec, PresetAdapters
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, WindowRule, plan_window
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import base
from inpainting.engines.base import Engine, EngineDeclaration, ModelCatalog, Plan, Queue, Resolution, SettingsPlan
from inpainting.engines.plan import EngineChoice, plan_images
from inpainting.engines.plan import make_settings_plan as planned_settings


def declared(
    name: str = "quick-fill",
    *,
    queue: Queue = Queue.CPU,
    ignored: frozenset[str] = frozenset(),
    rule: WindowRule | None = None,
    **resolved: Any,
) -> EngineDeclaration:
    """The declaration of an engine that keeps settings as they are. resolved: further fields of its `Resolution`."""

    def resolve(settings: PaintSettings, catalog: ModelCatalog) -> Resolution:
        return Resolution(settings=settings, window_rule=rule or WindowRule(context=0.5), **resolved)

    return EngineDeclaration(
        name=name,
        label=name,
        queue=queue,
        ignored_settings=ignored,
        needs_surroundings=False,
        resolve=resolve,
    )


class PlainEngine:
    """Uses a window with 50% padding around the mask, and settings as they are."""

    declaration = declared()


def planned(request: InpaintRequest, engine: Engine, model: ModelSpec | None = None) -> Plan:
    """The plan of a request for an engine that need not be registered. model: the only one in its catalog."""
    return plan_images(request, settings_planned(request.settings, engine, model))


def settings_planned(settings: PaintSettings, engine: Engine, model: ModelSpec | None = None) -> SettingsPlan:
    resolution = engine.declaration.resolve(settings, OneModel(model))
    return planned_settings(resolution, EngineChoice(engine.declaration, ""), settings)


def window_plan(request: InpaintRequest, engine: Engine, model: ModelSpec | None = None) -> Plan:
    """The plan that `painting.paint` gives an engine whose window is the whole image of this request."""
    plan = settings_planned(request.settings, engine, model)
    size = request.image.size
    window = plan_window(Box.whole(size), size, WindowRule(0.0))
    named = {name: getattr(plan, name) for name in SettingsPlan.__dataclass_fields__}
    return Plan(**named, request=request, mask=request.mask, window=window)


@dataclass
class OneModel:
    """A catalog of one model, or of none, without LoRAs and adapters."""

    model: ModelSpec | None

    def find(self, name: str | None, engine: str) -> ModelSpec:
        if self.model is None:
            raise InvalidRequest("There is no model here.", code="model_unavailable")
        return self.model

    def find_lora(self, slug: str, field: str = "loras") -> LoraSpec:
        raise InvalidRequest("There are no LoRAs here.", code="lora_not_found")

    def find_adapter(self, name: str, kind: Kind, field: str) -> ModelSpec:
        raise InvalidRequest("There are no adapters here.", code="adapter_not_found")

    def preset_adapters(self, family: str) -> PresetAdapters:
        return PresetAdapters()

    def find_preprocessor(self, control: str) -> tuple[ModelSpec, ...]:
        return ()

    def find_upscaler(self, name: str | None, *, built_in: Sequence[str]) -> ModelSpec | None:
        return None

    def has_installed(self, engine: str) -> bool:
        return self.model is not None

    def find_family(self, name: str) -> str | None:
        return None if self.model is None else self.model.family


def pretend_installed(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    """Let these libraries seem installed."""
    monkeypatch.setattr(base, "find_spec", lambda name: object() if name in libraries else find_spec(name))


def pretend_missing(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    """Let these libraries seem missing, as in a light installation."""
    monkeypatch.setattr(base, "find_spec", lambda name: None if name in libraries else find_spec(name))
