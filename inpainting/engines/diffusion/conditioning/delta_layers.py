"""LoRAs as hooks of the layers that they change: plain ones, LoHa, LoKr, DoRA, LoCon, full differences of weights.

While they are active, what they change is added to the output of each layer, unless they are fused (`fused_weights`).
So without them the model computes, bit for bit, what it computed before, whatever its dtype and wherever its weights
wait.

Hooks are the one way for all kinds and places. PEFT has no layers for full differences, norms and biases, for a LoCon
with a middle, or for the DoRA of LyCORIS. Fused weights are impossible where a network is quantised (GGUF files too) or
offloaded by layers; text encoders and sets of LoRAs that take turns in one model are not fused either. A step of SDXL's
network with a plain LoRA takes 6,357 operations with hooks, 5,717 with layers of PEFT, and fused 2,217, as without it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad

from inpainting.catalog.inspection.files import quote
from inpainting.catalog.inspection.lora_layers import ALPHA, DORA_SCALE, DOWN, INPUT_LAYER, split_name
from inpainting.engines.diffusion.conditioning.delta_weights import (
    LayerDelta,
    set_norms_of_inputs,
    split_outputs,
    weight_shape,
)
from inpainting.engines.diffusion.conditioning.fused_weights import FusedWeights, fused_weights
from inpainting.engines.diffusion.conditioning.lora_layer_names import NamedLayer

Deltas = list[tuple[torch.nn.Module, LayerDelta]]
"""The layers that one LoRA changes, each with its difference."""
DEFAULT_ALPHA = 8
"""The alpha of a configuration of PEFT that names none."""


class LayerUnfit(ValueError):
    """A LoRA changes a layer that has another shape. The message is for people."""


@dataclass(frozen=True, slots=True)
class ActiveDeltas:
    """A forward hook of one layer: adds what its LoRAs change, each times its weight."""

    changes: Sequence[tuple[LayerDelta, float]]

    def __call__(self, layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        total = output
        for delta, weight in self.changes:
            total = total + delta.change(layer, inputs[0], output, weight)
        return total


class DeltaLoras:
    """The LoRAs of one loaded model that are applied by hooks, by name."""

    def __init__(self) -> None:
        self._loaded: dict[str, Deltas] = {}
        self._handles: list[Any] = []
        self.fused: FusedWeights | None = None
        """Those of one set of LoRAs, whether it is active or not."""

    def load(self, name: str, deltas: Deltas) -> int:
        """Add a LoRA. Returns its bytes."""
        self._loaded[name] = deltas
        return sum(delta.byte_count for _, delta in deltas)

    def unload(self, name: str) -> None:
        if self._loaded.pop(name, None) is not None:
            self.activate({})
            if self.fused is not None and name in self.fused.weights:
                self.fused = None

    def activate(self, weights: Mapping[str, float]) -> None:
        """Apply these LoRAs, each with its weight, and no others."""
        while self._handles:
            self._handles.pop().remove()
        fused_layers: Collection[torch.nn.Module] = ()
        if self.fused is not None and self.fused.weights == weights:
            self.fused.insert()
            fused_layers = self.fused.layers
        elif self.fused is not None:
            self.fused.remove()
        for layer, changes in self.by_layer(weights).items():
            if layer not in fused_layers:
                self._handles.append(layer.register_forward_hook(ActiveDeltas(changes)))

    def fuse(self, weights: Mapping[str, float], network: torch.nn.Module) -> None:
        """Fuse these LoRAs into the layers of a network, for whenever they are active, and deactivate all.

        Those of another set are dropped.
        """
        self.unfuse()
        self.fused = fused_weights(weights, self.by_layer(weights, network))

    def unfuse(self) -> None:
        """Drop the fused weights. Deactivates all."""
        self.activate({})
        self.fused = None

    def fuse_for_good(self, weights: Mapping[str, float]) -> None:
        """Add the differences to the weights of the layers, for a conversion of the model."""
        for layer, changes in self.by_layer(weights).items():
            for parameter in fused_weights(weights, {layer: changes}).parameters:
                parameter.own.data = parameter.fused.data

    def by_layer(
        self, weights: Mapping[str, float], network: torch.nn.Module | None = None
    ) -> dict[torch.nn.Module, list[tuple[LayerDelta, float]]]:
        """What these LoRAs change: in all components, or in a network alone."""
        layers: dict[torch.nn.Module, list[tuple[LayerDelta, float]]] = {}
        for name, weight in weights.items():
            for layer, delta in self._loaded.get(name, ()):
                layers.setdefault(layer, []).append((delta, weight))
        if network is None:
            return layers
        return {layer: layers[layer] for layer in network.modules() if layer in layers}


def deltas_of(
    tensors: Mapping[str, torch.Tensor],
    by_name: Mapping[str, Sequence[NamedLayer]],
    configuration: Mapping[str, Any],
) -> Deltas:
    """The differences in a checked file's tensors, without those of layers that are not there.

    configuration: of PEFT, as diffusers saves it; empty in most files. Raises LayerUnfit for one that does not fit its
    layer.
    """
    grouped: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        layer_name, factor = split_name(name) or (name, "")
        grouped.setdefault(layer_name, {})[factor] = tensor
    deltas: Deltas = []
    for layer_name, factors in grouped.items():
        layers = by_name.get(layer_name, ())
        if layers and DOWN in factors:
            factors = {**configured_alpha(configuration, layers[0], factors[DOWN].shape[0]), **factors}
        try:
            norm = factors.pop(DORA_SCALE) if has_norms_of_inputs(factors, layers) else None
            shares = share_out(factors, layers)
            found = [
                (layer.layer, LayerDelta.of(share, layer.layer)) for layer, share in zip(layers, shares, strict=True)
            ]
            if norm is not None:
                set_norms_of_inputs(found, norm)
            deltas += found
        except (ValueError, RuntimeError) as error:
            raise LayerUnfit(f"the layer {quote(layer_name)} has another shape there.") from error
    return deltas


def configured_alpha(configuration: Mapping[str, Any], layer: NamedLayer, rank: int) -> dict[str, torch.Tensor]:
    """The alpha that a configuration of PEFT gives a layer, among its tensors; none without a configuration.

    It divides alpha by the rank, or by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732).
    """
    prefix = f"{layer.component}."
    values = {key.removeprefix(prefix): value for key, value in configuration.items() if key.startswith(prefix)}
    if not values:
        return {}
    alpha = values.get("lora_alpha", DEFAULT_ALPHA)
    for pattern, value in (values.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", layer.path):
            alpha = value
            break
    return {ALPHA: torch.tensor(float(alpha) * (math.sqrt(rank) if values.get("use_rslora") else 1.0))}


def share_out(tensors: dict[str, torch.Tensor], layers: Sequence[NamedLayer]) -> list[dict[str, torch.Tensor]]:
    """The tensors for each of the layers that share them."""
    if len(layers) == 1:
        (layer,) = layers
        return [pad_to_channels(tensors, layer.layer) if layer.path == INPUT_LAYER else tensors]
    return split_outputs(tensors, [weight_shape(layer.layer)[0] for layer in layers]) if layers else []


def has_norms_of_inputs(tensors: Mapping[str, torch.Tensor], layers: Sequence[NamedLayer]) -> bool:
    """Whether the norms of a DoRA belong to the inputs of several layers that share them."""
    outputs = sum(weight_shape(layer.layer)[0] for layer in layers)
    return len(layers) > 1 and DORA_SCALE in tensors and tensors[DORA_SCALE].shape[0] != outputs


def pad_to_channels(tensors: dict[str, torch.Tensor], layer: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Tensors for the first layer of a transformer that takes more channels than the one they were trained in, as a
    model for filling does; they change nothing of the further ones, as in diffusers."""
    if DOWN not in tensors:
        return tensors
    missing = weight_shape(layer)[1] - tensors[DOWN].shape[1]
    return tensors if missing <= 0 else {**tensors, DOWN: pad(tensors[DOWN], (0, missing))}
