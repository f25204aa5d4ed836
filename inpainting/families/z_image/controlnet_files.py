"""The configuration of a ControlNet of Z-Image-Fun in one file, whose tensors have the names of diffusers.

Publisher: github.com/aigc-apps/VideoX-Fun, whose `config/z_image/z_image_control*.yaml` give the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.core.sentences import sentence

EMBEDDER = "control_all_x_embedder.2-1.weight"
HEAD = "control_layers.0.attention.norm_q.weight"
REFINER = "control_noise_refiner.0.before_proj.weight"
"""The tensor that a refiner which is conditioned on the control image begins with: in version 2.0 there is none, or
it is 0 and was not trained."""
PATCH = 4
"""Latent pixels of a token."""
WIDTH, LAYERS, REFINERS = 3840, 30, 2
"""Width, layers and refiner layers of Z-Image's transformer. Those of a ControlNet act on every second, fifth or tenth
layer."""
CHANNELS = (16, 33)
"""Of the control image's latents alone (version 1), and with the mask and the masked image's latents (2.0 and 2.1)."""


def configuration(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration, as `ControlNetSupport.configuration` describes."""
    layers, refiners = count(header, "control_layers"), count(header, "control_noise_refiner") or REFINERS
    width, tokens = shape(path, header, EMBEDDER, 2)
    (head,) = shape(path, header, HEAD, 1)
    channels = tokens // PATCH
    if width != WIDTH or channels not in CHANNELS or not layers or LAYERS % layers or not head:
        raise ModelRefused(
            sentence("{file} is no ControlNet of a published shape for {label}.", file=path.name, label="Z-Image")
        )
    refiner = None
    if channels == CHANNELS[1]:
        refiner = "control_noise_refiner" if is_trained(path, header, REFINER) else "control_layers"
    return {
        "_class_name": "ZImageControlNetModel",
        "control_layers_places": [*range(0, LAYERS, LAYERS // layers)],
        "control_refiner_layers_places": None if refiner is None else [*range(refiners)],
        "control_in_dim": channels,
        "add_control_noise_refiner": refiner,
        "dim": width,
        "n_refiner_layers": refiners,
        "n_heads": width // head,
        "n_kv_heads": width // head,
    }


def count(header: Mapping[str, Any], part: str) -> int:
    """Return the number of layers of a part."""
    return len({found[1] for name in header if (found := re.match(rf"{part}\.(\d+)\.", name))})


def shape(path: Path, header: Mapping[str, Any], name: str, dimensions: int) -> list[int]:
    found: list[int] = header.get(name, {"shape": []})["shape"]
    if len(found) != dimensions:
        raise ModelRefused(
            sentence("{file} is no ControlNet of a published shape for {label}.", file=path.name, label="Z-Image")
        )
    return found


def is_trained(path: Path, header: Mapping[str, Any], name: str) -> bool:
    """Return whether a tensor is there and not 0 everywhere. Reads its numbers."""
    if name not in header:
        return False
    _, *numbers = TensorSlice(path, {name: name}, header).chunks()
    return any(any(chunk) for chunk in numbers)
