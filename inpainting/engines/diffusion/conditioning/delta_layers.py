"""LoRAs that diffusers does not load: LoHa, LoKr, DoRA, LoCon with a middle, and full differences of weights.

They are never merged: while they are active, what they change is added to the output of each layer. So without them the
model computes, bit for bit, what it computed before, whatever its dtype and wherever its weights wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from inpainting.catalog.inspection.files import quoted
from inpainting.catalog.inspection.lora_layers import split_name
from inpainting.engines.diffusion.conditioning.delta_weights import LayerDelta
from inpainting.engines.diffusion.conditioning.lora_layer_names import layers_by_name

Deltas = list[tuple[torch.nn.Module, LayerDelta]]
"""What one LoRA changes: each layer with its difference."""


class LayerUnfit(ValueError):
    """A LoRA changes a layer that the model does not have, or not in this shape. The message is for people."""


@dataclass(frozen=True, slots=True)
class ActiveDeltas:
    """A forward hook of one layer: adds what its LoRAs change, each times its weight."""

    changes: Sequence[tuple[LayerDelta, float]]

    def __call__(self, layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        total = output
        for delta, weight in self.changes:
            total = total + weight * delta.change(layer, inputs[0], output)
        return total


class DeltaLoras:
    """The LoRAs of one loaded model that are applied by hooks, by name."""

    def __init__(self) -> None:
        self._loaded: dict[str, Deltas] = {}
        self._handles: list[Any] = []

    def __contains__(self, name: str) -> bool:
        return name in self._loaded

    @property
    def byte_count(self) -> int:
        return sum(delta.byte_count for deltas in self._loaded.values() for _, delta in deltas)

    def load(self, name: str, tensors: Mapping[str, torch.Tensor], components: Mapping[str, Any]) -> int:
        """Load the tensors of a LoRA. Returns its bytes. Raises LayerUnfit."""
        self._loaded[name] = deltas_of(tensors, components)
        return sum(delta.byte_count for _, delta in self._loaded[name])

    def unload(self, name: str) -> None:
        if self._loaded.pop(name, None) is not None:
            self.activate({})

    def activate(self, weights: Mapping[str, float]) -> None:
        """Apply these LoRAs, each with its weight, and no others."""
        while self._handles:
            self._handles.pop().remove()
        for layer, changes in self._by_layer(weights).items():
            self._handles.append(layer.register_forward_hook(ActiveDeltas(changes)))

    def fuse(self, weights: Mapping[str, float]) -> None:
        """Add the differences to the weights of the layers for good, for a conversion of the model."""
        with torch.no_grad():
            for layer, changes in self._by_layer(weights).items():
                dense = [(*delta.dense(layer), weight) for delta, weight in changes]
                for weight_change, bias_change, weight in dense:
                    if weight_change is not None:
                        layer.weight += weight * weight_change
                    if bias_change is not None:
                        layer.bias += weight * bias_change

    def _by_layer(self, weights: Mapping[str, float]) -> dict[torch.nn.Module, list[tuple[LayerDelta, float]]]:
        layers: dict[torch.nn.Module, list[tuple[LayerDelta, float]]] = {}
        for name, weight in weights.items():
            for layer, delta in self._loaded.get(name, ()):
                layers.setdefault(layer, []).append((delta, weight))
        return layers


def deltas_of(tensors: Mapping[str, torch.Tensor], components: Mapping[str, Any]) -> Deltas:
    """The differences in a checked file's tensors. Raises LayerUnfit for one that does not fit the model."""
    by_name = layers_by_name(components)
    grouped: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        layer_name, factor = split_name(name) or (name, "")
        grouped.setdefault(layer_name, {})[factor] = tensor
    deltas: Deltas = []
    for layer_name, factors in grouped.items():
        if layer_name not in by_name:
            raise LayerUnfit(f"it changes a layer {quoted(layer_name)}, which the model does not have.")
        component_name, layer = by_name[layer_name]
        try:
            delta = LayerDelta.of(factors, layer, components[component_name].dtype)
        except (ValueError, RuntimeError) as error:
            raise LayerUnfit(f"the layer {quoted(layer_name)} has another shape there.") from error
        deltas.append((layer, delta))
    return deltas
