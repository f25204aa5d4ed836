"""Run the safety checker on finished paintings of any engine and hide the flagged ones.

Importing this module does not import torch; the first check does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.families import MODERATION
from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.moderation.crops import checker_crops
from inpainting.core.moderation.hiding import hide
from inpainting.core.moderation.policy import UNAVAILABLE
from inpainting.engines.base import Catalog
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.painting import Painting
from inpainting.keepalive import run_in_thread

if TYPE_CHECKING:
    from inpainting.engines.diffusion.safety_checker import SafetyCheckerCache

Moderate = Callable[[Painting, Callable[[], None]], Painting]
"""`apply_safety_checker` with its checker and type. Called with the painting and `keepalive`."""


def find_safety_checker(catalog: Catalog) -> ModelSpec:
    """The installed safety checker. Raises InvalidRequest, `safety_checker_unavailable`, with what is missing."""
    if not DIFFUSION.is_installed:
        raise InvalidRequest(
            "The safety checker is on, and this light installation cannot run it; "
            "“pip install .[diffusion]” adds what it needs.",
            code=UNAVAILABLE,
            field="safety_checker",
        )
    try:
        return catalog.find(None, MODERATION)
    except InvalidRequest as error:
        message = f"The safety checker is on, but it cannot run. {error.message}"
        raise InvalidRequest(message, code=UNAVAILABLE, field="safety_checker") from error


def apply_safety_checker(
    painting: Painting, keepalive: Callable[[], None], *, how: str, checker: ModelSpec
) -> Painting:
    """Return the painting with the checker's result; if it was flagged, with all repainted pixels hidden.

    The checker sees crops of the repainted pixels with their surroundings (`core.moderation.crops`), not the rest of
    the image, which the owner supplied and which is never hidden. The crops show the painting unfaded, because anyone
    who has the source image could undo the fading.
    how: one of `settings_table.SAFETY_TYPES`. keepalive: called while the checker computes; an exception that it raises
    stops the check.
    Raises EngineFailed, `safety_checker_unavailable`.
    """
    if not painting.mask.any():
        return replace(painting, nsfw_content_detected=False)
    image = painting.image if painting.make_unfaded is None else painting.make_unfaded()
    pixels, (scale, _) = image.pixels, painting.window.scale
    shown = (
        padded_to_square(to_rgb8(CanonicalImage(pixels[box.slices]))) for box in checker_crops(painting.mask, 1 / scale)
    )
    cache = run_in_thread(checker_cache, keepalive)
    if not cache.get(checker, keepalive).flags_any(shown, keepalive):
        return replace(painting, nsfw_content_detected=False)
    return replace(
        painting,
        image=hide(painting.image, painting.mask, how),
        nsfw_content_detected=True,
        hidden_by=how,
        unhidden=painting.image,
    )


def padded_to_square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image padded to a square by repeating its edge: the checker crops anything else to its middle."""
    height, width = image.shape[:2]
    side = max(height, width)
    return image if height == width else np.pad(image, ((0, side - height), (0, side - width), (0, 0)), "edge")


@cache
def checker_cache() -> SafetyCheckerCache:
    """The loaded safety checkers of this process. The first use imports torch."""
    from inpainting.engines.diffusion.safety_checker import SafetyCheckerCache

    return SafetyCheckerCache()
