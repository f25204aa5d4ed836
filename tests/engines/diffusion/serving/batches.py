"""Shared by the tests of the batcher: requests, and a counter of UNet calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.serving.batcher import Batcher
from tests.engines.diffusion.pipelines import SIDE

STEPS = 6


def request(**settings: Any) -> InpaintRequest:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 8:40] = 255
    usual = {"prompt": "a red bus", "seed": 7, "strength": 1.0, "steps": STEPS, "scheduler": "DDIMScheduler"}
    values = {**usual, **settings}
    return InpaintRequest(
        CanonicalImage(np.ascontiguousarray(data.astronaut()[::8, ::8])), mask, PaintSettings(**values)
    )


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until `holds()` is true, at most 30 seconds."""
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("the condition never held")


def has_arrived(batcher: Batcher, count: int) -> bool:
    """Whether `count` submitted jobs wait for admission."""
    return batcher.arrival_count == count


class UNetCalls:
    """Counts the calls of a model's UNet and their rows, and can hold the first call until `go` is set."""

    def __init__(self, batcher: Batcher, spec: ModelSpec, *, held: bool = False) -> None:
        self.rows: list[int] = []
        self.go, self.begun = threading.Event(), threading.Event()
        if not held:
            self.go.set()
        batcher.cache.get(spec).unet.register_forward_pre_hook(self.count)

    def count(self, module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self.rows.append(len(arguments[0]))
        self.begun.set()
        assert self.go.wait(30)
