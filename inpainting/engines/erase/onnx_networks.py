"""Loads ONNX inpainting networks and runs them in onnxruntime sessions. Imports onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.erase.network_inputs import PrepareInputs, without_hole
from inpainting.engines.onnx_sessions import load_session, run_session

SIDE = 512
"""Side of the window in pixels for a graph with dynamic sizes: both families were published for it."""


class OnnxNetwork:
    """A session of one ONNX file. side: height and width of its input, in pixels."""

    def __init__(self, spec: ModelSpec, path: Path) -> None:
        self.session = load_session(spec, path)
        self.label = spec.label
        self.inputs: PrepareInputs = families.get(spec.family).load_implementation()
        width = next(node for node in self.session.get_inputs() if node.name == "image").shape[-1]
        self.side = width if isinstance(width, int) else SIDE

    def paint(
        self, picture: NDArray[np.uint8], hole: NDArray[np.bool_], *, symmetry: int, on_wait: Callable[[], None]
    ) -> NDArray[np.uint8]:
        """The network's output: RGB [side, side, 3] with the hole [side, side] filled and all pixels reconstructed.

        What the picture holds in the hole is not used, see `without_hole`. symmetry: 0 to 7, see `transformed`. on_wait:
        called while the network runs; an exception from it terminates the run. Raises EngineFailed.
        """
        feeds = self.inputs(transformed(without_hole(picture, hole), symmetry), transformed(hole, symmetry))
        painted = run_session(self.session, self.label, feeds, on_wait)
        if painted.shape != (1, 3, self.side, self.side) or not np.isfinite(painted).all():
            raise EngineFailed(
                f"The model {self.label} returned {painted.shape} {painted.dtype}, or values that are not finite.",
                code="model_produced_invalid_output",
            )
        # Both return 0 to 255: LaMa as float32, which may exceed the range slightly, MI-GAN as uint8.
        colours = np.clip(np.rint(painted[0].astype(np.float32)), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(inverse_transformed(colours.transpose(1, 2, 0), symmetry))


def transformed(pixels: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """A square under one of its eight symmetries. Bits of `symmetry`: 1 flips columns, 2 flips rows, 4 transposes."""
    pixels = pixels[:, ::-1] if symmetry & 1 else pixels
    pixels = pixels[::-1] if symmetry & 2 else pixels
    return pixels.swapaxes(0, 1) if symmetry & 4 else pixels


def inverse_transformed(pixels: NDArray[Any], symmetry: int) -> NDArray[Any]:
    pixels = pixels.swapaxes(0, 1) if symmetry & 4 else pixels
    pixels = pixels[::-1] if symmetry & 2 else pixels
    return pixels[:, ::-1] if symmetry & 1 else pixels
