"""Plans under this site's settings."""

from __future__ import annotations

from django.conf import settings as site

from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import plan as plans
from inpainting.engines.base import Plan, SettingsPlan
from inpainting.engines.registry import AUTO


def plan_settings(requested: PaintSettings, engine: str = AUTO, *, seed: int = 0) -> SettingsPlan:
    """See `engines.plan.plan_settings`."""
    return plans.plan_settings(requested, engine, safety_checker=site.SAFETY_CHECKER, seed=seed)


def plan(request: InpaintRequest, engine: str = AUTO, *, seed: int = 0) -> Plan:
    """The whole plan of a request, pictures included. Raises InvalidRequest as `plan_settings` and `plan_pictures`."""
    return plans.plan_pictures(request, plan_settings(request.settings, engine, seed=seed))


def plan_stored(request: InpaintRequest, engine: str) -> Plan:
    """The plan of a request whose settings were resolved when it was accepted."""
    return plans.plan_pictures(request, plans.plan_stored(request.settings, engine))


def step_down(plan: Plan) -> Plan | None:
    """See `engines.plan.step_down`."""
    return plans.step_down(plan)
