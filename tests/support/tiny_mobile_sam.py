"""ONNX graphs with the inputs, outputs and sizes of MobileSAM's encoder and decoder, without weights.

The embedding is the normalised image in small, so that a mask is what has nearly the colour of the points on the
object and not that of those beside it, or what lies in the box. Wrong labels, coordinates, ranges of values or paddings
give visibly wrong masks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.support.tiny_networks import number

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
ENCODER, DECODER = "mobile_sam_image_encoder.onnx", "sam_mask_decoder_multi.onnx"
SIDE, SMALL, LOW = 1024, 64, 256
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SCORES = (0.2, 0.7, 0.9, 0.8)
"""Of the mask for several points, and of the three for one."""


def model(nodes: list[Any], numbers: list[Any], inputs: dict[str, Any], outputs: dict[str, Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        numbers,
    )
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return data


def encoder(gain: float = 1) -> bytes:
    nodes = [
        helper.make_node("Sub", ["input_image", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        helper.make_node("Transpose", ["normalised"], ["channels"], perm=[2, 0, 1]),
        helper.make_node("Shape", ["channels"], ["shape"]),
        helper.make_node("Sub", ["square", "shape"], ["missing"]),
        helper.make_node("Concat", ["nothing", "missing"], ["pads"], axis=0),
        helper.make_node("Pad", ["channels", "pads"], ["padded"]),
        helper.make_node("Unsqueeze", ["padded", "first"], ["batch"]),
        helper.make_node("AveragePool", ["batch"], ["small"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Mul", ["small", "gain"], ["scaled"]),
        helper.make_node("Pad", ["scaled", "more_channels"], ["image_embeddings"]),
    ]
    numbers = [
        number("mean", MEAN),
        number("std", STD),
        number("gain", gain),
        number("square", [3, SIDE, SIDE], np.int64),
        number("nothing", [0, 0, 0], np.int64),
        number("first", [0], np.int64),
        number("more_channels", [0, 0, 0, 0, 0, 253, 0, 0], np.int64),
    ]
    shapes = {"input_image": ["image_height", "image_width", 3]}, {"image_embeddings": [1, 256, SMALL, SMALL]}
    return model(nodes, numbers, *shapes)


def decoder() -> bytes:
    node = helper.make_node
    nodes = [
        # difference of each place from the colour at each point: [points, 4096]
        node("Reshape", ["image_embeddings", "flat"], ["places"]),
        node("Squeeze", ["point_coords", "first"], ["points"]),
        node("Div", ["points", "stride"], ["cells"]),
        node("Floor", ["cells"], ["whole"]),
        node("Clip", ["whole", "least", "most"], ["inside"]),
        node("MatMul", ["inside", "row_major"], ["order"]),
        node("Cast", ["order"], ["index"], to=INT64),
        node("Gather", ["places", "index"], ["colours"], axis=1),  # [256, points]
        node("Unsqueeze", ["colours", "last"], ["marked"]),
        node("Unsqueeze", ["places", "second"], ["all"]),
        node("Sub", ["all", "marked"], ["difference"]),
        node("Abs", ["difference"], ["distance"]),
        node("ReduceSum", ["distance", "first"], ["distances"], keepdims=0),
        # points on the object add what is near their colour, points beside it take it away
        node("Squeeze", ["point_labels", "first"], ["labels"]),
        *(node("Equal", ["labels", f"label_{label}"], [f"is_{label}"]) for label in range(4)),
        *(node("Cast", [f"is_{label}"], [f"as_{label}"], to=FLOAT) for label in range(4)),
        node("Sub", ["as_1", "as_0"], ["gains"]),
        node("Reshape", ["gains", "row"], ["gain"]),  # [1, points]
        node("MatMul", ["gain", "distances"], ["weighed"]),  # [1, 4096]
        node("ReduceSum", ["gains"], ["total"], keepdims=0),
        node("Mul", ["total", "reach"], ["allowed"]),  # [4, 1]
        node("Sub", ["allowed", "weighed"], ["by_points"]),  # [4, 4096]
        # how far inside the box, if there is one
        *(node("Reshape", [f"as_{label}", "column"], [f"column_{label}"]) for label in (2, 3)),
        *(node("Mul", ["points", f"column_{label}"], [f"corner_points_{label}"]) for label in (2, 3)),
        *(node("ReduceSum", [f"corner_points_{label}", "first"], [f"corner_{label}"]) for label in (2, 3)),  # [1, 2]
        node("Sub", ["centres", "corner_2"], ["after"]),  # [4096, 2]
        node("Sub", ["corner_3", "centres"], ["before"]),
        node("Concat", ["after", "before"], ["depths"], axis=1),
        node("ReduceMin", ["depths"], ["depth"], axes=[1], keepdims=0),
        node("ReduceSum", ["as_2"], ["has_box"], keepdims=0),
        node("Mul", ["depth", "has_box"], ["by_box"]),
        node("Add", ["by_points", "by_box"], ["logits"]),
        node("Reshape", ["logits", "squares"], ["small"]),
        node("Resize", ["small", "", "", "low"], ["low_res_masks"], mode="nearest"),
        node("Identity", ["scores"], ["iou_predictions"]),
        # the masks of the image's size, as SAM's export has them
        node("Resize", ["low_res_masks", "", "", "padded_size"], ["padded"], mode="linear"),
        node("ReduceMax", ["orig_im_size"], ["longer"], keepdims=0),
        node("Div", ["side", "longer"], ["scale"]),
        node("Mul", ["orig_im_size", "scale"], ["exact_size"]),
        node("Add", ["exact_size", "half"], ["rounded_size"]),
        node("Cast", ["rounded_size"], ["fed_size"], to=INT64),
        node("Slice", ["padded", "origin", "fed_size", "axes"], ["cropped"]),
        node("Cast", ["orig_im_size"], ["size"], to=INT64),
        node("Concat", ["four_masks", "size"], ["wanted_size"], axis=0),
        node("Resize", ["cropped", "", "", "wanted_size"], ["masks"], mode="linear"),
    ]
    across, down = np.meshgrid(np.arange(SMALL) * 16 + 8, np.arange(SMALL) * 16 + 8)
    numbers = [
        number("flat", [256, SMALL * SMALL], np.int64),
        number("first", [0], np.int64),
        number("second", [1], np.int64),
        number("last", [2], np.int64),
        number("row", [1, -1], np.int64),
        number("column", [-1, 1], np.int64),
        number("squares", [1, 4, SMALL, SMALL], np.int64),
        number("low", [1, 4, LOW, LOW], np.int64),
        number("padded_size", [1, 4, SIDE, SIDE], np.int64),
        number("origin", [0, 0], np.int64),
        number("axes", [2, 3], np.int64),
        number("four_masks", [1, 4], np.int64),
        number("stride", 16),
        number("least", 0),
        number("most", SMALL - 1),
        number("row_major", [1, SMALL]),
        number("reach", [[0.1], [0.5], [1.0], [3.0]]),
        number("centres", np.stack([across.ravel(), down.ravel()], axis=1)),
        number("scores", [SCORES]),
        number("side", SIDE),
        number("half", 0.5),
        *(number(f"label_{label}", label) for label in range(4)),
    ]
    inputs = {
        "image_embeddings": [1, 256, SMALL, SMALL],
        "point_coords": [1, "num_points", 2],
        "point_labels": [1, "num_points"],
        "mask_input": [1, 1, LOW, LOW],
        "has_mask_input": [1],
        "orig_im_size": [2],
    }
    outputs = {
        "masks": [1, 4, "height", "width"],
        "iou_predictions": [1, 4],
        "low_res_masks": [1, 4, LOW, LOW],
    }
    return model(nodes, numbers, inputs, outputs)


def saved(folder: Path, gain: float = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ENCODER).write_bytes(encoder(gain))
    (folder / DECODER).write_bytes(decoder())
    return folder
