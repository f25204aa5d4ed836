"""Linear layers whose weights stay in the 8 bits of their file (float8), and become numbers of 16 bits in each call."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import Linear, Module, Parameter
from torch.nn.functional import linear

FLOAT8_TYPES = (torch.float8_e4m3fn, torch.float8_e5m2)


class Float8Linear(Linear):  # type: ignore[misc]  # torch declares no type
    """A linear layer that computes, bit for bit, as the one of 16 or 32 bits that it was made from.

    diffusers' layerwise casting has no scales, and changes the parameters of a layer while it computes.
    """

    def __init__(self, layer: Linear, numbers: torch.Tensor, scale: torch.Tensor | None) -> None:
        """numbers: [outputs, inputs], of a float8 type. scale: float32, [outputs, 1] or [1, 1], None for 1."""
        Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.number_type, self.compute_dtype = numbers.dtype, layer.weight.dtype
        # Of integers: the dtype of a network is that of its first floating-point parameter. Of this kind: the T5 of
        # transformers converts what it computes to the dtype of its weights, unless that is int8.
        self.weight = Parameter(numbers.view(torch.int8), requires_grad=False)
        self.bias = layer.bias
        self.register_buffer("scale", scale, persistent=False)

    def dense(self, weight: torch.Tensor) -> torch.Tensor:
        """The numbers of a weight of this layer in the dtype that it computes in."""
        numbers, scale = weight.view(self.number_type), self.scale
        if not isinstance(scale, torch.Tensor):
            return numbers.to(self.compute_dtype)
        return (numbers.float() * scale.to(weight.device)).to(self.compute_dtype)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return linear(inputs, self.dense(self.weight), self.bias)


@torch.no_grad()
def keep_float8(network: Module, scales: Mapping[str, torch.Tensor]) -> None:
    """Replace those linear layers of a network whose weights are float8 numbers times a scale, without any change.

    scales: [outputs, 1], float32, of weights by their names in the network; NaN for rows that are not float8 numbers.
    """
    for name, layer in list(network.named_modules()):
        scale = scales.get(f"{name}.weight")
        if type(layer) is not Linear or scale is None or scale.shape != (layer.out_features, 1):
            continue
        if (small := _in_float8(layer, scale.to(layer.weight.device))) is not None:
            network.set_submodule(name, small)


def _in_float8(layer: Linear, scale: torch.Tensor) -> Float8Linear | None:
    """The layer in float8; None if that would change its weights."""
    if scale.isnan().any():
        return None
    shared = scale[:1] if (scale == scale[0]).all() else scale
    for number_type in FLOAT8_TYPES:
        # The weights were rounded to at least 8 significant bits, so their quotients round to the numbers of the file.
        numbers = (layer.weight.float() / shared).to(number_type)
        small = Float8Linear(layer, numbers, None if bool((shared == 1).all()) else shared.clone())
        if torch.equal(small.dense(small.weight), layer.weight):
            return small.train(layer.training)
    return None


def holds_float8(network: Module) -> bool:
    return any(isinstance(layer, Float8Linear) for layer in network.modules())
