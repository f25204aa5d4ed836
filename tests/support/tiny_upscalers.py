"""Small upscalers with random weights, and the same networks computed with NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from inpainting.families.dat import ATTENTION, DATSizes, dat_shapes
from inpainting.families.hat import HATSizes, hat_shapes
from inpainting.families.rrdbnet import RRDBNetSizes, rrdbnet_shapes
from inpainting.families.srvgg import SRVGGSizes, srvgg_shapes
from inpainting.families.super_resolution import Reconstruction, Upsampler
from inpainting.families.swinir import SwinIRSizes, swinir_shapes

T = TypeVar("T")
Array = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]
X2 = RRDBNetSizes(features=8, growth=4, blocks=2, doublings=2, unshuffle=2)
X4 = RRDBNetSizes(features=8, growth=4, blocks=2, doublings=2, unshuffle=1)
PUBLISHED = RRDBNetSizes(features=64, growth=32, blocks=23, doublings=2, unshuffle=1)
"""Of ESRGAN, 4x-UltraSharp and most others that enlarge four times."""
COMPACT = SRVGGSizes(features=8, layers=3, scale=4)

SHUFFLED = Reconstruction(16, Upsampler.PIXELSHUFFLE, 64, 2, 1)
DIRECT = Reconstruction(16, Upsampler.DIRECT, 16, 3, 1)
REPEATED = Reconstruction(16, Upsampler.NEAREST, 64, 4, 3)
"""The network of SwinIR that its name stands for has 64 features after the blocks, those here have as many."""
TRANSFORMERS: dict[str, tuple[str, Any]] = {
    "swinir pixelshuffle": ("swinir", SwinIRSizes(SHUFFLED, 4, (2, 3), (2, 4), 32)),
    "swinir pixelshuffledirect": ("swinir", SwinIRSizes(DIRECT, 4, (2,), (2,), 24)),
    "swinir nearest+conv": ("swinir", SwinIRSizes(REPEATED, 3, (2,), (4,), 32)),
    "hat": ("hat", HATSizes(SHUFFLED, 4, 6, (2, 1), (2, 4), 32, 5, 3)),
    "hat x4": ("hat", HATSizes(replace(SHUFFLED, scale=4), 4, 4, (2,), (2,), 24, 8, 2)),
    "dat": ("dat", DATSizes(replace(SHUFFLED, features=128), (2, 4), (3, 2), (4, 2), 32, 4, (16, 8))),
    "dat standing": ("dat", DATSizes(replace(SHUFFLED, features=128), (2, 4), (3,), (4,), 32, 4, (16, 8))),
    "dat light": (
        "dat",
        DATSizes(Reconstruction(128, Upsampler.DIRECT, 128, 4, 3), (4, 4), (4,), (2,), 48, 4, (16, 8)),
    ),
}
"""Variant -> its family and its sizes. The windows of the first half of the channels stand in one of DAT's."""
SHAPES: dict[str, Callable[[Any], dict[str, tuple[int, ...]]]] = {
    "swinir": swinir_shapes,
    "hat": hat_shapes,
    "dat": dat_shapes,
}


def rrdbnet(sizes: RRDBNetSizes = X2, seed: int = 0) -> Weights:
    return random_weights(rrdbnet_shapes(sizes), seed)


def srvgg(sizes: SRVGGSizes = COMPACT, seed: int = 0) -> Weights:
    return random_weights(srvgg_shapes(sizes), seed)


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Weights:
    """Weights of a spread that keeps the values of about the same size from layer to layer."""
    rng = np.random.default_rng(seed)
    spread = {name: 1 / np.sqrt(np.prod(shape[1:])) if len(shape) == 4 else 0.1 for name, shape in shapes.items()}
    return {name: (spread[name] * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def transformer(variant: str, seed: int = 0) -> dict[str, NDArray[Any]]:
    """The tensors that a network needs, of a spread that lets each of them matter."""
    family, sizes = TRANSFORMERS[variant]
    rng, weights = np.random.default_rng(seed), dict[str, NDArray[Any]]()
    for name, shape in SHAPES[family](sizes).items():
        values = rng.standard_normal(shape)
        if name.endswith("running_var"):
            values = 1 + values**2
        elif name.endswith("rpe_biases"):
            height, width = sizes.window[:: -1 if name.endswith("1.rpe_biases") != ("standing" in variant) else 1]
            values = np.array(list(product(range(1 - height, height), range(1 - width, width))))
        elif len(shape) > 1 and not name.endswith("table"):
            values /= np.sqrt(np.prod(shape[1:])) / (3 if ".pos." in name else 1)
        elif name.endswith("weight"):
            values = 1 + 0.2 * values
        weights[name] = values.astype(np.float32)
    if family == "dat":
        weights[f"{ATTENTION}.attns.0.relative_position_index"] = np.zeros(2 * (np.prod(sizes.window),), np.int64)
    return weights


def computed_tensors(variant: str) -> dict[str, NDArray[Any]]:
    """What the published files hold beside the weights, of a network that was trained on images of 8 or 6 pixels."""
    family, sizes = TRANSFORMERS[variant]
    tensors: dict[str, NDArray[Any]] = {}
    if family == "hat":
        pixels, seen = sizes.window**2, sizes.seen**2
        tensors["relative_position_index_SA"] = np.zeros((pixels, pixels), np.int64)
        tensors["relative_position_index_OCA"] = np.zeros((pixels, seen), np.int64)
    for group, block in ((group, block) for group, blocks in enumerate(sizes.blocks) for block in range(blocks)):
        if family == "swinir":
            name, pixels = f"layers.{group}.residual_group.blocks.{block}", sizes.window**2
            tensors[f"{name}.attn.relative_position_index"] = np.zeros((pixels, pixels), np.int64)
            if block % 2:
                tensors[f"{name}.attn_mask"] = np.zeros((4, pixels, pixels), np.float32)
        if family == "dat":
            name, pixels = f"layers.{group}.blocks.{block}.attn", np.prod(sizes.window)
            for norm in ("dwconv.1", "channel_interaction.2", "spatial_interaction.1"):
                tensors[f"{name}.{norm}.num_batches_tracked"] = np.zeros((), np.int64)
            for branch in range(0 if block % 2 else 2):
                tensors[f"{name}.attns.{branch}.relative_position_index"] = np.zeros((pixels, pixels), np.int64)
                if (block // 2 + group) % 2:
                    tensors[f"{name}.attn_mask_{branch}"] = np.zeros((64 // pixels, pixels, pixels), np.float32)
    return tensors


def with_names_of_esrgan(weights: Mapping[str, T], sizes: RRDBNetSizes) -> dict[str, T]:
    """The tensors, or their shapes, by the names of the first version of ESRGAN, whose last layers are numbered."""
    after = {"conv_first": "model.0", "conv_body": f"model.1.sub.{sizes.blocks}"}
    after |= {f"conv_up{number}": f"model.{3 * number}" for number in range(1, sizes.doublings + 1)}
    after |= {"conv_hr": f"model.{3 * sizes.doublings + 2}", "conv_last": f"model.{3 * sizes.doublings + 4}"}
    renamed = {}
    for name, tensor in weights.items():
        layer, _, kind = name.rpartition(".")
        if layer.startswith("body."):
            _, block, dense, convolution = layer.split(".")
            layer = f"model.1.sub.{block}.{dense.upper()}.{convolution}.0"
        renamed[f"{after.get(layer, layer)}.{kind}"] = tensor
    return renamed


def compute_rrdbnet(weights: Weights, sizes: RRDBNetSizes, image: NDArray[Any]) -> Array:
    """The output [3, height, width] for an image [3, height, width], by the papers of ESRGAN and Real-ESRGAN."""

    def layer(name: str, x: Array) -> Array:
        return convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def leaky(x: Array) -> Array:
        return np.where(x > 0, x, 0.2 * x)

    side = sizes.unshuffle
    x = np.asarray(image, np.float64)
    x = np.concatenate(
        [
            x[channel : channel + 1, row::side, column::side]
            for channel, row, column in product(range(3), range(side), range(side))
        ]
    )
    first = inner = layer("conv_first", x)
    for block in range(sizes.blocks):
        around = inner
        for dense in range(1, 4):
            seen = inner
            for number in range(1, 5):
                seen = np.concatenate([seen, leaky(layer(f"body.{block}.rdb{dense}.conv{number}", seen))])
            inner = inner + 0.2 * layer(f"body.{block}.rdb{dense}.conv5", seen)
        inner = around + 0.2 * inner
    x = first + layer("conv_body", inner)
    for number in range(1, sizes.doublings + 1):
        x = leaky(layer(f"conv_up{number}", x.repeat(2, 1).repeat(2, 2)))
    return layer("conv_last", leaky(layer("conv_hr", x)))


def compute_srvgg(weights: Weights, sizes: SRVGGSizes, image: NDArray[Any]) -> Array:
    x = np.asarray(image, np.float64)
    for number in range(sizes.layers):
        x = convolve(x, weights[f"body.{2 * number}.weight"], weights[f"body.{2 * number}.bias"])
        x = np.where(x > 0, x, weights[f"body.{2 * number + 1}.weight"][:, None, None] * x)
    x = convolve(x, weights[f"body.{2 * sizes.layers}.weight"], weights[f"body.{2 * sizes.layers}.bias"])
    scale, (_, height, width) = sizes.scale, x.shape
    shuffled = x.reshape(3, scale, scale, height, width).transpose(0, 3, 1, 4, 2)
    return shuffled.reshape(3, scale * height, scale * width) + np.asarray(image).repeat(scale, 1).repeat(scale, 2)


def convolve(x: Array, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Array:
    """A convolution of 3x3 with zeros beyond the border."""
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    total = np.zeros((weight.shape[0], height, width)) + bias[:, None, None]
    for row, column in product(range(3), repeat=2):
        total += np.einsum(
            "oi,ihw->ohw", weight[:, :, row, column], padded[:, row : row + height, column : column + width]
        )
    return total


def onnx_upscaler(
    scale: int = 2, *, sides: tuple[int | str, int | str] = ("height", "width"), channels: int = 3
) -> bytes:
    """A graph that blurs the image and repeats its pixels, in ONNX."""
    from onnx import TensorProto, helper

    from tests.support.tiny_networks import number

    kernel = np.zeros((channels, 3, 3, 3), np.float32)
    for channel in range(channels):
        kernel[channel, channel % 3] = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 8
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["blurred"], pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["blurred", "", "scales"], ["output"], mode="nearest"),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, *sides])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", channels, None, None])]
    numbers = [number("kernel", kernel), number("scales", [1, 1, scale, scale])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
