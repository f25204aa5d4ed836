"""Checks of LoRA files: damaged, of another family, pickled, or with values that are not finite."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inpainting.catalog.inspection import lora_files
from inpainting.catalog.inspection.lora_files import LoraRefused, check_finite, check_lora

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TYPES = {"<f4": "F32", "<f2": "F16", "<i4": "I32"}


def layer(name: str = LAYER, *, rank: int = 4, width: int = 768, kind: str = "<f4") -> dict[str, Any]:
    return {
        f"{name}.lora_down.weight": np.full((rank, width), 0.5, kind),
        f"{name}.lora_up.weight": np.full((320, rank), 0.5, kind),
        f"{name}.alpha": np.asarray(2, kind),
    }


def written(path: Path, tensors: dict[str, Any], *, types: dict[str, str] | None = None, **notes: str) -> Path:
    header: dict[str, Any] = {"__metadata__": notes} if notes else {}
    data = b""
    for name, value in tensors.items():
        kind = (types or TYPES)[value.dtype.str]
        header[name] = {
            "dtype": kind, "shape": list(value.shape), "data_offsets": [len(data), len(data) + value.nbytes]
        }  # fmt: skip
        data += value.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.safetensors"


@pytest.mark.parametrize(
    "tensors",
    [
        layer(),
        layer(kind="<f2"),
        {"unet.a.to_q.lora_A.weight": np.ones((4, 8), "<f4"), "unet.a.to_q.lora_B.weight": np.ones((8, 4), "<f4")},
        {
            "unet.a.processor.to_q_lora.down.weight": np.ones((4, 8), "<f4"),
            "unet.a.processor.to_q_lora.up.weight": np.ones((8, 4), "<f4"),
        },
        {
            "text_encoder.b.lora_linear_layer.lora.down.weight": np.ones((4, 8), "<f4"),
            "text_encoder.b.lora_linear_layer.lora.up.weight": np.ones((8, 4), "<f4"),
        },
        layer() | {f"{LAYER}.dora_scale": np.ones((320, 1), "<f4")},
        {f"{LAYER}.lora_mid.weight": np.ones((4, 4, 3, 3), "<f4")}
        | {f"{LAYER}.lora_down.weight": np.ones((4, 8, 1, 1), "<f4")}
        | {f"{LAYER}.lora_up.weight": np.ones((8, 4, 1, 1), "<f4")},
        {f"{LAYER}.hada_{name}_a": np.ones((320, 4), "<f4") for name in ("w1", "w2")}
        | {f"{LAYER}.hada_{name}_b": np.ones((4, 768), "<f4") for name in ("w1", "w2")},
        {f"{LAYER}.hada_{name}_a": np.ones((4, 320), "<f4") for name in ("w1", "w2")}
        | {f"{LAYER}.hada_{name}_b": np.ones((4, 320), "<f4") for name in ("w1", "w2")}
        | {f"{LAYER}.hada_{name}": np.ones((4, 4, 3, 3), "<f4") for name in ("t1", "t2")},
        {f"{LAYER}.lokr_w1": np.ones((4, 8), "<f4"), f"{LAYER}.lokr_w2_a": np.ones((80, 2), "<f4")}
        | {f"{LAYER}.lokr_w2_b": np.ones((2, 96), "<f4")},
        {f"{LAYER}.diff": np.ones((320, 768), "<f4"), f"{LAYER}.diff_b": np.ones(320, "<f4")},
        {"base_model.model.a.to_q.lora_A.weight": np.ones((4, 8), "<f4")}
        | {"base_model.model.a.to_q.lora_B.weight": np.ones((8, 4), "<f4")},
    ],
)
def test_the_tensor_names_of_every_trainer_are_accepted(file: Path, tensors: dict[str, Any]) -> None:
    check_lora(written(file, tensors), "sd")
    check_finite(file)


@pytest.mark.parametrize(
    ("tensors", "family", "seen"),
    [
        (layer(width=2048), "sd", "sdxl"),
        (layer(width=768), "sdxl", "of the family sd,"),
        (layer(width=1024), "sdxl", "of the family sd,"),
        (layer("lora_te2_text_model_encoder_layers_0_mlp_fc1", width=32), "sd", "sdxl"),
        (layer("lora_unet_mid_block_attentions_0_transformer_blocks_7_attn1_to_q"), "sd", "sdxl"),
    ],
)
def test_a_lora_of_another_family_is_refused(file: Path, tensors: dict[str, Any], family: str, seen: str) -> None:
    with pytest.raises(LoraRefused, match=seen):
        check_lora(written(file, tensors), family)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "changes nothing"),
        ({"model.diffusion_model.x.weight": np.ones((4, 4), "<f4")}, "no LoRA for Stable Diffusion"),
        ({"transformer.x.lora_A.weight": np.ones((4, 4), "<f4")}, "no LoRA for Stable Diffusion"),
        ({"lora_unet_x.weight": np.ones((4, 4), "<f4")}, "it holds"),
        (layer() | {"lora_unet_x.hada_w1_a": np.ones((4, 4), "<f4")}, "do not fit together"),
        (layer() | {"lora_unet_x.lokr_w1": np.ones((4, 4), "<f4")}, "do not fit together"),
        (layer() | {"lora_unet_x.dora_scale": np.ones((4, 1), "<f4")}, "do not fit together"),
        (layer() | {"lora_unet_x.alpha": np.asarray(2, "<f4")}, "do not fit together"),
        (layer() | {f"{LAYER}.lora_mid.weight": np.ones((4, 5, 3, 3), "<f4")}, "do not fit together"),
        (layer() | {f"{LAYER}.oft_blocks": np.ones((4, 4), "<f4")}, "an OFT"),
        (layer() | {"bundle_emb.x.string_to_param": np.ones((4, 4), "<f4")}, "with embeddings"),
        ({f"{LAYER}.lora_down.weight": np.ones((4, 768), "<f4")}, "do not fit together"),
        (layer() | {f"{LAYER}.lora_up.weight": np.ones((320, 5), "<f4")}, "do not fit together"),
        (layer() | {f"{LAYER}.lora_down.weight": np.ones((4, 768), "<i4")}, "I32 numbers"),
    ],
)
def test_a_file_that_is_no_plain_lora_is_refused(file: Path, tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(LoraRefused, match=message) as refused:
        check_lora(written(file, tensors), "sd")
    assert refused.value.code == "lora_refused"


@pytest.mark.parametrize(
    "tensors",
    [
        {f"{LAYER}.hada_w{n}_{end}": np.ones(shape, "<f4")
         for n in (1, 2) for end, shape in (("a", (320, 4)), ("b", (4, 2048)))},
        {f"{LAYER}.lokr_w1": np.ones((4, 8), "<f4"), f"{LAYER}.lokr_w2": np.ones((80, 256), "<f4")},
        {f"{LAYER}.diff": np.ones((320, 2048), "<f4")},
    ],
    ids=["LoHa", "LoKr", "full"],
)  # fmt: skip
def test_the_family_of_other_kinds_is_known_by_their_widths(file: Path, tensors: dict[str, Any]) -> None:
    check_lora(written(file, tensors), "sdxl")
    with pytest.raises(LoraRefused, match="sdxl"):
        check_lora(file, "sd")


def test_a_damaged_file_is_refused(file: Path) -> None:
    whole = written(file, layer()).read_bytes()
    for damage in (whole[:-1], whole + b"x", whole[:40], b"", b"\x80\x04pickle"):
        file.write_bytes(damage)
        with pytest.raises(LoraRefused):
            check_lora(file, "sd")


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".bin", ".pickle"])
def test_a_file_with_the_name_of_a_pickle_is_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(LoraRefused, match="pickle"):
        check_lora(written(tmp_path / f"mine{ending}", layer()), "sd")


def test_a_lora_over_the_limit_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(file, layer())
    monkeypatch.setattr(lora_files, "MAX_LORA_BYTES", file.stat().st_size)
    check_lora(file, "sd")
    monkeypatch.setattr(lora_files, "MAX_LORA_BYTES", file.stat().st_size - 1)
    with pytest.raises(LoraRefused, match="larger"):
        check_lora(file, "sd")


@pytest.mark.parametrize("kind", ["<f4", "<f2"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_wherever_it_is(
    file: Path, monkeypatch: pytest.MonkeyPatch, kind: str, value: float
) -> None:
    monkeypatch.setattr(lora_files, "CHUNK_NUMBERS", 100)
    tensors = layer(kind=kind)
    tensors[f"{LAYER}.lora_up.weight"][319, 3] = value
    check_lora(written(file, tensors), "sd")
    with pytest.raises(LoraRefused, match="not finite"):
        check_finite(file)


@pytest.mark.parametrize(("bits", "is_finite"), [(0x7F7F, True), (0x7F80, False), (0xFF80, False), (0x7FC1, False)])
def test_bfloat16_values_are_checked_too(file: Path, bits: int, is_finite: bool) -> None:
    tensors = {name: np.full(value.shape, 0x3F00, "<u2") for name, value in layer().items()}
    tensors[f"{LAYER}.lora_down.weight"][3, 700] = bits
    check_lora(written(file, tensors, types={"<u2": "BF16"}), "sd")
    if is_finite:
        check_finite(file)
    else:
        with pytest.raises(LoraRefused, match="not finite"):
            check_finite(file)


def test_its_configuration_must_not_name_code(file: Path) -> None:
    harmless = {"unet.r": 4, "unet.lora_alpha": 8, "unet.target_modules": ["to_q"], "unet.megatron_config": None}
    check_lora(written(file, layer(), lora_adapter_metadata=json.dumps(harmless)), "sd")
    for wrong in ({"unet.megatron_config": {"x": 1}}, {"unet.auto_mapping": {"x": "y"}}, {"unet.use_bdlora": True}):
        with pytest.raises(LoraRefused, match="configured"):
            check_lora(written(file, layer(), lora_adapter_metadata=json.dumps(harmless | wrong)), "sd")
    other = {f"{LAYER}.diff": np.ones((320, 768), "<f4")}
    with pytest.raises(LoraRefused, match="plain LoRAs only"):
        check_lora(written(file, other, lora_adapter_metadata=json.dumps(harmless)), "sd")
    for text in ("{", "[]"):
        with pytest.raises(LoraRefused, match="configuration"):
            check_lora(written(file, layer(), lora_adapter_metadata=text), "sd")


@pytest.mark.parametrize(
    "header",
    [
        b"{" + b",".join(b'"%d":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}' % n for n in range(50_001)) + b"}",
        b'{"__metadata__":[' + b",".join([b"[]"] * 1_000_002) + b"]}",
    ],
    ids=["tensors", "lists"],
)
def test_a_header_of_very_many_parts_is_not_parsed(file: Path, header: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("The header was parsed."))
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(LoraRefused, match="more than 50000 tensors"):
        check_lora(file, "sd")


def test_a_shape_of_very_many_sides_is_refused_before_they_are_multiplied(file: Path) -> None:
    tensor = {"dtype": "F16", "shape": [2**62] * 100_000, "data_offsets": [0, 0]}
    text = json.dumps({"a": tensor}).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(LoraRefused, match="described wrongly"):
        check_lora(file, "sd")
