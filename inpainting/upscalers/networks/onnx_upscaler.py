"""Upscalers in ONNX: the graph is asked how many pixels it makes of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.upscalers.base import OnWait, Tiling
from inpainting.upscalers.networks.network_upscaler import tiling_of

PROBE_SIDE = 64
MULTIPLE = 16
"""Graphs that shuffle pixels or look through windows take no other sides."""
MAX_SCALE = 8
MAX_OUTPUT_SIDE = 1152
"""Pixels along the output of a tile with its margins: 64 features of it take 340 MB, and the graph may hold several."""
OUTPUT_MARGIN = 144
"""Pixels of the output around a tile that are dropped: fewer than of other networks, whose tiles are larger."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxNetwork:
    """A session, and how images are cut for it."""

    session: Any  # of onnxruntime
    label: str
    tiling: Tiling

    def compute(self, image: NDArray[np.float32], on_wait: OnWait) -> NDArray[np.float32]:
        from inpainting.networks.onnx_sessions import run_session

        return run_session(self.session, self.label, {self.session.get_inputs()[0].name: image}, on_wait)


class OnnxUpscaler:
    def load(self, spec: ModelSpec, path: Path) -> OnnxNetwork:
        """Return the network. Raises EngineFailed: `model_refused`, `model_unavailable`, also for one that does not
        make both sides of an image the same whole number of times larger."""
        from inpainting.networks.onnx_sessions import load_session

        session = load_session(spec, path)
        side = next((length for length in session.get_inputs()[0].shape[2:] if isinstance(length, int)), None)
        network = OnnxNetwork(session, spec.label, Tiling(1, side or PROBE_SIDE))
        probe = np.zeros((1, 3, network.tiling.side, network.tiling.side), np.float32)
        shape = network.compute(probe, lambda: None).shape
        scale = shape[-1] // network.tiling.side
        if shape != (1, 3, scale * probe.shape[2], scale * probe.shape[3]) or not 2 <= scale <= MAX_SCALE:
            raise EngineFailed(
                sentence(
                    "The model {label} makes {shape} of {shape_2}, so it does not enlarge images "
                    "2 to {max_scale} times.",
                    label=spec.label,
                    shape=shape,
                    shape_2=probe.shape,
                    max_scale=MAX_SCALE,
                ),
                code="model_refused",
            )
        if side is None:
            most = MAX_OUTPUT_SIDE // scale
            tiling = tiling_of(scale, max_side=most, multiple=MULTIPLE, padding="edge", output_margin=OUTPUT_MARGIN)
        else:
            margin = min(OUTPUT_MARGIN // scale, side // 4)
            tiling = Tiling(scale, side, margin=margin, fade=scale, is_fixed=True)
        return OnnxNetwork(session, spec.label, tiling)


ONNX_UPSCALER = OnnxUpscaler()
