"""A step of a batch computed in parts: fewer rows in memory at a time, the same prediction."""

from __future__ import annotations

from typing import Any

import torch

from inpainting.engines.diffusion.backends.torch import Backend


def predict_in_parts(
    backend: Backend, unet: Any, sample: torch.Tensor, timesteps: torch.Tensor, size: int, **arguments: Any
) -> torch.Tensor:
    """See `Backend.predict`. size: rows of a call at most."""
    count = len(sample)
    parts = [slice(start, start + size) for start in range(0, count, size)]
    return torch.cat(
        [backend.predict(unet, sample[part], timesteps[part], **rows_of(arguments, part, count)) for part in parts]
    )


def rows_of(value: Any, part: slice, count: int) -> Any:
    """Some rows of all tensors with `count` rows in a value, and in the lists and dictionaries that it holds."""
    if isinstance(value, torch.Tensor):
        return value[part] if value.ndim and len(value) == count else value
    if isinstance(value, dict):
        return {name: rows_of(tensor, part, count) for name, tensor in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(rows_of(element, part, count) for element in value)
    return value
