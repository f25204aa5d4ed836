"""quick-fill, the engine of every installation: no prompt, no weights, no GPU. Removes scratches and objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inpainting.core import masks
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Box, Size
from inpainting.core.sentences import sentence
from inpainting.engines.base import OnStep, Plan
from inpainting.engines.quick_fill.bands import PlacedBand, bands_around, kept_box
from inpainting.engines.quick_fill.declaration import CONTEXT, MIN_CONTEXT, QUICK_FILL
from inpainting.engines.quick_fill.filling import Search
from inpainting.engines.quick_fill.guides.uniqueness import uniqueness
from inpainting.engines.quick_fill.holes import THIN_RADIUS, split_mask
from inpainting.engines.quick_fill.large_holes import downscaling, fill_downscaled
from inpainting.engines.quick_fill.progress import Progress, Report, subrange
from inpainting.engines.quick_fill.scratches import close_scratches

FULL_EFFORT = 20
"""Up to this many holes each gets the full search; with more, the total effort stays about the same."""
FULL_EFFORT_DOWNSCALED = 4
"""The same for holes so large that they are downscaled: each search then takes about 2 seconds."""
BAND_EFFORT = 0.25
"""Bands try other offsets too, see `Band.offsets`."""


class QuickFill:
    """Copies pixels from elsewhere in the window into the hole."""

    declaration = QUICK_FILL

    def inpaint(self, plan: Plan, on_step: OnStep) -> Iterable[NDArray[np.uint8]]:
        """Yield `settings.num_images` images [height, width, 3], equal to the source image where the mask is 0.

        Each is made when it is taken: eight of 40 megapixels would be a gigabyte.

        Raises EngineFailed where the mask leaves nothing to paint from.
        """
        request = plan.request
        image = np.ascontiguousarray(request.image.pixels, dtype=np.uint8)
        mask = request.mask > 0
        if mask.all():
            raise EngineFailed(sentence("The mask covers the whole image, so nothing is left to paint from."))
        progress = Progress(on_step)
        progress(0.01)
        size = request.image.size
        kept = kept_box(masks.nonempty_bounds((~mask).view(np.uint8)), size, THIN_RADIUS)
        bands = bands_around(kept, size)
        inner = np.zeros_like(mask) if bands else mask
        if bands:
            inner[kept.slices] = mask[kept.slices]
        thin, holes = split_mask(inner)
        progress(0.02)
        start = 0.1 if holes or bands else 1.0
        base = close_scratches(image, thin, subrange(progress, 0.02, start)) if thin.any() else image
        unknown = mask & ~thin
        del mask, inner, thin  # 24 MB each in an image of 24 megapixels
        count = request.settings.num_images
        for index in range(count):
            report = subrange(progress, start + (1 - start) * index / count, start + (1 - start) * (index + 1) / count)
            seed, end = (request.settings.seed, index), share_of_holes(holes, bands)
            # every second image is made without a guide, so that they differ visibly
            filled = fill_all(base, unknown, holes, seed, index % 2 == 0, subrange(report, 0, end))
            yield fill_bands(filled, bands, seed, subrange(report, end, 1)) if bands else filled
        progress(1.0)


def fill_all(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    holes: list[Box],
    seed: tuple[int, int],
    guided: bool,
    report: Report,
) -> NDArray[np.uint8]:
    """Return a copy of `image` [h, w, 3] with the holes in `mask` [h, w] filled in turn; filled ones count as known."""
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
        filled = fill_downscaled(around, ~unknown[box.slices], own, factor, Search(effort, guided), rng, part)
        inner = hole.relative_to(box).slices
        np.copyto(out[hole.slices], filled[inner], where=own[inner][:, :, np.newaxis])
        unknown[hole.slices] = False
    return out


def share_of_holes(holes: list[Box], bands: list[PlacedBand]) -> float:
    """Return the share of the time that holes take, before bands are filled."""
    areas = [sum(hole.size.area for hole in holes), sum(band.box.size.area for band in bands)]
    return areas[0] / max(1, sum(areas))


def fill_bands(
    image: NDArray[np.uint8],
    bands: list[PlacedBand],
    seed: tuple[int, int],
    report: Report,
    painted: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return `image` [h, w, 3], which is written, with the bands filled in turn; filled ones count as known.

    painted: [h, w, 3], the image as a network painted it, which the bands follow.
    """
    factor = downscaling(sum(band.box.size.area for band in bands), [band.area for band in bands])
    levels: dict[Box, NDArray[np.float32]] = {}
    for number, place in enumerate(bands):
        part = subrange(report, number / len(bands), (number + 1) / len(bands))
        if place.known not in levels:
            levels[place.known] = uniqueness(image[place.known.slices], subrange(part, 0.0, 0.1))
        hole, band = place.hole(), place.band(levels[place.known])
        rng, rest = np.random.default_rng([*seed, number]), subrange(part, 0.1, 1.0)
        mirrored, search = place.with_mirror(image), Search(BAND_EFFORT)
        if painted is not None:
            shown = np.where(hole[:, :, np.newaxis], place.with_mirror(painted), mirrored)
            search = replace(search, painted=shown)
        filled = fill_downscaled(mirrored, ~hole, hole, factor, search, rng, rest, band)
        np.copyto(image[place.around.slices], place.unmirrored(filled), where=place.unmirrored(hole)[:, :, np.newaxis])
    return image


def create() -> QuickFill:
    return QuickFill()
