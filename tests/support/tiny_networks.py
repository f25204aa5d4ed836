"""ONNX graphs of a few hundred bytes with the inputs, ranges and polarity of the published LaMa and MI-GAN.

They fill the hole with the mean of the known pixels: LaMa in float32 (image 0 to 1, mask 1 = hole, result 0 to 255),
MI-GAN in uint8 (mask 255 = known) and of any size. Inputs in a wrong range or polarity give a visibly wrong result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
Sides = Sequence[int | str]


def number(name: str, value: Any, kind: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.array(value, kind), name)


def saved(nodes: list[Any], numbers: list[Any], kind: int, sides: Sides, result: str, **more: Any) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("image", kind, ["batch", 3, *sides]),
            helper.make_tensor_value_info("mask", kind, ["batch", 1, *sides]),
        ],
        [helper.make_tensor_value_info(result, kind, ["batch", 3, *sides])],
        numbers,
    )
    options = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8, **more}
    model = helper.make_model(graph, **options)
    data: bytes = model.SerializeToString()
    return data


def lama(side: int = 512, *, before: Sequence[Any] = (), factor: float = 255, **more: Any) -> bytes:
    """The mean is weighted towards the lower right, so that the eight symmetries give different results.

    before: nodes that run first. factor: multiplies the result.
    """
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    nodes = [
        *before,
        helper.make_node("Sub", ["one", "mask"], ["known"]),
        helper.make_node("Mul", ["image", "known"], ["seen"]),
        helper.make_node("Mul", ["known", "weight"], ["weights"]),
        helper.make_node("Mul", ["seen", "weight"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "sides"], ["total"]),
        helper.make_node("ReduceSum", ["weights", "sides"], ["area"]),
        helper.make_node("Div", ["total", "area"], ["mean"]),
        helper.make_node("Mul", ["mean", "mask"], ["filled"]),
        helper.make_node("Add", ["seen", "filled"], ["whole"]),
        helper.make_node("Mul", ["whole", "factor"], ["output"]),
    ]
    numbers = [
        number("one", 1),
        number("factor", factor),
        number("sides", [2, 3], np.int64),
        number("weight", (0.1 + 2 * ramp[None, :] + ramp[:, None])[None, None]),
    ]
    return saved(nodes, numbers, FLOAT, (side, side), "output", **more)


def migan(sides: Sides = ("height", "width"), **more: Any) -> bytes:
    """As the published graph, it fades its result in over three pixels, by the known part dilated and blurred."""
    nodes = [
        helper.make_node("Cast", ["image"], ["colours"], to=FLOAT),
        helper.make_node("Cast", ["mask"], ["levels"], to=FLOAT),
        helper.make_node("Div", ["levels", "most"], ["known"]),
        helper.make_node("Mul", ["colours", "known"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "sides"], ["total"]),
        helper.make_node("ReduceSum", ["known", "sides"], ["area"]),
        helper.make_node("Div", ["total", "area"], ["mean"]),
        helper.make_node("MaxPool", ["known"], ["dilated"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Pad", ["dilated", "two"], ["padded"], mode="reflect"),
        helper.make_node("AveragePool", ["padded"], ["kept"], kernel_shape=[5, 5]),
        helper.make_node("Sub", ["one", "kept"], ["share"]),
        helper.make_node("Mul", ["mean", "share"], ["filled"]),
        helper.make_node("Mul", ["colours", "kept"], ["whole_kept"]),
        helper.make_node("Add", ["whole_kept", "filled"], ["whole"]),
        helper.make_node("Clip", ["whole", "least", "most"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["result"], to=UINT8),
    ]
    numbers = [number("one", 1), number("least", 0), number("most", 255), number("sides", [2, 3], np.int64)]
    numbers.append(number("two", [0, 0, 2, 2, 0, 0, 2, 2], np.int64))
    return saved(nodes, numbers, UINT8, sides, "result", **more)


def slow_loop(iterations: int) -> Any:
    """A node that takes long and has no used output: a loop of this many iterations."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still_going"]),
            helper.make_node("Add", ["sum", "sum"], ["next_sum"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_sum", FLOAT, None),
        ],
    )
    turns = numpy_helper.from_array(np.array(iterations, np.int64))
    yes = numpy_helper.from_array(np.array(True))
    return [
        helper.make_node("Constant", [], ["turns"], value=turns),
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node("Loop", ["turns", "yes", "mask"], ["waited"], body=body),
    ]


def with_external_numbers() -> bytes:
    """A LaMa whose largest tensors are declared as external data."""
    model = onnx.load_from_string(lama(64))
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "weight")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    data: bytes = model.SerializeToString()
    return data


def salient(side: int | str = 320, *, name: str = "input.1", channels: int = 1, gain: float = 1) -> bytes:
    """A graph with the input and outputs of the published U²-Net and IS-Net: one image, several maps.

    Channel n of the first output is the image's colour channel n, brighter towards the right, times `gain`.
    """
    sides = ("batch", side, side) if isinstance(side, str) else (1, side, side)
    batch, *square = sides
    nodes = [
        helper.make_node("Slice", [name, "first", "end", "axis"], ["maps"]),
        helper.make_node("Mul", ["maps", "gain"], ["d0"]),
        helper.make_node("Neg", ["d0"], ["d1"]),
    ]
    numbers = [
        number("first", [0], np.int64),
        number("end", [channels], np.int64),
        number("axis", [1], np.int64),
        number("gain", gain),
    ]
    if channels == 4:  # the background where no colour is strong
        nodes[1:2] = [
            helper.make_node("Mul", ["maps", "gain"], ["colours"]),
            helper.make_node("ReduceMax", ["colours"], ["most"], axes=[1], keepdims=1),
            helper.make_node("Sub", ["half", "most"], ["background"]),
            helper.make_node("Concat", ["background", "colours"], ["d0"], axis=1),
        ]
        numbers.append(number("half", 1))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, FLOAT, [batch, 3, *square])],
        [helper.make_tensor_value_info(output, FLOAT, [batch, channels, *square]) for output in ("d0", "d1")],
        numbers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def salient_by_every_channel(side: int | str) -> bytes:
    """A graph with the input of `salient` and one map: the sum of 0.1 c (x² + x) over the channels c = 1 to 3.

    A mask is scaled to the range of its map, so of a linear map it is the same whatever the mean and the deviation.
    """
    square = [1, 3, side, side]
    nodes = [
        helper.make_node("Mul", ["input.1", "input.1"], ["squares"]),
        helper.make_node("Add", ["squares", "input.1"], ["curved"]),
        helper.make_node("Mul", ["curved", "weights"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "axis"], ["d0"]),
    ]
    weights = number("weights", np.reshape([0.1, 0.2, 0.3], (1, 3, 1, 1)))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input.1", FLOAT, square)],
        [helper.make_tensor_value_info("d0", FLOAT, [1, 1, side, side])],
        [weights, number("axis", [1], np.int64)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
