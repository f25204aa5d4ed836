"""The declaration of quick-fill, which reads only the source image and needs no model."""

from __future__ import annotations

from inpainting.core.geometry import WindowRule
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import mark
from inpainting.core.setting import QUICK_FILL as NAME
from inpainting.core.settings_table import settings_ignored_by
from inpainting.engines.base import EngineDeclaration, ModelCatalog, Queue, Resolution

CONTEXT = 1.0
MIN_CONTEXT = 64


def resolve(settings: PaintSettings, catalog: ModelCatalog) -> Resolution:
    return Resolution(settings=settings, window_rule=WindowRule(context=CONTEXT, min_context=MIN_CONTEXT))


QUICK_FILL = EngineDeclaration(
    name=NAME,
    label=mark("Quick fill"),
    queue=Queue.CPU,
    ignored_settings=settings_ignored_by(NAME),
    needs_surroundings=True,
    resolve=resolve,
)
