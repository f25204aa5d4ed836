"""A first filling of an outpainting's border for engines that start from the source image.

With a strength below 1 a model keeps part of what it starts from. From edge pixels that are drawn out it makes streaks
or a frame; quick-fill's border continues the scene. docs/use/outpainting.md compares them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inpainting.core import masks
from inpainting.core.codecs import to_rgb8
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.core.resizing import resize_pixels
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.quick_fill.engine import QuickFill

SIDE = 384
"""Pixels of the window's longer side at which the border is filled, in about two seconds. The model adds the detail."""


def prefill_border(plan: Plan, on_step: OnStep) -> Plan:
    """Return the plan with the border filled in its image, which becomes 8-bit RGB; the same plan where none is
    needed."""
    kept = masks.bounds((plan.mask == 0).view(np.uint8))
    starts_from_image = "strength" not in plan.ignored and plan.settings.strength < 1
    if plan.request.placement is None or not starts_from_image or kept is None:
        return plan
    box = plan.window.box
    border = plan.mask.copy()
    border[kept.slices] = 0
    scale = min(1.0, SIDE / box.size.longer)
    small = Size(max(1, round(box.size.width * scale)), max(1, round(box.size.height * scale)))
    small_border = masks.scale_mask(border[box.slices], small)
    if small_border.all() or not small_border.any():
        return plan
    pixels = to_rgb8(plan.request.image).copy()
    settings = replace(plan.settings, num_images=1)
    request = InpaintRequest(CanonicalImage(resize_pixels(pixels[box.slices], small)), small_border, settings)
    (filled,) = QuickFill().inpaint(replace(plan, request=request, mask=small_border), lambda step: on_step(Step(0, 0)))
    np.copyto(pixels[box.slices], resize_pixels(filled, box.size), where=border[box.slices][:, :, np.newaxis] > 0)
    return replace(plan, request=replace(plan.request, image=CanonicalImage(pixels)))
