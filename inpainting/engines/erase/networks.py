"""The networks themselves: what each family takes and gives, and the sessions that run them. Imports onnxruntime."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as said_by_onnxruntime

from inpainting.catalog import families
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import ModelSpec, how_to_get
from inpainting.core.errors import EngineFailed
from inpainting.engines.erase.network_inputs import Inputs, InputsOf

logger = logging.getLogger(__name__)

SIDE = 512
"""Pixels of the window where the graph takes any size: what both were published for."""
ALIVE_SECONDS = 0.5
"""How often whoever waits hears that the network still works."""
FAILURES = (
    *(said_by_onnxruntime.Fail, said_by_onnxruntime.InvalidArgument, said_by_onnxruntime.InvalidGraph),
    *(said_by_onnxruntime.InvalidProtobuf, said_by_onnxruntime.NoSuchFile, said_by_onnxruntime.NotImplemented),
    *(said_by_onnxruntime.RuntimeException, said_by_onnxruntime.EPFail, RuntimeError, ValueError),
)


class Networks:
    """The loaded ones, by file; a file that has changed is loaded anew."""

    def __init__(self) -> None:
        self._loaded: dict[Path, tuple[int, Network]] = {}
        self._loading = threading.Lock()

    def get(self, spec: ModelSpec) -> Network:
        """Raises EngineFailed (`model_unavailable`, `model_refused`) where it cannot be loaded."""
        if spec.path is None:
            raise EngineFailed(how_to_get(spec.slug, spec.label), code="model_unavailable")
        with self._loading:
            changed_at = spec.path.stat().st_mtime_ns if spec.path.exists() else 0
            known = self._loaded.get(spec.path)
            if known is None or known[0] != changed_at:
                known = changed_at, Network(spec, spec.path)
                self._loaded[spec.path] = known
        return known[1]


class Network:
    """One ONNX file. side: of the square it paints, in pixels."""

    def __init__(self, spec: ModelSpec, path: Path) -> None:
        check_model(path, spec.family)
        options = onnxruntime.SessionOptions()
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except FAILURES as error:
            logger.exception("%s cannot be loaded", spec.slug)
            reason = str(error).splitlines()[0][:200]
            raise EngineFailed(
                f"The model {spec.label} cannot be loaded: {reason}", code="model_unavailable"
            ) from error
        self.label = spec.label
        self.inputs: InputsOf = families.get(spec.family).load_implementation()
        wanted = next(taken for taken in self.session.get_inputs() if taken.name == "image").shape[-1]
        self.side = wanted if isinstance(wanted, int) else SIDE

    def paint(
        self, picture: NDArray[np.uint8], hole: NDArray[np.bool_], *, view: int, meanwhile: Callable[[], None]
    ) -> NDArray[np.uint8]:
        """RGB [side, side, 3] with the hole [side, side] closed; elsewhere it shows what the network makes of it.

        What lies in the hole is not shown to the network. view: 0 to 7, how it is turned for the network.
        meanwhile: called while it works; what it raises ends the work. Raises EngineFailed.
        """
        shown = turned(np.where(hole[:, :, None], np.uint8(0), picture), view)
        feeds = self.inputs(shown, turned(hole, view))
        painted = self._run(feeds, meanwhile)
        if painted.shape != (1, 3, self.side, self.side) or not np.isfinite(painted).all():
            raise EngineFailed(
                f"The model {self.label} gave {painted.shape} {painted.dtype}, or numbers that are none.",
                code="model_produced_invalid_output",
            )
        # Both give 0 to 255: LaMa as float32, which may go over a little, MI-GAN as uint8.
        colours = np.clip(np.rint(painted[0].astype(np.float32)), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(turned_back(colours.transpose(1, 2, 0), view))

    def _run(self, feeds: Inputs, meanwhile: Callable[[], None]) -> NDArray[Any]:
        options = onnxruntime.RunOptions()
        with ThreadPoolExecutor(1, thread_name_prefix="erase") as aside:
            running = aside.submit(self.session.run, None, feeds, options)
            try:
                while wait([running], timeout=ALIVE_SECONDS).not_done:
                    meanwhile()
            except BaseException:
                options.terminate = True
                raise
        try:
            return np.asarray(running.result()[0])
        except FAILURES as error:
            logger.exception("%s failed", self.label)
            raise EngineFailed(
                f"The model {self.label} failed ({type(error).__name__}); the server's log says why.",
                code="model_failed",
            ) from error


def turned(pixels: NDArray[Any], view: int) -> NDArray[Any]:
    """A square in one of its eight views: 1 mirrors it, 2 turns it upside down, 4 swaps its axes; they add up."""
    pixels = pixels[:, ::-1] if view & 1 else pixels
    pixels = pixels[::-1] if view & 2 else pixels
    return pixels.swapaxes(0, 1) if view & 4 else pixels


def turned_back(pixels: NDArray[Any], view: int) -> NDArray[Any]:
    """The inverse of `turned`."""
    pixels = pixels.swapaxes(0, 1) if view & 4 else pixels
    pixels = pixels[::-1] if view & 2 else pixels
    return pixels[:, ::-1] if view & 1 else pixels
