"""What a stand-in for an engine needs beside its `inpaint`."""

from __future__ import annotations

from inpainting.catalog.specs import Control
from inpainting.core.geometry import WindowRule
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Engine, Plan, Queue, SettingsPlan
from inpainting.engines.plan import plan_pictures


def planned(request: InpaintRequest, engine: Engine) -> Plan:
    """The plan of a request by an engine that need not be registered, with the settings as they are."""
    settings = request.settings
    plan = SettingsPlan(
        engine=engine,
        reason="",
        requested=settings,
        settings=settings,
        control=engine.looks_at(settings),
        ignored=dict.fromkeys(engine.ignored(settings), "not read"),
    )
    return plan_pictures(request, plan)


class PlainEngine:
    """Wants half as much again around the mask, and everything as it was asked."""

    name = "quick-fill"
    ignores: frozenset[str] = frozenset()
    needs_surroundings = False
    queue = Queue.CPU
    rule = WindowRule(context=0.5)

    def settled(self, settings: PaintSettings) -> PaintSettings:
        return settings

    def ignored(self, settings: PaintSettings) -> frozenset[str]:
        return self.ignores

    def looks_at(self, settings: PaintSettings) -> Control | None:
        return None

    def window(self, settings: PaintSettings) -> WindowRule:
        return self.rule
