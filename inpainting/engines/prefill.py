"""A first filling of the masked area for engines that start from the source image.

With a strength below 1 a model keeps part of what it starts from: of an object that is to go, if `masked_content` does
not ask for a filling. The border of an outpainting is always filled. From edge pixels that are drawn out the model
makes streaks or a frame; quick-fill's border continues the scene. docs/use/outpainting.md compares them.
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
"""Pixels of the window's longer side at which it is filled, in about two seconds. The model adds the detail."""


def prefill(plan: Plan, on_step: OnStep) -> Plan:
    """Return the plan with its image filled, which becomes 8-bit RGB; the same plan where no filling is needed."""
    kept = masks.bounds((plan.mask == 0).view(np.uint8))
    fills_mask = plan.settings.masked_content == "fill" and "masked_content" not in plan.ignored
    strength = None if "strength" in plan.ignored else plan.settings.strength
    starts_from_image = strength is not None and strength < 1
    if not (starts_from_image and (fills_mask or plan.request.placement is not None)) or kept is None:
        return plan
    box = plan.window.box
    hole = plan.mask.copy()
    if not fills_mask:
        hole[kept.slices] = 0
    scale = min(1.0, SIDE / box.size.longer)
    small = Size(max(1, round(box.size.width * scale)), max(1, round(box.size.height * scale)))
    small_hole = masks.scale_mask(hole[box.slices], small)
    if small_hole.all() or not small_hole.any():
        return plan
    pixels = to_rgb8(plan.request.image).copy()
    settings = replace(plan.settings, num_images=1)
    request = InpaintRequest(CanonicalImage(resize_pixels(pixels[box.slices], small)), small_hole, settings)
    (filled,) = QuickFill().inpaint(replace(plan, request=request, mask=small_hole), lambda step: on_step(Step(0, 0)))
    np.copyto(pixels[box.slices], resize_pixels(filled, box.size), where=hole[box.slices][:, :, np.newaxis] > 0)
    return replace(plan, request=replace(plan.request, image=CanonicalImage(pixels)))
