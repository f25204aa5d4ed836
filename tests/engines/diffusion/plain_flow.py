"""Shared by the tests of flow-matching families that were not trained for inpainting: requests and their results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.pipelines import CPU, STEPS, ignore_step

HEIGHT, WIDTH = 64, 96
EULER, HEUN = FLOW_SCHEDULERS


def request(**settings: Any) -> InpaintRequest:
    """A photo that is wider than high, and a binary mask on the grid of the latents."""
    pixels = np.ascontiguousarray(data.astronaut()[: 8 * HEIGHT : 8, 50 : 50 + 4 * WIDTH : 4])
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[16:48, 8:40] = 255
    usual = {"prompt": "a red bus", "seed": 7, "strength": 1.0, "steps": STEPS}
    return InpaintRequest(CanonicalImage(pixels), mask, PaintSettings(**{**usual, **settings}))


def assert_equal(latents: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for rounding."""
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def paint(spec: ModelSpec, requested: InpaintRequest, **more: Any) -> list[NDArray[np.uint8]]:
    """The images of a request, by default each in calls of its own."""
    return Batcher(ModelCache(CPU, 10**9), max_rows=more.pop("max_rows", 1)).paint(
        requested, spec, ignore_step, **more
    )[0]


def rows_of_shared_calls(spec: ModelSpec) -> list[int]:
    """The rows of each call for jobs of different prompts at once, whose results are those that they have alone."""
    requested = [
        request(
            prompt="a red bus " * (1 + seed),
            seed=seed,
            guidance_scale=(1.0, 4.0)[seed % 2],
            steps=STEPS + seed % 3,
            strength=(1.0, 0.75)[seed % 2],
            scheduler=(EULER, EULER, HEUN)[seed % 3],
        )
        for seed in range(6)
    ]
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    rows: list[int] = []
    batcher.cache.get(spec).transformer.register_forward_pre_hook(
        lambda module, given, named: rows.append(len(given[0] if given else named["hidden_states"])), with_kwargs=True
    )
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda sent: batcher.paint(sent, spec, ignore_step)[0][0], requested))
    for sent, result in zip(requested, results, strict=True):
        assert np.abs(result.astype(int) - paint(spec, sent)[0]).max() <= 1
    return rows
