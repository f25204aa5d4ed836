"""Loads and runs upscalers whose architectures are declared here, from safetensors. Imports torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from inpainting import families
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import Cancelled
from inpainting.core.sentences import sentence
from inpainting.families.layouts import WeightsLayout
from inpainting.keepalive import run_in_thread
from inpainting.networks.device.choice import current_device
from inpainting.networks.device.hardware import Hardware
from inpainting.networks.device.memory import CPU
from inpainting.networks.load_lock import serialize
from inpainting.networks.unreadable_files import READ_ERRORS, unreadable
from inpainting.upscalers.base import OnWait, Tiling
from inpainting.upscalers.networks.network_upscaler import tiling_for

COLOURS = 3
STRIP_PIXELS = 2**18
"""Of the output, computed at once by the last layers: 64 features of it take 67 MB in float32."""
STRIP_MARGIN = 4
"""Rows of features around a strip that the last layers see: they are few convolutions, most of them of larger sides."""
TILE_SECONDS = 3600.0
"""A tile of a slow processor may take minutes; `on_wait` is called meanwhile."""
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


@dataclass(frozen=True, slots=True, eq=False)
class TorchNetwork:
    """A network on a device, and how images are cut for it."""

    module: nn.Module
    label: str
    tiling: Tiling

    def compute(self, image: NDArray[np.float32], on_wait: OnWait) -> NDArray[np.float32]:
        stop = threading.Event()

        def keepalive() -> None:
            try:
                on_wait()
            except BaseException:
                stop.set()
                raise

        token = _stop.set(stop)
        try:
            return run_in_thread(partial(self._run, image), keepalive, seconds=TILE_SECONDS)
        finally:
            _stop.reset(token)

    def _run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        device = next(self.module.parameters()).device
        with torch.inference_mode():
            output = self.module(torch.from_numpy(image).to(device)).to(CPU)
        return cast(NDArray[np.float32], output.numpy())


def check_stop() -> None:
    """Raise Cancelled where the image is no longer wanted: networks call it between their blocks."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise Cancelled


@dataclass(frozen=True, slots=True)
class TorchFamily:
    """A family whose networks are declared in this package: what its `implementation` names."""

    build: Callable[[Any], nn.Module]
    """Makes the module from the sizes of the family's layout."""
    rename: Callable[[Mapping[str, object]], Mapping[str, str]] | None = None
    """Returns the names of the file's tensors -> those of the module; others are left out."""

    @serialize
    def load(self, spec: ModelSpec, path: Path) -> TorchNetwork:
        """Return the network of a file, in float32, on the current device.

        Raises EngineFailed, `model_refused` or `model_unavailable`. Out-of-memory errors pass unchanged.
        """
        check_model(path, spec.family)
        layout = cast(WeightsLayout, families.get(spec.family).layout)
        try:
            tensors = load_file(path)
            sizes = layout.sizes({name: tuple(tensor.shape) for name, tensor in tensors.items()})
            names = self.rename(tensors) if self.rename else {name: name for name in tensors}
            with torch.device("meta"):
                module = self.build(sizes)
            module.load_state_dict({new: tensors[name].float() for name, new in names.items()}, assign=True)
        except READ_ERRORS as error:
            raise unreadable(
                sentence("The model {label}", label=spec.label), path, error, "model_unavailable"
            ) from error
        hardware = Hardware(torch.device(current_device()), torch.float32)
        with hardware.copying():
            module = module.eval().requires_grad_(False).to(hardware.device)
        return TorchNetwork(module, spec.label, tiling_for(layout, sizes))


def in_strips(last_layers: Callable[[Tensor], Tensor], features: Tensor, scale: int) -> Tensor:
    """Return what the last layers, which enlarge features [1, channels, h, w], make of them, some rows at a time.

    Their output is equal, and what they hold does not grow with the height.
    """
    height, width = features.shape[2:]
    rows = max(1, STRIP_PIXELS // (scale**2 * width))
    output = features.new_empty(1, COLOURS, scale * height, scale * width)
    for top in range(0, height, rows):
        check_stop()
        start = max(0, top - STRIP_MARGIN)
        strip = last_layers(features[:, :, start : top + rows + STRIP_MARGIN])
        output[:, :, scale * top : scale * (top + rows)] = strip[:, :, scale * (top - start) :][:, :, : scale * rows]
    return output


def leaky(features: Tensor) -> Tensor:
    """Apply the activation of ESRGAN's networks, in place."""
    return nn.functional.leaky_relu_(features, 0.2)
