"""The declaration of the erase engine, which fills the hole with an ONNX model and reads few settings."""

from __future__ import annotations

from dataclasses import replace

from inpainting.core.geometry import WindowRule
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import mark
from inpainting.core.setting import ERASE as NAME
from inpainting.core.settings_table import settings_ignored_by
from inpainting.engines.base import EngineDeclaration, ModelCatalog, Queue, Resolution

CONTEXT, MIN_CONTEXT = 0.5, 256
"""Around the mask at its own scale: enough that an island at its rim still gets a whole window of 512 pixels."""


def resolve(settings: PaintSettings, catalog: ModelCatalog) -> Resolution:
    model = catalog.find(settings.model, NAME)
    return Resolution(
        settings=replace(settings, model=model.slug), window_rule=WindowRule(CONTEXT, MIN_CONTEXT), model=model
    )


ERASE = EngineDeclaration(
    name=NAME,
    label=mark("Erase"),
    model_label=mark("Erases with"),
    queue=Queue.CPU,
    ignored_settings=settings_ignored_by(NAME),
    needs_surroundings=True,
    resolve=resolve,
    library="onnxruntime",
)
