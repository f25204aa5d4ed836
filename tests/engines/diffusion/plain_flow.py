"""Requests of the tests of flow-matching families."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage import data

from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import FLOW_SCHEDULERS
from tests.engines.diffusion.pipelines import STEPS

HEIGHT, WIDTH = 64, 96
EULER, HEUN = FLOW_SCHEDULERS


def request(**settings: Any) -> InpaintRequest:
    """A photo that is wider than high, and a binary mask on the grid of the latents."""
    pixels = np.ascontiguousarray(data.astronaut()[: 8 * HEIGHT : 8, 50 : 50 + 4 * WIDTH : 4])
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[16:48, 8:40] = 255
    usual = {"prompt": "a red bus", "seed": 7, "strength": 1.0, "steps": STEPS}
    return InpaintRequest(CanonicalImage(pixels), mask, PaintSettings(**{**usual, **settings}))
