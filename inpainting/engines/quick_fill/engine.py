"""quick-fill, the engine of every installation: no prompt, no weights, no GPU. Removes scratches and objects."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Box, Size
from inpainting.engines.base import OnStep, Plan
from inpainting.engines.quick_fill.declaration import CONTEXT, MIN_CONTEXT, QUICK_FILL
from inpainting.engines.quick_fill.holes import split_mask
from inpainting.engines.quick_fill.large_holes import downscaling, fill_downscaled
from inpainting.engines.quick_fill.progress import Progress, Report, subrange
from inpainting.engines.quick_fill.scratches import close_scratches

FULL_EFFORT = 40
"""Up to this many holes each gets the full search; with more, the total effort stays about the same."""
FULL_EFFORT_DOWNSCALED = 12
"""The same for holes so large that they are downscaled: each search then takes about 2 seconds."""


class QuickFill:
    """Copies pixels from elsewhere in the window into the hole."""

    declaration = QUICK_FILL

    def inpaint(self, plan: Plan, on_step: OnStep) -> Iterable[NDArray[np.uint8]]:
        """`settings.num_images` pictures [height, width, 3], equal to the source image where the mask is 0.

        Each is made when it is taken: eight of 40 megapixels would be a gigabyte.

        Raises EngineFailed where the mask leaves nothing to paint from.
        """
        request = plan.request
        image = np.ascontiguousarray(request.image.pixels, dtype=np.uint8)
        mask = request.mask > 0
        if mask.all():
            raise EngineFailed("The mask covers the whole picture, so nothing is left to paint from.")
        progress = Progress(on_step)
        progress(0.01)
        thin, holes = split_mask(mask)
        progress(0.02)
        start = 0.1 if holes else 1.0
        base = close_scratches(image, thin, subrange(progress, 0.02, start)) if thin.any() else image
        count = request.settings.num_images
        for index in range(count):
            report = subrange(progress, start + (1 - start) * index / count, start + (1 - start) * (index + 1) / count)
            yield fill_all(base, mask & ~thin, holes, (request.settings.seed, index), report)
        progress(1.0)


def fill_all(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], holes: list[Box], seed: tuple[int, int], report: Report
) -> NDArray[np.uint8]:
    """A copy of `image` [h, w, 3] with the holes in `mask` [h, w] filled in turn; filled ones count as known."""
    out = image.copy()
    unknown = mask.copy()
    whole = Box.whole(Size(mask.shape[1], mask.shape[0]))
    pixels = [int(np.count_nonzero(mask[hole.slices])) for hole in holes]
    boxes = [hole.expanded(max(MIN_CONTEXT, int(CONTEXT * hole.size.longer))).clipped(whole) for hole in holes]
    factor = downscaling(sum(pixels), [box.size.area for box in boxes])
    works = 0.05 * MIN_CONTEXT**2 + np.array(pixels, np.float64)
    ends = np.concatenate([[0.0], np.cumsum(works) / max(1.0, works.sum())])
    effort = min(1.0, (FULL_EFFORT if factor == 1 else FULL_EFFORT_DOWNSCALED) / max(1, len(holes)))
    for number, (hole, box) in enumerate(zip(holes, boxes, strict=True)):
        if not unknown[hole.slices].any():
            continue  # an earlier box included these pixels
        if unknown[box.slices].all():
            box = whole
        own = np.zeros((box.size.height, box.size.width), bool)
        own[hole.relative_to(box).slices] = unknown[hole.slices]
        rng = np.random.default_rng([*seed, number])
        around = out[box.slices]
        part = subrange(report, ends[number], ends[number + 1])
        filled = fill_downscaled(around, ~unknown[box.slices], own, factor, effort, rng, part)
        np.copyto(around, filled, where=own[:, :, np.newaxis])
        unknown[hole.slices] = False
    return out


def create() -> QuickFill:
    return QuickFill()
