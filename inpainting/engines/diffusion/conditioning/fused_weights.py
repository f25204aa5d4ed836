"""Weights with LoRAs fused into them, in place of a network's own weights for some steps.

The own parameters are kept unchanged beside the fused ones. So taking them back needs no computation and is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import Module, Parameter

from inpainting.engines.diffusion.conditioning.delta_weights import LayerDelta, own_parameter, weight_shape

ChangesByLayer = Mapping[Module, Sequence[tuple[LayerDelta, float]]]
"""Layers, each with the differences of LoRAs, each times its weight."""


class FusedParameter(NamedTuple):
    """A parameter of a layer: its own value and the one with LoRAs fused into it."""

    layer: Module
    name: str
    own: Parameter
    fused: Parameter


@dataclass(frozen=True, slots=True, eq=False)
class FusedWeights:
    """The layers of a network that a set of LoRAs changes. weights: of the LoRAs, by name."""

    weights: Mapping[str, float]
    parameters: Sequence[FusedParameter]

    @property
    def layers(self) -> Collection[Module]:
        return {parameter.layer for parameter in self.parameters}

    @property
    def byte_count(self) -> int:
        return sum(parameter.fused.nbytes for parameter in self.parameters)

    def insert(self) -> None:
        """Let the layers compute with the fused parameters."""
        for parameter in self.parameters:
            setattr(parameter.layer, parameter.name, parameter.fused)

    def remove(self) -> None:
        """Let the layers compute with their own parameters, as before `insert`."""
        for parameter in self.parameters:
            setattr(parameter.layer, parameter.name, parameter.own)


@torch.no_grad()
def fused_weights(weights: Mapping[str, float], by_layer: ChangesByLayer) -> FusedWeights:
    """Compute the weights with LoRAs fused into them, in float32; the layers stay unchanged."""
    parameters = []
    for layer, changes in by_layer.items():
        sums: dict[str, torch.Tensor] = {}
        for delta, weight in changes:
            for name, change in zip(("weight", "bias"), delta.dense(layer, weight), strict=True):
                if change is not None:
                    total = sums.get(name)
                    sums[name] = own_parameter(layer, name).float() if total is None else total
                    sums[name] = sums[name].add(change)
        for name, total in sums.items():
            own = own_parameter(layer, name)
            # Compiled blocks are compiled again for a parameter that differs in more than its numbers.
            fused = Parameter(total.to(own.dtype), requires_grad=own.requires_grad)
            fused.unfused = own  # for `own_parameter`
            parameters.append(FusedParameter(layer, name, own, fused))
    return FusedWeights(dict(weights), parameters)


def fused_byte_count(by_layer: ChangesByLayer) -> int:
    """Bytes that `fused_weights` takes, without biases; 0 where a layer is quantised or its weights are not there."""
    layers = [(layer, own_parameter(layer, "weight")) for layer in by_layer]
    if not all(
        type(own) is Parameter and own.is_floating_point() and own.shape == weight_shape(layer) for layer, own in layers
    ):
        return 0
    return 0 if any(own.is_meta for _, own in layers) else sum(own.nbytes for _, own in layers)
