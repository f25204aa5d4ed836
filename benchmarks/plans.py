"""Plans of requests whose settings are painted as they are, without a catalog."""

from __future__ import annotations

from benchmarks import bare_settings as bare_settings  # before the engines read settings
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import WindowRule
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import EngineDeclaration, Plan, SettingsPlan
from inpainting.engines.plan import plan_images


def planned(
    request: InpaintRequest, engine: EngineDeclaration, window_rule: WindowRule, model: ModelSpec | None = None
) -> Plan:
    """The plan of a request for an engine."""
    settings = request.settings
    plan = SettingsPlan(
        engine=engine,
        reason="",
        requested=settings,
        settings=settings,
        window_rule=window_rule,
        model=model,
        ignored={},
    )
    return plan_images(request, plan)
