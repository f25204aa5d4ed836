"""Adds fail points to a serving process: it exits at the one named in the file `fail-point` of its data folder."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from django.apps import AppConfig
from django.conf import settings
from django.utils import timezone
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.engines import registry
from inpainting.engines.base import OnStep, Plan, Queue, Step
from inpainting.engines.erase.declaration import ERASE
from inpainting.keepalive import run_in_thread
from inpainting.networks.network_cache import network_cache
from tests.support.fakes import PlainEngine

FAIL_POINTS = ["accept before", "accept after", "result before", "result after", "commit before", "commit after"]
STEPS = 6
STEP_SECONDS = float(os.environ.get("CHAOS_STEP_SECONDS", "0.03"))
CLOCK_SECONDS = float(os.environ.get("CHAOS_CLOCK_SECONDS", "0"))
"""How far the clock of this process is fast."""
LOAD_SECONDS = float(os.environ.get("CHAOS_LOAD_SECONDS", "0"))
"""How long a model loads."""
CRASH = "crash the process"
"""The prompt of a generation that does so before its first step."""
CRASHING_LOAD, CRASHING_STEP = "crash-while-loading", "crash-at-a-step"
"""Files of the data folder: while one exists, each load of a model, or the fourth step of each image, ends the process
as a fault of a library does."""
QUICK, QUICK_SECONDS = "a quick lawn", 0.03
"""In the prompt of a generation: its steps take as long, whatever STEP_SECONDS are."""


class SlowEngine(PlainEngine):
    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        """Paints grey in six short steps, after the file `hold` is deleted; hangs once if the file `hang` exists."""
        while (settings.DATA_DIR / "hold").exists():
            time.sleep(STEP_SECONDS)
        if plan.settings.prompt == CRASH:
            crash()
        step_seconds = QUICK_SECONDS if QUICK in plan.settings.prompt else STEP_SECONDS
        for done in range(1, STEPS + 1):
            hang = settings.DATA_DIR / "hang"
            if hang.exists():
                hang.unlink()
                time.sleep(3600)
            time.sleep(step_seconds)
            on_step(Step(done, STEPS))
            if done > STEPS // 2:
                crash_if(CRASHING_STEP)
        return [np.full(plan.request.image.pixels.shape, 128, np.uint8)]


class SlowModelEngine(SlowEngine):
    """Loads its model for LOAD_SECONDS, then paints as SlowEngine does."""

    declaration = ERASE

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        model = plan.required_model
        assert model.path is not None
        run_in_thread(partial(network_cache.get, slow_load, model, model.path), lambda: on_step(Step(0, 0)))
        return super().inpaint(plan, on_step)


def slow_load(spec: ModelSpec, path: Path) -> str:
    """Stand in for reading a network."""
    crash_if(CRASHING_LOAD)
    time.sleep(LOAD_SECONDS)
    return spec.slug


def crash_if(name: str) -> None:
    if (settings.DATA_DIR / name).exists():
        crash()


def crash() -> None:
    """End this process as a fault of a library does, without a file of its memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def die_here(name: str) -> None:
    path = settings.DATA_DIR / "fail-point"
    if path.exists() and path.read_text() == name:
        path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def with_fail_points(owner: Any, function: str, what: str) -> None:
    real: Callable[..., Any] = getattr(owner, function)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        die_here(f"{what} before")
        answer = real(*args, **kwargs)
        die_here(f"{what} after")
        return answer

    setattr(owner, function, wrapped)


class ChaosConfig(AppConfig):
    name = "tests.chaos"
    label = "chaos"

    def ready(self) -> None:
        from inpainting.generations import submit
        from inpainting.models import Generation
        from inpainting.models.images import PreviewedImage
        from inpainting.worker import run

        registry.engines().update({"quick-fill": SlowEngine(), "erase": SlowModelEngine()})
        now, seconds = timezone.now, time.time
        timezone.now = lambda: now() + timedelta(seconds=CLOCK_SECONDS)
        time.time = lambda: seconds() + CLOCK_SECONDS
        with_fail_points(run, "store", "result")
        with_fail_points(Generation, "succeed", "commit")
        with_fail_points(PreviewedImage, "store_reduced", "thumbnail")
        # Fail points of accepting: just before the commit, and before the workers are notified.
        accept, notify_workers = Generation.save_new, submit.notify_workers  # type: ignore[attr-defined]

        def save_new(self: Generation, *, weight: int = 1, in_batch: bool = False) -> None:
            accept(self, weight=weight, in_batch=in_batch)
            die_here("accept before")

        def notify_after(queue: Queue = Queue.CPU) -> None:
            die_here("accept after")
            notify_workers(queue)

        Generation.save_new = save_new  # type: ignore[method-assign]
        submit.notify_workers = notify_after  # type: ignore[attr-defined]
