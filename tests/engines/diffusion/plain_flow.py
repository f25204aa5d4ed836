"""Shared by the tests of flow-matching families that were not trained for inpainting: requests and their results."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.pipelines import CPU, STEPS, ignore_step

HEIGHT, WIDTH = 64, 96


def request(**settings: Any) -> InpaintRequest:
    """A photo that is wider than high, and a binary mask on the grid of the latents."""
    pixels = np.ascontiguousarray(data.astronaut()[: 8 * HEIGHT : 8, 50 : 50 + 4 * WIDTH : 4])
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[16:48, 8:40] = 255
    usual = {"prompt": "a red bus", "seed": 7, "strength": 1.0, "steps": STEPS}
    return InpaintRequest(Picture(pixels), mask, PaintSettings(**{**usual, **settings}))


def assert_equal(latents: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for rounding."""
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def paint(spec: ModelSpec, requested: InpaintRequest, **more: Any) -> list[NDArray[np.uint8]]:
    """The images of a request, by default each in calls of its own."""
    return Batcher(ModelCache(CPU, 10**9), max_rows=more.pop("max_rows", 1)).paint(
        requested, spec, ignore_step, **more
    )[0]
