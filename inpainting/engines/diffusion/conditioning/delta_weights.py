"""The difference that a LoRA of any kind makes to the output of one layer.

LoCon (a product, with a convolution between its two halves as a Tucker decomposition), LoHa and LoKr: S.-Y. Yeh et al.
(ICLR 2024, arXiv 2309.14859). DoRA: S.-Y. Liu et al. (ICML 2024, arXiv 2402.09353).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import Conv2d, GroupNorm, LayerNorm, Linear, Module, Parameter
from torch.nn.functional import conv2d, group_norm, layer_norm, linear

from inpainting.catalog.inspection.lora_layers import (
    ALPHA,
    DIFF,
    DIFF_BIAS,
    DORA_SCALE,
    DOWN,
    MAGNITUDE,
    MID,
    UP,
)
from inpainting.networks.device.float8 import Float8Linear
from inpainting.networks.device.quantization import dequantize

LAYER_TYPES = (Linear, Conv2d, GroupNorm, LayerNorm)
"""Layers that a LoRA may change."""
RANKS = (DOWN, "hada_w1_b", "lokr_w2_b", "lokr_w1_b")
"""Factors whose first side is the rank by which alpha is divided."""

LOW_RANK = frozenset({UP, DOWN, DIFF_BIAS})
OUTPUTS_FIRST = (UP, "hada_w1_a", "hada_w2_a", DIFF)
"""Factors whose first side are the layer's outputs, unless there is a Tucker decomposition."""
NORMS_AND_BIAS = (MAGNITUDE, DORA_SCALE, DIFF_BIAS)


@dataclass(eq=False, slots=True)
class LayerDelta:
    """The difference that a LoRA makes to one layer.

    A DoRA has norms, which are in float32. Those in LyCORIS' names belong to the LoRA at a weight of 1: another weight
    interpolates between the layer without it and with it. Those of PEFT belong to it at every weight.
    """

    factors: dict[str, torch.Tensor]
    """The tensors by the names of `catalog.inspection.lora_layers`."""
    shape: tuple[int, ...]
    """The shape of the layer's weight."""
    scale: float
    """alpha / rank."""
    out_scales: torch.Tensor | None = None
    """The ratio of a norm of LyCORIS to that of the changed weight, for each output."""
    in_scales: torch.Tensor | None = None
    """The same for each input."""
    out_norms: torch.Tensor | None = None
    """[4, outputs]: PEFT's norm; the squared norm of the layer's weight, its inner product with the difference, and the
    squared norm of the difference."""

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], layer: Module) -> LayerDelta:
        """The difference for a layer. Raises ValueError or RuntimeError where the shapes differ."""
        norms = {name: tensors[name] for name in (MAGNITUDE, DORA_SCALE) if name in tensors}
        dtype = layer.compute_dtype if isinstance(layer, Float8Linear) else layer.weight.dtype
        dtype = dtype if dtype.is_floating_point else torch.float32
        factors = {name: tensor.to(dtype) for name, tensor in tensors.items() if name != ALPHA and name not in norms}
        delta = cls(factors, weight_shape(layer), scale_of(tensors))
        # Tensors without data show whether the shapes fit, without a product as large as the layer.
        if delta.without_data().weight() is None and delta.bias is None:
            raise ValueError("It changes nothing.")
        if delta.bias is not None and (getattr(layer, "bias", None) is None or delta.bias.shape != layer.bias.shape):
            raise ValueError("The layer has another bias.")
        for name, norm in norms.items():
            exact = cls({key: factor.float() for key, factor in factors.items()}, delta.shape, delta.scale)
            delta._set_norm(layer, exact.weight(), norm.float(), is_of_peft=name == MAGNITUDE)
        return delta

    def _set_norm(self, layer: Module, change: torch.Tensor | None, norm: torch.Tensor, *, is_of_peft: bool) -> None:
        weight = data_of(layer, "weight")
        if change is None or weight.is_meta or weight.shape != self.shape:
            raise ValueError("The weights of the layer cannot be read.")
        change = change.to(weight.device)
        if is_of_peft:
            own, added = weight.float().flatten(1), change.flatten(1)
            products = (own * own).sum(1), (own * added).sum(1), (added * added).sum(1)
            self.out_norms = torch.stack([norm.to(weight.device).reshape(products[0].shape), *products])
            return
        merged = change.add_(weight)
        if norm.shape[0] == self.shape[0]:
            norms = merged.flatten(1).norm(dim=1)
            self.out_scales = norm.reshape(norms.shape) / norms
        else:  # the first versions of LyCORIS
            norms = merged.transpose(0, 1).flatten(1).norm(dim=1)
            self.in_scales = norm.reshape(norms.shape) / norms

    @property
    def byte_count(self) -> int:
        tensors = (*self.factors.values(), self.out_scales, self.in_scales, self.out_norms)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    @property
    def bias(self) -> torch.Tensor | None:
        return self.factors.get(DIFF_BIAS)

    def weight(self) -> torch.Tensor | None:
        """The difference of the weights, before the norms of a DoRA; None if it changes the bias alone."""
        if self.factors.keys() <= {DIFF_BIAS}:
            return None
        return (product(self.factors) * self.scale).reshape(self.shape)

    def without_data(self) -> LayerDelta:
        """The same with factors of the device `meta`, which have shapes only."""
        return LayerDelta({name: factor.to("meta") for name, factor in self.factors.items()}, self.shape, self.scale)

    def to(self, like: torch.Tensor) -> None:
        """Move the factors to the device and dtype of a tensor."""
        if next(iter(self.factors.values())).device == like.device and all(
            factor.dtype == like.dtype for factor in self.factors.values()
        ):
            return
        self.factors = {name: factor.to(like) for name, factor in self.factors.items()}
        self.out_scales = None if self.out_scales is None else self.out_scales.to(like.device)
        self.in_scales = None if self.in_scales is None else self.in_scales.to(like.device)
        self.out_norms = None if self.out_norms is None else self.out_norms.to(like.device)

    def change(self, layer: Module, inputs: torch.Tensor, output: torch.Tensor, strength: float) -> torch.Tensor:
        """The difference of a layer's output. strength: the weight of the LoRA."""
        self.to(inputs)
        if not self.has_norms and self.factors.keys() <= LOW_RANK:
            return low_rank(layer, inputs, self.factors, self.scale, strength)
        if self.out_norms is not None:
            return self.at(strength)._whole_change(layer, inputs, output)
        return strength * self._whole_change(layer, inputs, output)

    @property
    def has_norms(self) -> bool:
        return any(norms is not None for norms in (self.out_scales, self.in_scales, self.out_norms))

    def at(self, strength: float) -> LayerDelta:
        """A DoRA of PEFT with a weight, as a DoRA of LyCORIS with a weight of 1."""
        factors = self.factors if self.bias is None else {**self.factors, DIFF_BIAS: strength * self.bias}
        ratio = None if self.out_norms is None else out_ratio(self.out_norms, strength)
        return LayerDelta(factors, self.shape, strength * self.scale, out_scales=ratio)

    def _whole_change(self, layer: Module, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight(), self.bias
        if self.in_scales is not None:
            scaled = (inputs * along_channels(self.in_scales, layer)).to(inputs.dtype)
            return layer.forward(scaled) - output + apply_layer(layer, scaled, weight, bias)
        change = apply_layer(layer, inputs, weight, bias)
        if self.out_scales is None:
            return change
        ratio = along_channels(self.out_scales, layer)
        plain = output if layer.bias is None else output - along_channels(data_of(layer, "bias").to(output), layer)
        added = change if bias is None else change - along_channels(bias, layer)
        return change + (ratio - 1).to(output.dtype) * (plain + added)

    def dense(self, layer: Module, strength: float) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The differences of weight and bias, in float32, for fusing them into the layer."""
        weight = data_of(layer, "weight")
        self.to(weight)
        if self.out_norms is not None:
            return self.at(strength).dense(layer, 1.0)
        change = LayerDelta(
            {name: factor.float() for name, factor in self.factors.items()}, self.shape, self.scale
        ).weight()
        if self.out_scales is not None and change is not None:
            ratio = self.out_scales.reshape(-1, *[1] * (len(self.shape) - 1))
            change = ratio * (weight + change) - weight
        if self.in_scales is not None and change is not None:
            ratio = self.in_scales.reshape(1, -1, *[1] * (len(self.shape) - 2))
            change = ratio * (weight + change) - weight
        bias = None if self.bias is None else strength * self.bias
        return None if change is None else strength * change, bias


def out_ratio(norms: torch.Tensor, strength: float) -> torch.Tensor:
    """The ratio of PEFT's norm to that of a layer's weight with its difference, for each output. norms: `out_norms`."""
    norm, own, product, change = norms
    return norm / (own + 2 * strength * product + strength**2 * change).sqrt()


def set_norms_of_inputs(deltas: Sequence[tuple[Module, LayerDelta]], norm: torch.Tensor) -> None:
    """Let the first LyCORIS' norms of the inputs of one layer hold for several that give its outputs in turn.

    They belong to the changed weights of all of them. norm: one number for each input, in any shape. Raises ValueError
    or RuntimeError where there are not as many inputs.
    """
    squares: torch.Tensor | None = None
    for layer, delta in deltas:
        exact = LayerDelta({name: factor.float() for name, factor in delta.factors.items()}, delta.shape, delta.scale)
        weight, change = data_of(layer, "weight"), exact.weight()
        if change is None or weight.is_meta or weight.shape != delta.shape:
            raise ValueError("The weights of the layer cannot be read.")
        merged = change.to(weight.device) + weight
        own = merged.transpose(0, 1).flatten(1).square().sum(1)
        squares = own if squares is None else squares + own
    if squares is not None:
        scales = norm.float().to(squares.device).reshape(squares.shape) / squares.sqrt()
        for _, delta in deltas:
            delta.in_scales = scales


def scale_of(tensors: Mapping[str, torch.Tensor]) -> float:
    """alpha / rank; 1 without alpha, and where the factors have no rank."""
    rank = next((tensors[name].shape[0] for name in RANKS if name in tensors), None)
    return 1.0 if ALPHA not in tensors or rank is None else float(tensors[ALPHA]) / rank


def split_outputs(tensors: Mapping[str, torch.Tensor], counts: Sequence[int]) -> list[dict[str, torch.Tensor]]:
    """The tensors of one linear layer for several that give its outputs in turn, `counts` each.

    Raises ValueError or RuntimeError where there are not as many outputs.
    """
    by_output = [name for name in OUTPUTS_FIRST if name in tensors]
    if not by_output or any(name.startswith("hada_t") for name in tensors):
        tensors = {name: tensor for name, tensor in tensors.items() if name in NORMS_AND_BIAS} | {
            DIFF: product(tensors).flatten(1) * scale_of(tensors)
        }
        by_output = [DIFF]
    by_output += [name for name in NORMS_AND_BIAS if name in tensors]
    if any(tensors[name].shape[0] != sum(counts) for name in by_output):
        raise ValueError("The number of outputs differs.")
    parts = {name: tensors[name].split(list(counts)) for name in by_output}
    return [{**tensors, **{name: parts[name][number] for name in by_output}} for number in range(len(counts))]


def product(factors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The difference of the weights that the factors of a layer make, not scaled, in any shape."""
    if DIFF in factors:
        return factors[DIFF]
    if UP in factors:
        up, down = factors[UP].flatten(1), factors[DOWN]
        if MID in factors:
            return tucker(factors[MID], up.T, down.flatten(1))
        return up @ down.flatten(1)
    if "hada_w1_a" in factors:
        return compute_factor(factors, "hada_w1", "hada_t1") * compute_factor(factors, "hada_w2", "hada_t2")
    first, second = compute_factor(factors, "lokr_w1", ""), compute_factor(factors, "lokr_w2", "lokr_t2")
    return torch.kron(first.reshape(*first.shape, *[1] * (second.ndim - 2)), second.contiguous())


def low_rank(
    layer: Module, inputs: torch.Tensor, factors: Mapping[str, torch.Tensor], scale: float, strength: float
) -> torch.Tensor:
    """The difference that a plain LoRA makes: two small products in place of one as large as the layer's."""
    up, down, bias = factors[UP], factors[DOWN], factors.get(DIFF_BIAS)
    if bias is not None:
        bias = strength * bias
    if isinstance(layer, Conv2d) and layer.groups == 1 and down.ndim == 4:
        between = conv2d(inputs, down, None, layer.stride, layer.padding, layer.dilation)
        return conv2d(scale * strength * between, up.reshape(*up.shape[:2], 1, 1), bias)
    if isinstance(layer, Linear):
        return linear(scale * strength * linear(inputs, matrix(down)), matrix(up), bias)
    change = (product(factors) * scale * strength).reshape(weight_shape(layer))
    return apply_layer(layer, inputs, change, bias)


def matrix(factor: torch.Tensor) -> torch.Tensor:
    """A factor without the sides of a kernel of one pixel, which some trainers add."""
    return factor if factor.ndim == 2 else factor.flatten(1)


def compute_factor(factors: Mapping[str, torch.Tensor], stem: str, core: str) -> torch.Tensor:
    """One half of a LoHa or LoKr: whole, a product of matrices, or a Tucker decomposition."""
    if stem in factors:
        return factors[stem]
    first, second = factors[f"{stem}_a"], factors[f"{stem}_b"]
    return tucker(factors[core], first, second) if core in factors else first @ second


def tucker(core: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """[r, s, h, w], [r, out], [s, in] -> [out, in, h, w]."""
    return torch.einsum("rshw,ro,si->oihw", core, first, second)


def weight_shape(layer: Module) -> tuple[int, ...]:
    """The shape of a layer's weight, also where the weight itself is quantised."""
    return (layer.out_features, layer.in_features) if isinstance(layer, Linear) else tuple(layer.weight.shape)


def own_parameter(layer: Module, name: str) -> Parameter:
    """A parameter of a layer without the LoRAs that are fused into it now (`fused_weights`). On any thread."""
    parameter: Parameter = getattr(layer, name)
    own: Parameter = getattr(parameter, "unfused", parameter)
    return own


def data_of(layer: Module, name: str) -> torch.Tensor:
    """The numbers of an `own_parameter`, also where it waits in the machine's memory behind a hook of accelerate."""
    parameter: torch.Tensor = own_parameter(layer, name)
    waiting = getattr(getattr(layer, "_hf_hook", None), "weights_map", None)
    if parameter.is_meta and waiting is not None:
        parameter = torch.as_tensor(waiting[name])
    if isinstance(layer, Float8Linear) and name == "weight":
        return layer.dense(parameter).detach()
    return dequantize(parameter).detach()


def along_channels(values: torch.Tensor, layer: Module) -> torch.Tensor:
    """One value for each channel of a layer's inputs or outputs, in a shape that multiplies them."""
    return values.reshape(-1, 1, 1) if isinstance(layer, Conv2d) else values


def apply_layer(
    layer: Module, inputs: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor:
    """A layer's output with another weight and bias, None for zeros. Every such layer is linear in the two."""
    if weight is None:
        weight = inputs.new_zeros(weight_shape(layer))
    match layer:
        case Linear():
            return linear(inputs, weight, bias)
        case Conv2d():
            return conv2d(inputs, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        case GroupNorm():
            return group_norm(inputs, layer.num_groups, weight, bias, layer.eps)
        case LayerNorm():
            return layer_norm(inputs, layer.normalized_shape, weight, bias, layer.eps)
    raise TypeError(f"No LoRA changes a {type(layer).__name__}.")
