"""The flags of torch for a CUDA device, which torch keeps without one, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend

from inpainting.engines.diffusion.engine import Diffusion, Options
from inpainting.networks.device import hardware
from inpainting.networks.device.kernels import CUDNN, DEFAULT_KERNELS, Kernels

PACKAGE = Path(hardware.__file__).parents[2]
FLAGS = ("allow_tf32", "benchmark", "sdpa_kernel", "set_float32_matmul_precision", "fp32_precision")


def flags() -> dict[str, Any]:
    return {
        "products in TF32": torch.backends.cuda.matmul.allow_tf32,
        "convolutions in TF32": torch.backends.cudnn.allow_tf32,
        "cuDNN's benchmark": torch.backends.cudnn.benchmark,
        "attention first": SDPBackend(torch._C._get_sdp_priority_order()[0]),
    }


@pytest.fixture(autouse=True)
def torchs_own() -> Iterator[dict[str, Any]]:
    before = flags()
    yield before
    Kernels(tf32=False).use()
    torch.backends.cudnn.allow_tf32 = before["convolutions in TF32"]
    assert flags() == before


def test_the_defaults_of_a_cuda_device() -> None:
    chosen = hardware.choose("cuda")
    assert chosen.device.type == "cuda"
    assert flags() == {
        "products in TF32": True,
        "convolutions in TF32": True,
        "cuDNN's benchmark": False,
        "attention first": SDPBackend.FLASH_ATTENTION,
    }


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_float32_that_is_asked_for_is_computed_in_float32(precision: str) -> None:
    hardware.choose("cuda:1", precision)
    found = flags()
    assert {found["products in TF32"], found["convolutions in TF32"]} == {precision != "float32"}


def test_the_administrators_options_are_set_and_set_back() -> None:
    hardware.choose("cuda", kernels=Kernels(cudnn_benchmark=True, attention=CUDNN))
    assert flags()["cuDNN's benchmark"]
    assert flags()["attention first"] == SDPBackend.CUDNN_ATTENTION
    hardware.choose("cuda")
    assert not flags()["cuDNN's benchmark"]
    assert flags()["attention first"] == SDPBackend.FLASH_ATTENTION


def test_nothing_is_set_for_a_cpu(torchs_own: dict[str, Any]) -> None:
    hardware.choose("cpu", kernels=Kernels(cudnn_benchmark=True, attention=CUDNN))
    assert flags() == torchs_own


@pytest.mark.parametrize(("max_rows", "expected"), [(None, True), (1, False)])
def test_algorithms_are_not_tried_in_the_deterministic_mode(max_rows: int | None, expected: bool) -> None:
    options = Options(cudnn_benchmark=True, attention=CUDNN, max_rows=max_rows)
    assert Diffusion(options).kernels == Kernels(cudnn_benchmark=expected, attention=CUDNN)
    assert Diffusion(Options()).kernels == DEFAULT_KERNELS


def test_no_other_module_sets_these_flags() -> None:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        targets = [
            target.attr
            for node in ast.walk(ast.parse(path.read_text()))
            for target in (
                node.targets if isinstance(node, ast.Assign) else [node.func] if isinstance(node, ast.Call) else ()
            )
            if isinstance(target, ast.Attribute)
        ]
        if names := set(targets) & set(FLAGS):
            found[path.name] = names
    assert found == {"kernels.py": {"allow_tf32", "benchmark"}}
