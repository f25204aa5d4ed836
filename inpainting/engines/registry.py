"""The engines of this process, by name."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from inpainting.core.errors import InvalidRequest
from inpainting.engines.base import Engine, Queue
from inpainting.engines.diffusion.engine import Diffusion, Options
from inpainting.engines.erase.engine import Erase
from inpainting.engines.quick_fill.engine import QuickFill

AUTO = "auto"
"""In place of an engine's name: the best one for the request, see `engines.plan.choose`."""


@cache
def engines() -> dict[str, Engine]:
    """Every engine by its name. First called at start-up by one thread, so that one set uses the device."""
    options = Options(
        device=settings.DIFFUSION_DEVICE,
        precision=settings.DIFFUSION_PRECISION,
        memory_bytes=settings.DIFFUSION_MEMORY_MB * 10**6 or None,
        max_rows=settings.DIFFUSION_ROWS or None,
        models_dir=settings.MODELS_DIR,
        openvino=settings.DIFFUSION_OPENVINO,
        openvino_bytes=settings.DIFFUSION_OPENVINO_MB * 10**6,
    )
    known: list[Engine] = [QuickFill(), Erase(), Diffusion(options)]
    return {engine.declaration.name: engine for engine in known}


def find(name: str) -> Engine:
    """The engine of that name. Raises InvalidRequest, `engine_not_found`, which lists the names."""
    engine = engines().get(name)
    if engine is None:
        raise InvalidRequest(
            f"There is no engine called “{name[:60]}”; the engines are: {', '.join([AUTO, *engines()])}.",
            code="engine_not_found",
            field="engine",
            actual=name[:60],
        )
    return engine


def check_name(name: str) -> None:
    """Raise InvalidRequest as `find` does, unless the name is "auto"."""
    if name != AUTO:
        find(name)


def in_queue(queue: Queue) -> list[str]:
    """The names of the engines whose generations wait in that queue."""
    return [name for name, engine in engines().items() if engine.declaration.queue is queue]


def label(name: str) -> str:
    """The engine's name for people; `name` itself where no such engine exists any more."""
    engine = engines().get(name)
    return name if engine is None else engine.declaration.label
