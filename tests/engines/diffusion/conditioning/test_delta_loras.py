"""LoHa, LoKr, DoRA, LoCon and full differences: equal to PEFT's layers, and gone without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import Conv2d, Linear

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.conditioning import delta_weights
from inpainting.engines.diffusion.conditioning.delta_weights import LayerDelta
from inpainting.engines.diffusion.conditioning.lora_adapters import active_loras
from inpainting.engines.diffusion.conditioning.lora_layer_names import layers_by_name, layers_of
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.sd.lora_names import original_name
from tests.engines.diffusion.pipelines import CPU, FAMILIES, ddim_request, denoised, loaded_reference, run_reference
from tests.support import original_layout, tiny_delta_loras, tiny_loras
from tests.support.matrix import each_value_once


def lora(path: Path, family: str, tensors: dict[str, torch.Tensor]) -> LoraSpec:
    tiny_loras.saved(path, tensors)
    return LoraSpec(slug=path.stem, label=path.stem, family=family, digest=path.stem, path=path)


def painted(model: Any, used: list[LoraSpec], weights: list[float]) -> torch.Tensor:
    """The final latents of our loop with these LoRAs."""
    uses = tuple(LoraUse(active_lora.slug, weight) for active_lora, weight in zip(used, weights, strict=True))
    active = active_loras(uses, used)
    for active_lora in model.loras.missing(active):
        model.loras.load(active_lora)
    model.loras.activate(active)
    return denoised(model, ddim_request())


def expected(spec: ModelSpec, unet_change: Any) -> torch.Tensor:
    """diffusers' result with a UNet that `unet_change` has changed in place."""
    reference = loaded_reference(spec, ddim_request())
    unet_change(reference)
    return run_reference(reference, spec, ddim_request())


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("family", "kind", "weight"),
    [
        *each_value_once(FAMILIES, [kind for kind in tiny_delta_loras.CONFIGURATIONS if kind != "dora"], [1.0, 0.6]),
        *(("sd", "dora", 1.0), ("sdxl", "dora", 1.0)),
    ],
)
def test_they_equal_the_layers_of_peft(
    specs: dict[str, ModelSpec], tmp_path: Path, family: str, kind: str, weight: float
) -> None:
    model = load(specs[family], CPU)
    tensors = tiny_delta_loras.tensors(tiny_delta_loras.injected(load(specs[family], CPU).unet, kind))
    assert any("conv" in name for name in tensors)
    ours = painted(model, [lora(tmp_path / "one.safetensors", family, tensors)], [weight])
    theirs = expected(specs[family], lambda model: tiny_delta_loras.injected(model.unet, kind, weight=weight))
    assert_equal(ours, theirs)
    assert not torch.allclose(ours, painted(model, [], []), atol=1e-2)


@pytest.mark.parametrize("weight", [1.0, 0.6])
def test_a_dora_of_peft_equals_its_layers_at_every_weight(
    specs: dict[str, ModelSpec], tmp_path: Path, weight: float
) -> None:
    model = load(specs["sd"], CPU)
    tensors = tiny_delta_loras.named_by_peft(tiny_delta_loras.injected(load(specs["sd"], CPU).unet, "dora"))
    ours = painted(model, [lora(tmp_path / "one.safetensors", "sd", tensors)], [weight])
    theirs = expected(specs["sd"], lambda one: tiny_delta_loras.injected(one.unet, "dora", weight=weight))
    assert_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name_of", "dots"),
    [
        ("unet.{}".format, True),
        pytest.param("base_model.model.unet.{}".format, True, marks=pytest.mark.full),
        pytest.param("base_model.model.{}".format, True, marks=pytest.mark.full),
        ("lora_unet_{}".format, False),
    ],
)
def test_the_names_of_every_trainer_are_read(
    specs: dict[str, ModelSpec], tmp_path: Path, name_of: Any, dots: bool
) -> None:
    tensors = tiny_delta_loras.tensors(
        tiny_delta_loras.injected(load(specs["sd"], CPU).unet, "loha"), name_of, dots=dots
    )
    ours = painted(load(specs["sd"], CPU), [lora(tmp_path / "one.safetensors", "sd", tensors)], [1.0])
    assert_equal(ours, expected(specs["sd"], lambda model: tiny_delta_loras.injected(model.unet, "loha")))


def test_names_of_the_original_layout_are_those_that_diffusers_reads(specs: dict[str, ModelSpec]) -> None:
    unet = load(specs["sdxl"], CPU).unet
    known = layers_by_name({"unet": unet}, original_name)
    per_block = unet.config.layers_per_block + 1
    layers = [path for path, _ in layers_of(unet)]
    for path in layers:
        original = original_layout.unet_name(f"{path}.weight", per_block).removesuffix(".weight")
        assert f"lora_unet_{original.replace('.', '_')}" in known, path
    assert len(layers) > 50


def test_a_plain_lora_in_names_of_peft_equals_the_one_in_names_of_diffusers(
    specs: dict[str, ModelSpec], tmp_path: Path
) -> None:
    model = load(specs["sd"], CPU)
    tensors = tiny_loras.weights(model.pipeline, parts=["unet"])
    plain = lora(tmp_path / "plain.safetensors", "sd", tensors)
    wrapped = lora(
        tmp_path / "wrapped.safetensors",
        "sd",
        {f"base_model.model.{name.removeprefix('unet.')}": tensor for name, tensor in tensors.items()},
    )
    assert_equal(painted(model, [wrapped], [0.7]), painted(model, [plain], [0.7]))


@pytest.mark.parametrize("weight", [1.0, -0.5])
def test_full_differences_are_added_to_weights_and_biases(
    specs: dict[str, ModelSpec], tmp_path: Path, weight: float
) -> None:
    model = load(specs["sd"], CPU)
    tensors = tiny_delta_loras.changed_weights(model.pipeline)

    def change(reference: Any) -> None:
        networks = {"lora_unet": reference.unet, "lora_te": reference.text_encoder}
        for prefix, network in networks.items():
            for path, layer in network.named_modules():
                for ending, name in (("diff", "weight"), ("w_norm", "weight"), ("diff_b", "bias"), ("b_norm", "bias")):
                    tensor = tensors.get(f"{prefix}_{path.replace('.', '_')}.{ending}")
                    if tensor is not None:
                        getattr(layer, name).data += weight * tensor

    ours = painted(model, [lora(tmp_path / "full.safetensors", "sd", tensors)], [weight])
    assert_equal(ours, expected(specs["sd"], change))


@pytest.mark.parametrize("is_output", [True, False])
def test_the_weight_of_a_dora_interpolates_between_the_model_and_the_merged_weights(is_output: bool) -> None:
    torch.manual_seed(0)
    for layer in (Linear(6, 5), Conv2d(6, 5, 3, padding=1)):
        up, down = torch.randn(5, 2), torch.randn(2, 6 * layer.weight[0, 0].numel())
        changed = layer.weight.detach() + 2.0 * (up @ down).reshape(layer.weight.shape)
        axis = 0 if is_output else 1
        norms = changed.transpose(0, axis).flatten(1).norm(dim=1)
        shape = [1] * layer.weight.ndim
        shape[axis] = -1
        scale = torch.rand(len(norms)) + 0.5
        merged = changed * (scale / norms).reshape(shape)
        if isinstance(layer, Conv2d):
            up, down = up[..., None, None], down.reshape(2, 6, 3, 3)
        tensors = {"up": up, "down": down, "alpha": torch.tensor(4.0), "dora_scale": scale.reshape(shape)}
        delta = LayerDelta.of(tensors, layer)
        inputs = torch.randn(2, 6, 8, 8) if isinstance(layer, Conv2d) else torch.randn(2, 7, 6)
        ours = layer(inputs) + delta.change(layer, inputs, layer(inputs), 0.4)
        layer.weight.data = layer.weight.data + 0.4 * (merged - layer.weight.data)
        torch.testing.assert_close(ours, layer(inputs), rtol=1e-4, atol=1e-4)


def test_a_locon_with_a_middle_is_three_convolutions() -> None:
    torch.manual_seed(0)
    layer = Conv2d(6, 5, 3, stride=2, padding=1)
    down, mid, up = torch.randn(2, 6, 1, 1), torch.randn(3, 2, 3, 3), torch.randn(5, 3, 1, 1)
    factors = {"down": down, "mid": mid, "up": up, "alpha": torch.tensor(1.0)}
    inputs = torch.randn(2, 6, 8, 8)
    between = torch.nn.functional.conv2d(inputs, down)
    between = torch.nn.functional.conv2d(between, mid, stride=2, padding=1)
    wanted = torch.nn.functional.conv2d(between, up) / 2
    change = LayerDelta.of(factors, layer).change(layer, inputs, layer(inputs), 1.0)
    torch.testing.assert_close(change, wanted, rtol=1e-4, atol=1e-4)


def test_without_them_the_model_is_bit_identical_to_before(specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    model = load(specs["sd"], CPU)
    before, held = painted(model, [], []), model.byte_count
    tensors = tiny_delta_loras.tensors(tiny_delta_loras.injected(load(specs["sd"], CPU).unet, "dora"))
    one = lora(tmp_path / "one.safetensors", "sd", tensors)
    full = lora(tmp_path / "full.safetensors", "sd", tiny_delta_loras.changed_weights(model.pipeline))
    plain = lora(tmp_path / "plain.safetensors", "sd", tiny_loras.weights(model.pipeline))
    painted(model, [one, full, plain], [1.0, 0.5, 0.5])
    assert model.byte_count > held
    assert torch.equal(painted(model, [], []), before)
    while model.loras.evict_one(keep=()):
        pass
    assert model.byte_count == held
    assert torch.equal(painted(model, [], []), before)


def test_they_are_added_to_plain_loras_and_fused_as_they_are_applied(
    specs: dict[str, ModelSpec], tmp_path: Path
) -> None:
    spec = specs["sd"]
    used = [
        lora(tmp_path / "plain.safetensors", "sd", tiny_loras.weights(load(spec, CPU).pipeline, parts=["unet"])),
        *(
            lora(
                tmp_path / f"{kind}.safetensors",
                "sd",
                tiny_delta_loras.tensors(tiny_delta_loras.injected(load(spec, CPU).unet, kind)),
            )
            for kind in ("dora", "lokr")
        ),
    ]
    weights = [0.5, 0.8, -0.3]
    model, fused = load(spec, CPU), load(spec, CPU)
    applied = painted(model, used, weights)
    active = active_loras(
        [LoraUse(active_lora.slug, weight) for active_lora, weight in zip(used, weights, strict=True)], used
    )
    for active_lora in active:
        fused.loras.load(active_lora)
    fused.loras.fuse_for_good(active)
    assert_equal(denoised(fused, ddim_request()), applied)
    alone = [painted(model, [active_lora], [weight]) for active_lora, weight in zip(used, weights, strict=True)]
    assert not any(torch.allclose(applied, previews, atol=1e-2) for previews in alone)


def test_one_of_another_shape_names_the_layer(specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    model = load(specs["sd"], CPU)
    tensors = tiny_delta_loras.changed_weights(model.pipeline) | {"lora_unet_conv_in.diff": torch.ones(3)}
    with pytest.raises(EngineFailed, match="lora_unet_conv_in") as failed:
        painted(model, [lora(tmp_path / "other.safetensors", "sd", tensors)], [1.0])
    assert failed.value.code == "lora_unfit"
    assert model.loras.byte_count == 0


@pytest.mark.parametrize("is_plain", [True, False])
def test_tensors_for_layers_that_the_model_lacks_are_named(
    specs: dict[str, ModelSpec], tmp_path: Path, is_plain: bool
) -> None:
    model = load(specs["sd"], CPU)
    more = {"unet.other.lora_A.weight": torch.ones(4, 3), "unet.other.lora_B.weight": torch.ones(3, 4)}
    tensors = tiny_loras.weights(model.pipeline) if is_plain else tiny_delta_loras.changed_weights(model.pipeline)
    used = lora(tmp_path / "other.safetensors", "sd", tensors | more)
    painted(model, [used], [1.0])
    (note,) = model.loras.notes(active_loras([LoraUse("other")], [used]))
    assert "unet.other.lora_A" in note
    assert "(2)" in note
    whole = lora(tmp_path / "whole.safetensors", "sd", tensors)
    painted(model, [whole], [1.0])
    assert model.loras.notes(active_loras([LoraUse("whole")], [whole])) == ()


@pytest.mark.parametrize("kind", ["plain", "dora"])
def test_the_differences_are_computed_when_the_file_is_read(
    specs: dict[str, ModelSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = load(specs["sd"], CPU)
    tensors = tiny_loras.weights(model.pipeline, parts=["unet"])
    if kind == "dora":
        tensors = tiny_delta_loras.tensors(tiny_delta_loras.injected(load(specs["sd"], CPU).unet, kind))
    used = lora(tmp_path / "one.safetensors", "sd", tensors)
    (active,) = active_loras([LoraUse("one")], [used])
    file = model.loras.read(active)
    modules = list(model.unet.named_modules())
    with monkeypatch.context() as patch:
        patch.setattr(LayerDelta, "of", lambda *_: pytest.fail("computed on the device's thread"))
        model.loras.load(active, file)
    assert modules == list(model.unet.named_modules())
    assert not torch.allclose(painted(model, [used], [1.0]), painted(model, [], []), atol=1e-2)


def test_shapes_are_checked_without_the_whole_product(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    product = delta_weights.product

    def noted(factors: dict[str, torch.Tensor]) -> torch.Tensor:
        devices.extend(factor.device.type for factor in factors.values())
        return product(factors)

    monkeypatch.setattr(delta_weights, "product", noted)
    layer, tensors = Linear(6, 5), {"up": torch.randn(5, 2), "down": torch.randn(2, 6)}
    LayerDelta.of(tensors, layer)
    assert devices == ["meta", "meta"]
    with pytest.raises(RuntimeError):
        LayerDelta.of(tensors, Linear(6, 7))
