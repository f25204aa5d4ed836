"""The erase engine: a small network (LaMa or MI-GAN) fills each region of the mask; it takes no prompt.

Cheap to import: onnxruntime is loaded with the first network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec, install_hint
from inpainting.core import compiled, masks
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Box, Size, Window
from inpainting.core.masks import scale_mask
from inpainting.core.resizing import resize_pixels
from inpainting.core.sentences import sentence
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.erase.declaration import ERASE
from inpainting.engines.erase.mask_regions import split_into_regions, window_around
from inpainting.engines.quick_fill.bands import bands_around, kept_box
from inpainting.engines.quick_fill.engine import fill_bands
from inpainting.engines.quick_fill.holes import THIN_RADIUS
from inpainting.engines.quick_fill.large_holes import refill
from inpainting.engines.quick_fill.progress import Report
from inpainting.networks.network_cache import network_cache

if TYPE_CHECKING:
    from inpainting.engines.erase.onnx_networks import EraseNetwork

PREVIEW_SIDE = 256
MAX_ENLARGEMENT = 2
"""A network's output that is enlarged further is followed as a guide, with pixels copied from the photo."""
MIN_KNOWN = 0.4
"""The share of a window to copy from, at least. Half of the window around a region that is not at an edge is known."""


class Erase:
    """LaMa and MI-GAN. For several images the input is rotated and mirrored: image n by symmetry n of the square."""

    declaration = ERASE

    def inpaint(self, plan: Plan, on_step: OnStep) -> Iterable[NDArray[np.uint8]]:
        """Yield `settings.num_images` images [height, width, 3], equal to the source image where the mask is 0.

        Each is computed when it is taken: eight of 40 megapixels would need a gigabyte.
        One step per region, and one for the bands beyond the image's edges. While the network runs, `on_step` gets the
        last step again, so that it can raise Cancelled.
        Raises EngineFailed: `model_unavailable`, `model_refused`, `model_failed`, `model_produced_invalid_output`, or
        where the mask leaves nothing to paint from.
        """
        request = plan.request
        image, mask = request.image.pixels, request.mask > 0
        if mask.all():
            raise EngineFailed(sentence("The mask covers the whole image, so nothing is left to paint from."))
        network = self.network(plan.required_model)
        regions = split_into_regions(mask, network.side)
        kept = kept_box(masks.nonempty_bounds((~mask).view(np.uint8)), request.image.size, THIN_RADIUS)
        bands = bands_around(kept, request.image.size) if compiled.AVAILABLE else []
        count = request.settings.num_images
        step = Step(0, count * (len(regions.boxes) + bool(bands)))
        on_step(step)
        for symmetry in range(count):
            out, unknown = np.array(image, np.uint8), mask.copy()
            for number, box in enumerate(regions.boxes, start=1):
                window = region_window(box, unknown, network.side)
                here = window.box.slices
                visible, hole = network_input(out[here], unknown[here], network.work_size(window.box.size))
                painted = network.paint(visible, hole, symmetry=symmetry, on_wait=partial(on_step, step))
                own = regions.labels[here] == number
                filled = resize_pixels(painted, window.box.size)
                is_hole = bool((regions.labels[kept.slices] == number).any())
                blurred = is_blurred(window.box.size, Size(hole.shape[1], hole.shape[0]))
                if is_hole and blurred and can_refill(unknown[here]):
                    seed = symmetry, number
                    filled = refill(filled, out[here], unknown[here], own, seed, repeated(on_step, step))
                out[here][own] = filled[own]
                unknown[here][own] = False
                step = Step(step.done + 1, step.of)
                on_step(replace(step, preview=scaled_preview(out)))
            if bands:
                # what a network paints beyond an image's edges is softer than the photo, with objects of its own
                out = fill_bands(out.copy(), bands, (symmetry, 0), repeated(on_step, step), painted=out)
                step = Step(step.done + 1, step.of)
                on_step(replace(step, preview=scaled_preview(out)))
            yield out

    def network(self, spec: ModelSpec) -> EraseNetwork:
        """The network in memory. The first call imports onnxruntime.

        Raises EngineFailed (`model_unavailable`, `model_refused`) if it cannot be loaded.
        """
        from inpainting.engines.erase.onnx_networks import EraseNetwork

        if spec.path is None:
            raise EngineFailed(install_hint(spec.slug, spec.label), code="model_unavailable")
        network: EraseNetwork = network_cache.get(EraseNetwork, spec, spec.path)
        return network


def can_refill(unknown: NDArray[np.bool_]) -> bool:
    """Return whether there is enough to copy from in a window, and machine code for a guide."""
    return compiled.AVAILABLE and bool(np.count_nonzero(~unknown) >= MIN_KNOWN * unknown.size)


def repeated(on_step: OnStep, step: Step) -> Report:
    """Return a report that repeats `step`, so that it can raise Cancelled."""
    return lambda share: on_step(step)


def is_blurred(window: Size, work: Size) -> bool:
    """Return whether a network's output, enlarged from `work` to `window`, is much less sharp than a photo."""
    return window.longer > MAX_ENLARGEMENT * work.longer


def region_window(box: Box, unknown: NDArray[np.bool_], side: int) -> Window:
    """Return the square around a region, for a network of this side; the whole image if the square has no known
    pixel."""
    size = Size(unknown.shape[1], unknown.shape[0])
    window = window_around(box, size, side)
    return window_around(Box.whole(size), size, side) if unknown[window.box.slices].all() else window


def network_input(
    pixels: NDArray[np.uint8], unknown: NDArray[np.bool_], work: Size
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Scale a part of an image and its hole to the network's size. No colour of the hole mixes into known pixels.

    On shrinking, every pixel that overlaps the hole becomes hole. Enlarging, for an image smaller than the window,
    interpolates between neighbours, so the hole is dilated by one pixel first.
    """
    height, width = unknown.shape
    smaller = Size(min(width, work.width), min(height, work.height))
    pixels, hole = resize_pixels(pixels, smaller), scale_mask(unknown.astype(np.uint8) * 255, smaller)
    if smaller != work:
        dilated = cv2.dilate(hole, np.ones((3, 3), np.uint8))
        hole = scale_mask(hole if dilated.all() else dilated, work)
        pixels = cv2.resize(pixels, (work.width, work.height), interpolation=cv2.INTER_LINEAR)
    return pixels, hole > 0


def scaled_preview(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image scaled down to at most PREVIEW_SIDE pixels a side."""
    height, width = image.shape[:2]
    scale = min(1.0, PREVIEW_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def create() -> Erase:
    return Erase()
