"""Models in transformers' layout are loaded onto the current device, and what they compute comes back to the CPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="the diffusion engine is not installed")

import torch
from transformers.modeling_outputs import BaseModelOutput

from inpainting.catalog.specs import ModelSpec
from inpainting.networks.device.choice import computing_on
from inpainting.networks.transformers_models import load_model, run_model
from tests.support import tiny_vision_models


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_model_is_loaded_onto_the_current_device(tmp_path: Path, device: str) -> None:
    folder = tiny_vision_models.saved(tmp_path / "sam", "sam")
    with computing_on(device):
        model = load_model(ModelSpec(slug="sam", label="SAM", family="sam", path=folder), folder)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {device}
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    assert not model.training


class Result:
    """Stands for a tensor, and notes the device that it is moved to."""

    device = ""

    def to(self, device: str, **options: Any) -> Result:
        self.device = device
        return self


def test_inputs_go_to_the_device_of_the_model_and_results_to_the_cpu() -> None:
    given: dict[str, Any] = {}
    results = Result(), Result(), Result()

    def compute(**inputs: Any) -> Any:
        given.update(inputs, has_gradients=torch.is_grad_enabled())
        return BaseModelOutput(last_hidden_state=results[0], hidden_states=tuple(results[1:]))

    zeros = torch.zeros(2)
    output = run_model(SimpleNamespace(device="meta"), compute, pixels=zeros, levels=[zeros, zeros], count=3)
    assert [tensor.device.type for tensor in (given["pixels"], *given["levels"])] == ["meta"] * 3
    assert (given["count"], given["has_gradients"]) == (3, False)
    assert isinstance(output, BaseModelOutput)
    assert [result.device for result in results] == ["cpu"] * 3
