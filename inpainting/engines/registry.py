"""Name -> engine, made once a process."""

from __future__ import annotations

from functools import cache

from inpainting.core.errors import InvalidRequest
from inpainting.engines.base import Engine
from inpainting.engines.quick_fill.engine import QuickFill

AUTO = "auto"
DEFAULT = "quick-fill"


LABELS = {"quick-fill": "Quick fill"}
"""What people call an engine."""


@cache
def engines() -> dict[str, Engine]:
    return {engine.name: engine for engine in [QuickFill()]}


def find(name: str) -> Engine:
    """The engine of that name; "auto" is the best one installed. Raises InvalidRequest that lists the names."""
    engine = engines().get(DEFAULT if name == AUTO else name)
    if engine is None:
        names = ", ".join([AUTO, *engines()])
        raise InvalidRequest(
            f"There is no engine called “{name[:60]}”; the engines are: {names}.",
            code="engine_not_found",
            field="engine",
            actual=name[:60],
        )
    return engine


def label(name: str) -> str:
    return LABELS.get(name, name)
