"""The engine that is always there: no prompt, no weights, no GPU. Thin damage is closed, objects are painted out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import WindowRule
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import OnStep
from inpainting.engines.quick_fill.filling import fill
from inpainting.engines.quick_fill.islands import Hole, split
from inpainting.engines.quick_fill.progress import Progress, Report, part
from inpainting.engines.quick_fill.scratches import close_scratches

CONTEXT = 1.0
LEAST_CONTEXT = 64
FULL_EFFORT = 40
"""Holes up to which each gets the full search; beyond, the total stays about the same."""


class QuickFill:
    """Copies pixels from elsewhere in the picture into the hole. Deterministic: same request, same bytes."""

    name = "quick-fill"
    ignores = frozenset(
        {
            *("prompt", "negative_prompt", "strength", "steps", "guidance_scale", "scheduler", "width", "height"),
            "only_masked_padding",
        }
    )
    needs_surroundings = True
    window = WindowRule(context=CONTEXT, least_context=LEAST_CONTEXT)

    def inpaint(self, request: InpaintRequest, on_step: OnStep) -> list[NDArray[np.uint8]]:
        """`settings.num_images` pictures [height, width, 3], equal to the request's where its mask is 0.

        Raises EngineFailed where the mask leaves nothing to paint from.
        """
        image = np.ascontiguousarray(request.image.pixels, dtype=np.uint8)
        mask = request.mask > 0
        if mask.all():
            raise EngineFailed("The mask covers the whole picture, so nothing is left to paint from.")
        progress = Progress(on_step)
        progress(0.01)
        thin, holes = split(mask)
        progress(0.02)
        start = 0.1 if holes else 1.0
        base = close_scratches(image, thin, part(progress, 0.02, start)) if thin.any() else image
        pictures = []
        count = request.settings.num_images
        for index in range(count):
            report = part(progress, start + (1 - start) * index / count, start + (1 - start) * (index + 1) / count)
            pictures.append(fill_all(base, mask & ~thin, holes, (request.settings.seed, index), report))
        progress(1.0)
        return pictures


def fill_all(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], holes: list[Hole], seed: tuple[int, int], report: Report
) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] with the holes in `mask` [h, w] filled in turn; a filled one counts as known."""
    out = image.copy()
    unknown = mask.copy()
    works = np.array([0.05 * LEAST_CONTEXT**2 + np.count_nonzero(mask[hole.slices]) for hole in holes], np.float64)
    ends = np.concatenate([[0.0], np.cumsum(works) / max(1.0, works.sum())])
    effort = min(1.0, FULL_EFFORT / max(1, len(holes)))
    for number, hole in enumerate(holes):
        if not unknown[hole.slices].any():
            continue  # what is here lay within the bounds of an earlier one
        box = surroundings(hole, mask.shape)
        if unknown[box].all():
            box = slice(0, mask.shape[0]), slice(0, mask.shape[1])
        own = np.zeros(out[box].shape[:2], bool)
        inner = tuple(
            slice(part.start - around.start, part.stop - around.start)
            for part, around in zip(hole.slices, box, strict=True)
        )
        own[inner] = unknown[hole.slices]
        rng = np.random.default_rng([*seed, number])
        filled = fill(out[box], ~unknown[box], own, effort, rng, part(report, ends[number], ends[number + 1]))
        out[box][own] = filled[own]
        unknown[hole.slices] = False
    return out


def surroundings(hole: Hole, shape: tuple[int, ...]) -> tuple[slice, slice]:
    reach = max(LEAST_CONTEXT, int(CONTEXT * hole.longer))
    return (
        slice(max(0, hole.top - reach), min(shape[0], hole.bottom + reach)),
        slice(max(0, hole.left - reach), min(shape[1], hole.right + reach)),
    )
