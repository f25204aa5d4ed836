"""Fused LoRAs: equal to hooks and to diffusers' own fusing, without further operations, and gone without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.conditioning.delta_weights import LayerDelta
from inpainting.engines.diffusion.conditioning.fused_weights import fused_byte_count, fused_weights
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras, active_loras
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.networks.device.quantization import quantize
from tests.engines.diffusion.operations import Operations
from tests.engines.diffusion.pipelines import CPU, ddim_request, denoised, loaded_reference, run_reference
from tests.support import tiny_delta_loras, tiny_loras, tiny_models
from tests.support.matrix import first_alone

KINDS = ["plain", "full", "dora of peft", *tiny_delta_loras.CONFIGURATIONS]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "sd", "sd")


@pytest.fixture
def model(spec: ModelSpec) -> Any:
    return load(spec, CPU)


def lora(path: Path, kind: str, spec: ModelSpec) -> LoraSpec:
    """A LoRA of that kind for the model: plain and full ones change its text encoder too."""
    fresh = load(spec, CPU)
    if kind == "plain":
        tensors = tiny_loras.weights(fresh.pipeline)
    elif kind == "full":
        tensors = tiny_delta_loras.changed_weights(fresh.pipeline)
    elif kind == "dora of peft":
        tensors = tiny_delta_loras.named_by_peft(tiny_delta_loras.injected(fresh.unet, "dora"))
    else:
        tensors = tiny_delta_loras.tensors(tiny_delta_loras.injected(fresh.unet, kind))
    tiny_loras.saved(path, tensors)
    return LoraSpec(slug=path.stem, label=path.stem, family=spec.family, digest=path.stem, path=path)


def loaded(model: Any, used: list[LoraSpec], weights: list[float]) -> ActiveLoras:
    active = active_loras(
        [LoraUse(active_lora.slug, weight) for active_lora, weight in zip(used, weights, strict=True)], used
    )
    for active_lora in model.loras.missing(active):
        model.loras.load(active_lora)
    return active


def painted(model: Any, active: ActiveLoras) -> torch.Tensor:
    """The final latents of our loop."""
    model.loras.activate(active)
    return denoised(model, ddim_request())


def count_operations(model: Any, active: ActiveLoras) -> int:
    """Operations of the UNet in a step."""
    model.loras.activate(active)
    config = model.unet.config
    with Operations() as operations, torch.inference_mode():
        model.unet(torch.zeros(2, config.in_channels, 8, 8), 5, torch.zeros(2, 7, config.cross_attention_dim))
    return len(operations.names)


def own_weights(model: Any) -> dict[str, tuple[int, torch.Tensor]]:
    """The place in memory and a copy of each parameter of the UNet."""
    return {
        name: (parameter.data_ptr(), parameter.detach().clone()) for name, parameter in model.unet.named_parameters()
    }


@pytest.mark.parametrize("kind", ["plain", "full", *first_alone(*KINDS[2:])])
def test_they_equal_hooks_and_leave_the_model_bit_identical(
    spec: ModelSpec, model: Any, tmp_path: Path, kind: str
) -> None:
    before, plain_count = painted(model, ()), count_operations(model, ())
    weights, parameters, held = own_weights(model), list(model.unet.parameters()), model.byte_count
    active = loaded(model, [lora(tmp_path / "one.safetensors", kind, spec)], [0.7])
    hooked, hooked_count = painted(model, active), count_operations(model, active)
    taken, wanted = model.byte_count, model.loras.bytes_to_fuse(active, model.unet)
    model.loras.fuse(active, model.unet)
    fused = painted(model, active)
    torch.testing.assert_close(fused, hooked, rtol=2e-4, atol=2e-4)
    assert not torch.allclose(fused, before, atol=1e-2)
    assert hooked_count > count_operations(model, active) == plain_count
    assert wanted <= model.byte_count - taken == model.loras.fused_byte_count <= 1.2 * wanted
    assert torch.equal(painted(model, ()), before)
    assert torch.equal(painted(model, active), fused), "the fused weights stay for the next time"
    model.loras.unfuse()
    assert torch.equal(painted(model, ()), before)
    assert all(parameter is other for parameter, other in zip(model.unet.parameters(), parameters, strict=True))
    for name, (place, copy) in own_weights(model).items():
        assert place == weights[name][0]
        assert torch.equal(copy, weights[name][1]), name
    model.loras.unload_all()
    assert model.byte_count == held


def test_a_plain_one_equals_what_diffusers_fuses(spec: ModelSpec, model: Any, tmp_path: Path) -> None:
    one = lora(tmp_path / "one.safetensors", "plain", spec)
    active = loaded(model, [one], [0.7])
    model.loras.fuse(active, model.unet)
    reference = loaded_reference(spec, ddim_request())
    reference.load_lora_weights(str(tmp_path), weight_name=one.path.name, local_files_only=True)  # type: ignore[union-attr]
    reference.fuse_lora(lora_scale=0.7)
    reference.unload_lora_weights()
    expected = run_reference(reference, spec, ddim_request())
    torch.testing.assert_close(painted(model, active), expected, rtol=1e-4, atol=1e-4)


def test_a_set_equals_its_hooks_and_only_with_its_own_weights(spec: ModelSpec, model: Any, tmp_path: Path) -> None:
    used = [lora(tmp_path / f"{kind}.safetensors", kind, spec) for kind in ("plain", "full", "dora", "lokr")]
    active = loaded(model, used, [0.5, 0.3, 0.8, -0.3])
    others = [loaded(model, used, [0.5, 0.3, 0.8, 0.3]), loaded(model, used[:3], [0.5, 0.3, 0.8])]
    hooked = [painted(model, active_lora) for active_lora in (active, *others)]
    model.loras.fuse(active, model.unet)
    fused = [painted(model, active_lora) for active_lora in (active, *others)]
    torch.testing.assert_close(fused[0], hooked[0], rtol=2e-4, atol=2e-4)
    assert all(torch.equal(tensor, other) for tensor, other in zip(fused[1:], hooked[1:], strict=True))


def test_a_dora_that_is_read_beside_fused_weights_is_scaled_by_the_own_ones(
    spec: ModelSpec, model: Any, tmp_path: Path
) -> None:
    full, dora = (lora(tmp_path / f"{kind}.safetensors", kind, spec) for kind in ("full", "dora"))
    expected = painted(model, loaded(model, [dora], [1.0]))
    model.loras.unload_all()
    active = loaded(model, [full], [1.0])
    model.loras.fuse(active, model.unet)
    model.loras.activate(active)
    (later,) = active_loras([LoraUse(dora.slug)], [dora])
    file = model.loras.read(later)
    model.loras.load(later, file)
    assert torch.equal(painted(model, (later,)), expected)


def test_unloading_one_of_a_set_drops_the_fused_weights(spec: ModelSpec, model: Any, tmp_path: Path) -> None:
    before = painted(model, ())
    active = loaded(model, [lora(tmp_path / f"{kind}.safetensors", kind, spec) for kind in ("plain", "full")], [1, 1])
    model.loras.fuse(active, model.unet)
    model.loras.activate(active)
    assert model.loras.evict_one(keep=[active[1].name])
    assert model.loras.fused == ()
    assert model.loras.fused_byte_count == 0
    assert torch.equal(painted(model, ()), before)


def test_the_sum_is_computed_in_float32_and_rounded_once() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 48).to(torch.bfloat16)
    pairs = [{"down": torch.randn(4, 64) * 0.2, "up": torch.randn(48, 4) * 0.2} for _ in range(2)]
    changes = [(LayerDelta.of(pair, layer), 0.3) for pair in pairs]
    (one,) = fused_weights({}, {layer: changes}).parameters
    exact = layer.weight.detach().float()
    for pair in pairs:
        exact = exact + 0.3 * (pair["up"].bfloat16().float() @ pair["down"].bfloat16().float())
    torch.testing.assert_close(one.fused.detach(), exact.bfloat16(), rtol=2**-7, atol=1e-6)
    assert (one.fused == exact.bfloat16()).float().mean() > 0.99
    assert one.own is layer.weight


def test_layers_that_are_quantised_or_not_there_are_not_fused() -> None:
    layer = torch.nn.Linear(64, 48)
    changes = [(LayerDelta.of({"down": torch.randn(4, 64), "up": torch.randn(48, 4)}, layer), 1.0)]
    assert fused_byte_count({layer: changes}) == layer.weight.nbytes
    assert fused_byte_count({layer.to("meta"): changes}) == 0
    pytest.importorskip("torchao")
    network = torch.nn.Sequential(torch.nn.Linear(64, 48))
    quantize(network, "int8", torch.device("cpu"))
    assert fused_byte_count({network[0]: changes}) == 0
