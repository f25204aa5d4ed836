"""LoRAs for FLUX.1 Fill in the names of every trainer, equal to diffusers' pipeline with its own loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from inpainting.catalog.inspection.lora_files import LoraRefused, check_lora
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLoras, active_loras
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.flux_fill.network import FluxFill
from tests.engines.diffusion.flux_reference import assert_equal, diffusers_result, request
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.support import tiny_loras, tiny_models

RANK = 4
IMAGE, TEXT = ("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")
SINGLE = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
WHOLE = {
    "transformer_blocks.0.attn.to_out.0": "double_blocks.0.img_attn.proj",
    "transformer_blocks.0.ff.net.0.proj": "double_blocks.0.img_mlp.0",
    "transformer_blocks.0.ff_context.net.2": "double_blocks.0.txt_mlp.2",
    "transformer_blocks.0.norm1.linear": "double_blocks.0.img_mod.lin",
    "single_transformer_blocks.0.proj_out": "single_blocks.0.linear2",
    "single_transformer_blocks.0.norm.linear": "single_blocks.0.modulation.lin",
}
FUSED = {
    "double_blocks.0.img_attn.qkv": [f"transformer_blocks.0.attn.{name}" for name in IMAGE],
    "double_blocks.0.txt_attn.qkv": [f"transformer_blocks.0.attn.{name}" for name in TEXT],
    "single_blocks.0.linear1": [f"single_transformer_blocks.0.{name}" for name in SINGLE],
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "flux", "flux-fill")


@pytest.fixture(scope="module")
def model(spec: ModelSpec) -> FluxFill:
    loaded = load(spec, CPU)
    assert isinstance(loaded, FluxFill)
    return loaded


Pair = tuple[torch.Tensor, torch.Tensor]


def pairs(model: FluxFill) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """(down, up) by layer, in diffusers' names and the same in the original's."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.15

    ours: dict[str, Pair] = {}
    theirs: dict[str, Pair] = {}
    for path, original in WHOLE.items():
        layer = model.transformer.get_submodule(path)
        ours[path] = theirs[original] = (normal(RANK, layer.in_features), normal(layer.out_features, RANK))
    for original, paths in FUSED.items():
        layers = [model.transformer.get_submodule(path) for path in paths]
        down = normal(RANK, layers[0].in_features)
        ups = [normal(layer.out_features, RANK) for layer in layers]
        ours |= {path: (down, up) for path, up in zip(paths, ups, strict=True)}
        theirs[original] = (down, torch.cat(ups))
    return ours, theirs


def named(found: dict[str, Pair], prefix: str, *, is_kohya: bool = False) -> dict[str, torch.Tensor]:
    """Tensors with these prefixes. is_kohya: with underscores and an alpha of the rank."""
    tensors: dict[str, torch.Tensor] = {}
    for path, (down, up) in found.items():
        stem = prefix + (path.replace(".", "_") if is_kohya else path)
        first, second = ("lora_down", "lora_up") if is_kohya else ("lora_A", "lora_B")
        tensors |= {f"{stem}.{first}.weight": down.clone(), f"{stem}.{second}.weight": up.clone()}
        if is_kohya:
            tensors[f"{stem}.alpha"] = torch.tensor(float(RANK))
    return tensors


def text_layers(model: FluxFill) -> dict[str, torch.Tensor]:
    return tiny_loras.weights(model.pipeline, parts=["text_encoder"], rank=RANK)


def painted(model: FluxFill, path: Path, weight: float = 1.0) -> tuple[torch.Tensor, ActiveLoras]:
    used = LoraSpec(slug=path.stem, label=path.stem, family="flux-fill", digest=path.stem, path=path)
    active = active_loras([LoraUse(path.stem, weight)], [used])
    for lora in model.loras.missing(active):
        model.loras.load(lora)
    model.loras.activate(active)
    return denoised(model, request()), active


def reference(spec: ModelSpec, path: Path, weight: float = 1.0) -> torch.Tensor:
    """The result of diffusers' pipeline with the LoRA loaded by its own loader."""
    fresh = load(spec, CPU)
    assert isinstance(fresh, FluxFill)
    pipeline = diffusers.FluxFillPipeline(**fresh.pipeline.components)
    for component in (pipeline.text_encoder,):
        component.__dict__.pop("text_model", None)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="one", local_files_only=True)
    pipeline.set_adapters(["one"], [weight])
    result: torch.Tensor = diffusers_result(fresh, request())
    return result


@pytest.mark.parametrize("weight", [1.0, 0.6])
def test_names_of_diffusers_equal_the_reference_pipeline(
    spec: ModelSpec, model: FluxFill, tmp_path: Path, weight: float
) -> None:
    tensors = named(pairs(model)[0], "transformer.") | text_layers(model)
    path = tiny_loras.saved(tmp_path / f"diffusers-{weight}.safetensors", tensors)
    ours, active = painted(model, path, weight)
    assert_equal(ours, reference(spec, path, weight))
    assert model.loras.notes(active) == ()
    model.loras.activate(())
    assert not torch.allclose(denoised(model, request()), ours, atol=1e-2)


def test_names_of_kohya_equal_the_reference_pipeline(spec: ModelSpec, model: FluxFill, tmp_path: Path) -> None:
    # diffusers splits linear1 at the published widths, which the tiny model does not have.
    found = {path: pair for path, pair in pairs(model)[1].items() if not path.endswith("linear1")}
    text = tiny_loras.weights(model.pipeline, parts=["text_encoder"], kohya=True, rank=RANK)
    tensors = named(found, "lora_unet_", is_kohya=True)
    tensors |= {name.replace("lora_te_", "lora_te1_"): tensor for name, tensor in text.items()}
    tensors["lora_unet_double_blocks_0_img_attn_qkv.alpha"] = torch.tensor(1.0)
    path = tiny_loras.saved(tmp_path / "kohya.safetensors", tensors)
    assert_equal(painted(model, path, 0.7)[0], reference(spec, path, 0.7))


@pytest.mark.parametrize(
    ("prefix", "is_kohya"),
    [("diffusion_model.", False), ("base_model.model.", False), ("lora_unet_", True)],
)
def test_names_of_the_original_equal_those_of_diffusers(
    model: FluxFill, tmp_path: Path, prefix: str, is_kohya: bool
) -> None:
    ours, theirs = pairs(model)
    plain = tiny_loras.saved(tmp_path / "plain.safetensors", named(ours, "transformer."))
    other = tiny_loras.saved(tmp_path / f"{prefix[:4]}.safetensors", named(theirs, prefix, is_kohya=is_kohya))
    assert_equal(painted(model, other)[0], painted(model, plain)[0])


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_other_kinds_change_fused_layers_as_their_product_does(model: FluxFill, tmp_path: Path, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [model.transformer.get_submodule(path) for path in FUSED["single_blocks.0.linear1"]]
    outputs, inputs = sum(layer.out_features for layer in layers), layers[0].in_features

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    name = "lora_unet_single_blocks_0_linear1"
    if kind == "loha":
        factors = {f"hada_w{n}_a": normal(outputs, 2) for n in (1, 2)}
        factors |= {f"hada_w{n}_b": normal(2, inputs) for n in (1, 2)} | {"alpha": torch.tensor(1.0)}
        difference = (factors["hada_w1_a"] @ factors["hada_w1_b"]) * (factors["hada_w2_a"] @ factors["hada_w2_b"]) / 2
    else:
        factors = {"lokr_w1": normal(outputs // 8, 4), "lokr_w2": normal(8, inputs // 4), "alpha": torch.tensor(1.0)}
        difference = torch.kron(factors["lokr_w1"], factors["lokr_w2"])
    other = tiny_loras.saved(
        tmp_path / f"{kind}.safetensors", {f"{name}.{factor}": tensor for factor, tensor in factors.items()}
    )
    changed, _ = painted(model, other, 0.5)
    model.loras.activate(())
    before = [layer.weight.detach().clone() for layer in layers]
    for layer, share in zip(layers, difference.split([layer.out_features for layer in layers]), strict=True):
        layer.weight.data += 0.5 * share
    merged = denoised(model, request())
    for layer, weight in zip(layers, before, strict=True):
        layer.weight.data = weight
    assert_equal(changed, merged)


@pytest.mark.parametrize("weight", [1.0, 0.5])
@pytest.mark.parametrize("is_of_inputs", [True, False])
def test_the_norms_of_a_dora_belong_to_a_fused_layer_as_a_whole(
    model: FluxFill, tmp_path: Path, is_of_inputs: bool, weight: float
) -> None:
    """The first versions of LyCORIS have a norm for each input, later ones for each output."""
    generator = torch.Generator().manual_seed(0)
    layers = [model.transformer.get_submodule(path) for path in FUSED["double_blocks.0.img_attn.qkv"]]
    down = torch.randn(RANK, layers[0].in_features, generator=generator) * 0.3
    up = torch.randn(sum(layer.out_features for layer in layers), RANK, generator=generator) * 0.3
    before = torch.cat([layer.weight.detach() for layer in layers])
    merged = before + up @ down
    side = 0 if is_of_inputs else 1
    norm = before.norm(dim=side, keepdim=True) * (
        0.5 + torch.rand(before.shape[1 - side], generator=generator)
    ).reshape((1, -1) if is_of_inputs else (-1, 1))
    merged = merged * norm / merged.norm(dim=side, keepdim=True)
    stem = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.dora_scale": norm}
    path = tiny_loras.saved(tmp_path / f"dora-{side}-{weight}.safetensors", tensors)
    changed, active = painted(model, path, weight)
    model.loras.fuse(active, model.network)
    model.loras.activate(active)
    fused = denoised(model, request())
    model.loras.unfuse()
    model.loras.activate(())
    plain = denoised(model, request())
    rows = [layer.out_features for layer in layers]
    for layer, whole, own in zip(layers, merged.split(rows), before.split(rows), strict=True):
        layer.weight.data = own + weight * (whole - own)
    expected = denoised(model, request())
    for layer, own in zip(layers, before.split(rows), strict=True):
        layer.weight.data = own.clone()
    assert_equal(changed, expected)
    assert_equal(fused, expected)
    assert not torch.allclose(expected, plain, atol=1e-2)


def test_an_input_layer_of_fewer_channels_changes_the_first_ones(
    spec: ModelSpec, model: FluxFill, tmp_path: Path
) -> None:
    embedder = model.transformer.x_embedder
    pair = torch.randn(RANK, 64) * 0.2, torch.randn(embedder.out_features, RANK) * 0.2
    path = tiny_loras.saved(tmp_path / "input.safetensors", named({"x_embedder": pair}, "transformer."))
    assert_equal(painted(model, path)[0], reference(spec, path))
    assert embedder.in_features > 64


def test_layers_of_t5_are_named_in_a_note(model: FluxFill, tmp_path: Path) -> None:
    theirs = named(pairs(model)[1], "lora_unet_", is_kohya=True)
    t5 = "lora_te3_encoder_block_0_layer_0_SelfAttention_q"
    theirs |= {f"{t5}.lora_down.weight": torch.ones(2, 32), f"{t5}.lora_up.weight": torch.ones(32, 2)}
    _, active = painted(model, tiny_loras.saved(tmp_path / "t5.safetensors", theirs))
    (note,) = model.loras.notes(active)
    assert t5 in note


def test_without_it_the_model_is_bit_identical_to_before(spec: ModelSpec, tmp_path: Path) -> None:
    model: Any = load(spec, CPU)
    before = denoised(model, request())
    for number, tensors in enumerate(
        (named(pairs(model)[0], "transformer."), named(pairs(model)[1], "diffusion_model."))
    ):
        painted(model, tiny_loras.saved(tmp_path / f"{number}.safetensors", tensors))
        model.loras.activate(())
        assert torch.equal(denoised(model, request()), before)


@pytest.mark.parametrize("prefix", ["transformer.", "lora_unet_"])
def test_the_family_is_known_by_its_blocks(model: FluxFill, tmp_path: Path, prefix: str) -> None:
    ours, theirs = pairs(model)
    tensors = named(theirs, prefix, is_kohya=True) if prefix == "lora_unet_" else named(ours, prefix)
    path = tiny_loras.saved(tmp_path / "one.safetensors", tensors)
    check_lora(path, "flux-fill")
    for other in ("sd", "sdxl"):
        with pytest.raises(LoraRefused):
            check_lora(path, other)


@pytest.mark.parametrize("is_original", [True, False])
def test_fused_into_the_transformer_they_equal_hooks_and_leave_it_bit_identical(
    spec: ModelSpec, tmp_path: Path, is_original: bool
) -> None:
    model: Any = load(spec, CPU)
    before, weights = denoised(model, request()), list(model.transformer.parameters())
    tensors = named(pairs(model)[1], "diffusion_model.") if is_original else named(pairs(model)[0], "transformer.")
    hooked, active = painted(model, tiny_loras.saved(tmp_path / "one.safetensors", tensors), 0.7)
    model.loras.fuse(active, model.network)
    model.loras.activate(active)
    assert_equal(denoised(model, request()), hooked)
    assert not any(layer._forward_hooks for layer in model.transformer.modules())
    model.loras.unfuse()
    assert torch.equal(denoised(model, request()), before)
    assert all(parameter is own for parameter, own in zip(model.transformer.parameters(), weights, strict=True))
