"""Run the safety checker on finished paintings of any engine and hide the flagged ones.

Importing this module does not import torch; the first check does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.codecs import to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.moderation.crops import checker_crops
from inpainting.core.moderation.hiding import hide
from inpainting.core.moderation.policy import UNAVAILABLE
from inpainting.core.sentences import sentence
from inpainting.engines.base import ModelCatalog
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.diffusion.serving.device_watchdog import LOADING_SECONDS
from inpainting.engines.painting import Painting
from inpainting.families.declaration import MODERATION
from inpainting.keepalive import TIMEOUT_SECONDS, run_in_thread

if TYPE_CHECKING:
    from inpainting.engines.diffusion.safety_checker import SafetyChecker

LOADING_TIMEOUT_SECONDS = LOADING_SECONDS + TIMEOUT_SECONDS
"""For importing torch and loading the checker, which waits for a model that is being loaded."""
Moderate = Callable[[Painting, Callable[[], None]], Painting]
"""`apply_safety_checker` with its checker and type. Called with the painting and `keepalive`."""


def find_safety_checker(catalog: ModelCatalog) -> ModelSpec:
    """Return the installed safety checker. Raises InvalidRequest, `safety_checker_unavailable`, with what is
    missing."""
    if not DIFFUSION.is_installed:
        raise InvalidRequest(
            sentence(
                "The safety checker is on, and this light installation cannot run it; "
                "“pip install .[diffusion]” adds what it needs."
            ),
            code=UNAVAILABLE,
            field="safety_checker",
        )
    try:
        return catalog.find(None, MODERATION)
    except InvalidRequest as error:
        message = sentence("The safety checker is on, but it cannot run. {message}", message=error.message)
        raise InvalidRequest(message, code=UNAVAILABLE, field="safety_checker") from error


def apply_safety_checker(
    painting: Painting, keepalive: Callable[[], None], *, how: str, checker: ModelSpec
) -> Painting:
    """Return the painting with the checker's result; if it was flagged, with all repainted pixels hidden.

    The checker sees crops of the repainted pixels with their surroundings (`core.moderation.crops`), not the rest of
    the image, which the owner supplied and which is never hidden. The crops show the painting unfaded, because anyone
    who has the source image could undo the fading.
    how: one of `settings_table.SAFETY_TYPES`.
    keepalive: called while the checker computes; an exception that it raises stops the check.
    Raises EngineFailed, `safety_checker_unavailable`.
    """
    if not painting.mask.any():
        return replace(painting, nsfw_content_detected=False)
    image = painting.image if painting.make_unfaded is None else painting.make_unfaded()
    pixels, (scale, _) = image.pixels, painting.window.scale
    shown = (
        pad_to_square(to_rgb8(CanonicalImage(pixels[box.slices]))) for box in checker_crops(painting.mask, 1 / scale)
    )
    loaded = run_in_thread(partial(loaded_checker, checker), keepalive, seconds=LOADING_TIMEOUT_SECONDS)
    if not loaded.flags_any(shown, keepalive):
        return replace(painting, nsfw_content_detected=False)
    return replace(
        painting,
        image=hide(painting.image, painting.mask, how),
        nsfw_content_detected=True,
        hidden_by=how,
        unhidden=painting.image,
    )


def pad_to_square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image padded to a square by repeating its edge: the checker crops anything else to its middle."""
    height, width = image.shape[:2]
    side = max(height, width)
    return image if height == width else np.pad(image, ((0, side - height), (0, side - width), (0, 0)), "edge")


def loaded_checker(spec: ModelSpec) -> SafetyChecker:
    """The safety checker in memory. The first use imports torch.

    Raises EngineFailed, `safety_checker_unavailable`.
    """
    from inpainting.engines.diffusion.safety_checker import loaded

    return loaded(spec)
