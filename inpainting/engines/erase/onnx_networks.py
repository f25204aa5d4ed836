"""Loads ONNX inpainting networks and runs them in onnxruntime sessions. Imports onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpainting import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.sentences import sentence
from inpainting.engines.erase.network_inputs import PrepareInputs, fill_hole_with_nearest
from inpainting.networks.onnx_sessions import load_session, run_session

SIDE = 512
"""Side of the window in pixels for a graph with dynamic sizes: both families were published for it."""
MIN_SIDE, MAX_SIDES = 16, 2
"""A graph that scales gets images of 16 pixels to twice its side: MI-GAN's reflects two pixels at each border, and
scales down by interpolation without a filter, which drops pixels beyond a factor of two."""


class EraseNetwork:
    """A session of one ONNX file; `side` is the height and the width of its window, in pixels."""

    def __init__(self, spec: ModelSpec, path: Path) -> None:
        self.session = load_session(spec, path)
        self.label = spec.label
        family = families.get(spec.family)
        self.inputs: PrepareInputs = family.load_implementation()
        width = next(node for node in self.session.get_inputs() if node.name == "image").shape[-1]
        self.side = width if isinstance(width, int) else SIDE
        self.scales = family.graph_scales and not isinstance(width, int)

    def work_size(self, window: Size) -> Size:
        """Return the size at which the network gets a window: its square, or nearly the window's own where the graph
        scales.

        MI-GAN's graph crops to the hole and 128 pixels around it, and fades its result in after scaling it back. At 512
        pixels its seams were stronger on each of 12 photos than with the window's own size.
        """
        if not self.scales:
            return Size(self.side, self.side)
        return Size(*(min(max(side, MIN_SIDE), MAX_SIDES * self.side) for side in (window.width, window.height)))

    def paint(
        self, image: NDArray[np.uint8], hole: NDArray[np.bool_], *, symmetry: int, on_wait: Callable[[], None]
    ) -> NDArray[np.uint8]:
        """Return the network's output: RGB [height, width, 3] with the hole [height, width] filled, all pixels
        reconstructed.

        What the image holds in the hole is not used, see `fill_hole_with_nearest`.
        symmetry: 0 to 7, see `apply_symmetry`.
        on_wait: called while the network runs; an exception from it terminates the run.
        Raises EngineFailed.
        """
        visible = apply_symmetry(fill_hole_with_nearest(image, hole), symmetry)
        feeds = self.inputs(visible, apply_symmetry(hole, symmetry))
        painted = run_session(self.session, self.label, feeds, on_wait)
        if painted.shape != (1, 3, *visible.shape[:2]) or not np.isfinite(painted).all():
            raise EngineFailed(
                sentence(
                    "The model {label} returned {shape} {dtype}, or values that are not finite.",
                    label=self.label,
                    shape=painted.shape,
                    dtype=painted.dtype,
                ),
                code="model_produced_invalid_output",
            )
        # Both return 0 to 255: LaMa as float32, which may exceed the range slightly, MI-GAN as uint8.
        colours = np.clip(np.rint(painted[0].astype(np.float32)), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(inverse_transformed(colours.transpose(1, 2, 0), symmetry))


def apply_symmetry(pixels: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """Return pixels under a symmetry of the square, 0 to 7. Its bits: 1 flips columns, 2 flips rows, 4 transposes."""
    pixels = pixels[:, ::-1] if symmetry & 1 else pixels
    pixels = pixels[::-1] if symmetry & 2 else pixels
    return pixels.swapaxes(0, 1) if symmetry & 4 else pixels


def inverse_transformed(pixels: NDArray[Any], symmetry: int) -> NDArray[Any]:
    pixels = pixels.swapaxes(0, 1) if symmetry & 4 else pixels
    pixels = pixels[::-1] if symmetry & 2 else pixels
    return pixels[:, ::-1] if symmetry & 1 else pixels
