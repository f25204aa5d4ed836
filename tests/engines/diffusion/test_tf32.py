"""TF32, a flag of torch for CUDA devices that torch keeps without one, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from inpainting.engines.diffusion import hardware


def flags() -> set[bool]:
    return {torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32}


@pytest.fixture(autouse=True)
def unchanged_flags() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.parametrize("precision", ["auto", "float32", "float16", "bfloat16"])
def test_a_cuda_device_uses_tf32_unless_float32_is_requested(precision: str) -> None:
    assert hardware.choose("cuda:1", precision).device.type == "cuda"
    assert flags() == {precision != "float32"}


def test_nothing_is_set_for_a_cpu() -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    hardware.choose("cpu")
    assert flags() == {False, True}
