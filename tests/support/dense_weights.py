"""The weights of a network as plain numbers, also of those layers whose weights stay in float8."""

from __future__ import annotations

from typing import Any

import torch

from inpainting.networks.device.float8 import Float8Linear


def dense_weights(network: Any) -> dict[str, torch.Tensor]:
    """The `state_dict` of a network, with the weights in float8 in the dtype that their layers compute in."""
    small = {name: layer for name, layer in network.named_modules() if isinstance(layer, Float8Linear)}
    return {
        **network.state_dict(),
        **{f"{name}.weight": layer.dense(layer.weight) for name, layer in small.items()},
    }
