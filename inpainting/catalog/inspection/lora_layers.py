"""The tensors of a LoRA file for each layer, by the names of diffusers, PEFT, kohya-ss and LyCORIS.

LyCORIS: S.-Y. Yeh et al., "Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation" (ICLR
2024, arXiv 2309.14859).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

MAX_RANK = 4096
DOWN, UP, MID, ALPHA = "down", "up", "mid", "alpha"
MAGNITUDE, DORA_SCALE = "magnitude", "dora_scale"
"""The norms of a DoRA: in PEFT's files of each output, in those of LyCORIS of each output or of each input."""
DIFF, DIFF_BIAS = "diff", "diff_b"
"""Full differences of a layer's weight and bias."""
ENDINGS = {
    **dict.fromkeys(
        (".lora_A.default.weight", ".lora_A.weight", ".lora_down.weight", "_lora.down.weight", ".lora.down.weight"),
        DOWN,
    ),
    **dict.fromkeys(
        (".lora_B.default.weight", ".lora_B.weight", ".lora_up.weight", "_lora.up.weight", ".lora.up.weight"), UP
    ),
    ".lora_mid.weight": MID,
    ".alpha": ALPHA,
    **dict.fromkeys((".lora_magnitude_vector.weight", ".lora_magnitude_vector"), MAGNITUDE),
    ".dora_scale": DORA_SCALE,
    ".diff": DIFF,
    ".diff_b": DIFF_BIAS,
    ".w_norm": DIFF,
    ".b_norm": DIFF_BIAS,
    **{f".hada_{name}": f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f".lokr_{name}": f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
}
"""Ending of a tensor's name -> what it is; the beginning is the name of its layer."""
PEFT_PREFIX = "base_model.model."
INPUT_LAYER = "x_embedder"
"""The first layer of a transformer, which takes more channels in models for filling."""
NOT_READ = r"base_model\.model\.|text_encoders\.|lora_transformer_|lycoris_"
"""Beginnings of the names of tensors that diffusers' loader drops for every family."""
DIFFUSERS_READS = frozenset({DOWN, UP, ALPHA, MAGNITUDE})
ATTENTION = r"transformer_blocks[._]\d+[._]attn[._](to_[qkv]|add_[qkv]_proj)\Z"
"""Pattern of a transformer's attention layers, in the names of diffusers."""
LOHA = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"})

Shape = tuple[int, ...]


def split_name(name: str) -> tuple[str, str] | None:
    """(layer, what the tensor is for it), or None for a tensor of no LoRA."""
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
    return None if ending is None else (name.removesuffix(ending), ENDINGS[ending])


def layers_in(header: Mapping[str, Any]) -> dict[str, dict[str, Shape]]:
    """Layer -> factor -> shape. Tensors of no LoRA are left out."""
    layers: dict[str, dict[str, Shape]] = {}
    for name, tensor in header.items():
        split = split_name(name)
        if split is not None:
            layers.setdefault(split[0], {})[split[1]] = tuple(tensor["shape"])
    return layers


def is_read_by_diffusers(names: Collection[str], not_read: str) -> bool:
    """Whether diffusers' loader reads all of these tensors.

    It drops the norms of a DoRA in LyCORIS' names, and what the family declares as `LoraSupport.not_read`. An input
    layer with more channels changes the model itself.
    """
    dropped = f"{NOT_READ}|{not_read}" if not_read else NOT_READ
    for name in names:
        layer, factor = split_name(name) or (name, "")
        if factor not in DIFFUSERS_READS or re.match(dropped, name) or layer.endswith(INPUT_LAYER):
            return False
    return True


def is_change(shapes: Mapping[str, Shape]) -> bool:
    """Whether a layer's tensors are of a LoRA; other networks have tensors named `alpha` too."""
    return not shapes.keys() <= {ALPHA}


def are_complete(shapes: Mapping[str, Shape]) -> bool:
    """Whether the factors of a layer make one difference of weights or bias, and their ranks fit together."""
    kinds = shapes.keys() - {ALPHA, MAGNITUDE, DORA_SCALE, DIFF_BIAS}
    if kinds == {DIFF}:
        return shapes.keys() <= {DIFF, DIFF_BIAS, ALPHA} and bool(shapes[DIFF])
    if not kinds:
        return shapes.keys() in ({DIFF_BIAS}, {DIFF_BIAS, ALPHA})
    if {DOWN, UP} <= kinds <= {DOWN, UP, MID}:
        return is_product(shapes[UP], shapes.get(MID), shapes[DOWN])
    if LOHA <= kinds <= LOHA | {"hada_t1", "hada_t2"}:
        return all(is_factored(shapes, f"hada_w{number}", f"hada_t{number}") for number in (1, 2))
    return (
        all(name.startswith("lokr_") for name in kinds)
        and is_whole_or_factored(shapes, "lokr_w1", "")
        and is_whole_or_factored(shapes, "lokr_w2", "lokr_t2")
    )


def input_width(shapes: Mapping[str, Shape]) -> int | None:
    """The number of inputs of a linear layer, as its factors show it; None where they do not."""
    if {"lokr_w1", "lokr_w1_b"} & shapes.keys():
        first, second = (shapes.get(f"lokr_w{count}", shapes.get(f"lokr_w{count}_b", (0,))) for count in (1, 2))
        return first[-1] * second[-1]
    shape = next((shapes[name] for name in (DOWN, "hada_w1_b", DIFF) if name in shapes), ())
    return shape[1] if len(shape) == 2 else None


def attention_widths(layers: Mapping[str, Mapping[str, Shape]]) -> set[int]:
    """Return the inputs of a transformer's attention layers, in the names of diffusers."""
    widths = {input_width(shapes) for path, shapes in layers.items() if re.search(ATTENTION, path)}
    return {width for width in widths if width is not None}


def output_width(shapes: Mapping[str, Shape]) -> int | None:
    """The number of outputs of a layer, as its factors show it; None where they do not."""
    if {"lokr_w1", "lokr_w1_a"} & shapes.keys():
        first, second = (shapes.get(f"lokr_w{count}", shapes.get(f"lokr_w{count}_a", (0,))) for count in (1, 2))
        return first[0] * second[0]
    shape = next((shapes[name] for name in (UP, "hada_w1_a", DIFF) if name in shapes), ())
    return shape[0] if len(shape) == 2 else None


def is_product(up: Shape, mid: Shape | None, down: Shape) -> bool:
    """Whether [out, rank, ...], a kernel [rank, rank, ...] if there is one, and [rank, in, ...] follow one another."""
    if len(up) not in (2, 4) or len(down) not in (2, 4) or not 1 <= down[0] <= MAX_RANK:
        return False
    return up[1] == down[0] if mid is None else len(mid) == 4 and (up[1], down[0]) == mid[:2]


def is_factored(shapes: Mapping[str, Shape], stem: str, core: str) -> bool:
    """Whether `stem`_a and `stem`_b are matrices of one rank: [out, r] and [r, in], or beside a core [r, r, ...], as
    Tucker decompositions have one, [r, out] and [r, in]."""
    first, second = shapes.get(f"{stem}_a", ()), shapes.get(f"{stem}_b", ())
    if len(first) != 2 or len(second) != 2 or not 1 <= second[0] <= MAX_RANK:
        return False
    if core not in shapes:
        return first[1] == second[0]
    return len(shapes[core]) == 4 and shapes[core][:2] == (first[0], second[0])


def is_whole_or_factored(shapes: Mapping[str, Shape], stem: str, core: str) -> bool:
    if stem in shapes:
        return len(shapes[stem]) in (2, 4) and not shapes.keys() & {f"{stem}_a", f"{stem}_b", core}
    return is_factored(shapes, stem, core)
