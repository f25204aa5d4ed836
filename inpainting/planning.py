"""The functions of `engines.plan`, called with this site's settings and catalog."""

from __future__ import annotations

from django.conf import settings as site

from inpainting.catalog.lookup import Catalog
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import plan as plans
from inpainting.engines.base import EngineDeclaration, Plan, Resolution, SettingsPlan
from inpainting.engines.plan import Choice
from inpainting.engines.registry import AUTO


def choose(engine: str = AUTO, requested: PaintSettings | None = None) -> Choice:
    return plans.choose(engine, requested, Catalog())


def resolve(engine: EngineDeclaration, settings: PaintSettings) -> Resolution:
    return plans.resolve(engine, settings, Catalog())


def plan_settings(requested: PaintSettings, engine: str = AUTO, *, seed: int = 0) -> SettingsPlan:
    return plans.plan_settings(requested, engine, catalog=Catalog(), safety_checker=site.SAFETY_CHECKER, seed=seed)


def plan(request: InpaintRequest, engine: str = AUTO, *, seed: int = 0) -> Plan:
    """Plan a request with its images."""
    return plans.plan_pictures(request, plan_settings(request.settings, engine, seed=seed))


def plan_stored(request: InpaintRequest, engine: str) -> Plan:
    """Plan a stored request, whose settings were resolved when it was accepted."""
    return plans.plan_pictures(request, plans.plan_stored(request.settings, engine, catalog=Catalog()))


def step_down(plan: Plan) -> Plan | None:
    return plans.step_down(plan, catalog=Catalog())
