"""Finds what a marked object leaves behind beside it: its cast shadow, or its mirror image on water or a floor."""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.shadows.cast_shadow import CastShadow, find_cast_shadow
from inpainting.core.shadows.mirror_image import find_mirror_image
from inpainting.core.shadows.views import View, view_of_each_object

__all__ = ["find_shadow"]

SAME_DIRECTION = 0.5
"""The cosine of the largest angle between the shadow of one object and that of all."""


def find_shadow(image: CanonicalImage, mask: Mask) -> Mask:
    """Return the shadows and mirror images of the objects of a canonical mask: [height, width], 255 there, else 0.

    What is returned overlaps the edge of the mask, so that no gap is left between them. Each of the largest objects is
    looked at by itself, at a bounded size, so that the cost does not grow with the image. Where nothing is found with
    confidence, or the whole image is marked, all is 0: a dark thing beside the object is worse to lose than a shadow to
    keep. The sources of the two methods are in their modules.
    """
    found = np.zeros(mask.shape, np.uint8)
    shadows: list[tuple[View, CastShadow]] = []
    for view in view_of_each_object(image, mask):
        mirrored = find_mirror_image(view)
        if mirrored is not None:
            add(found, view, mirrored)
        elif shadow := find_cast_shadow(view):
            shadows.append((view, shadow))
    for view, shadow in in_one_direction(shadows):
        add(found, view, shadow.mask)
    return found


def in_one_direction(shadows: list[tuple[View, CastShadow]]) -> list[tuple[View, CastShadow]]:
    """Return the shadows that fall to the side to which they fall together: one light casts them all."""
    areas = [np.count_nonzero(shadow.mask) / view.scale**2 for view, shadow in shadows]
    together = sum((area * shadow.direction for area, (_, shadow) in zip(areas, shadows, strict=True)), np.zeros(2))
    least = SAME_DIRECTION * float(np.linalg.norm(together))
    return [(view, shadow) for view, shadow in shadows if float(shadow.direction @ together) >= least]


def add(found: Mask, view: View, part: Mask) -> None:
    """Add a view's part, 1 where something was found, to the mask of the whole image."""
    size = view.box.size
    scaled = cv2.resize(part * np.uint8(255), (size.width, size.height), interpolation=cv2.INTER_LINEAR)
    found[view.box.slices][scaled >= 128] = 255
