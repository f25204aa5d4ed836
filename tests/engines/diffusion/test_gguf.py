"""FLUX.1's transformer in a GGUF file: it stays quantised in memory, and paints as diffusers' reading of it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxFillPipeline, FluxTransformer2DModel, GGUFQuantizationConfig
from django.core.management import call_command
from safetensors.torch import load_file

from inpainting.catalog.specs import LoraSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora
from inpainting.engines.diffusion.serving.loading.model_loading import load, weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.models import InferenceModel
from inpainting.networks.device import quantization
from inpainting.networks.device.hardware import Offload
from tests.engines.diffusion import flux_files
from tests.engines.diffusion.flux_reference import assert_equal, diffusers_result, request
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.engines.diffusion.serving.devices import give_the_cpu_one_name
from tests.support import split_files, tiny_loras
from tests.support.gguf_files import gguf_file

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    flux_files.allow_tiny(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole model in diffusers' layout."""
    return flux_files.saved(tmp_path_factory.mktemp("flux") / "whole")


def added(path: Path, *arguments: str) -> InferenceModel:
    call_command("add_model", "fill", "--family", "flux-fill", "--from", str(path), *arguments, stdout=StringIO())
    return InferenceModel.objects.get(slug="fill")


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "BF16", "F16"])
def test_it_paints_as_diffusers_reading_of_the_same_file(whole: Path, tmp_path: Path, kind: str) -> None:
    path = flux_files.save_gguf_of(whole, tmp_path / f"flux1-fill-{kind}.gguf", kind)
    spec = added(path, "--config", str(whole)).spec
    model: Any = load(spec, CPU)
    assert not model.notes
    requested = request(strength=0.8)
    latents = denoised(model, requested)
    reference = FluxFillPipeline.from_pretrained(
        whole,
        transformer=FluxTransformer2DModel.from_single_file(
            str(path),
            config=str(whole / "transformer"),
            torch_dtype=torch.float32,
            quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32),
        ),
    )
    model.pipeline.register_modules(**reference.components)
    assert_equal(latents, diffusers_result(model, requested, scheduler=reference.scheduler))


@pytest.mark.parametrize("family", ["flux-dev", "flux-kontext"])
def test_those_of_other_models_of_flux_1_equal_their_numbers(tmp_path: Path, family: str) -> None:
    whole = flux_files.saved(tmp_path / "whole", family)
    path = flux_files.save_file_of(whole, tmp_path / f"{family}.safetensors")
    split_files.save(path, gguf_file(load_file(path), path.with_suffix(".gguf"), "Q8_0"))
    painted = []
    for origin in (path.with_suffix(".gguf"), path):
        row = split_files.added(family, origin, config=whole)
        model: Any = load(row.spec, CPU)
        assert not model.notes
        assert quantization.is_quantized(model.transformer) == (origin.suffix == ".gguf")
        painted.append(denoised(model, request(strength=0.8)))
        row.delete()
    torch.testing.assert_close(*painted, rtol=1e-2, atol=2e-3)  # diffusers' scales are of 16 bits


def test_its_weights_stay_quantised_in_memory(whole: Path, tmp_path: Path) -> None:
    spec = added(flux_files.save_gguf_of(whole, tmp_path / "fill.gguf"), "--config", str(whole)).spec
    call_command("add_model", "whole", "--family", "flux-fill", "--from", str(whole), stdout=StringIO())
    sizes = {
        model_spec.slug: (ModelCache(CPU, 10**9).get(model_spec).byte_count, weights_bytes(model_spec, torch.float32))
        for model_spec in (spec, InferenceModel.objects.get(slug="whole").spec)
    }
    for actual, predicted in sizes.values():
        assert abs(predicted - actual) < 0.05 * actual
    assert sizes["fill"][0] < 0.6 * sizes["whole"][0]


@pytest.mark.parametrize("kind", ["plain", "dora"])
def test_a_lora_changes_it_as_it_changes_the_whole_model(whole: Path, tmp_path: Path, kind: str) -> None:
    added(flux_files.save_gguf_of(whole, tmp_path / "fill.gguf"), "--config", str(whole))
    call_command("add_model", "whole", "--family", "flux-fill", "--from", str(whole), stdout=StringIO())
    layer = "transformer_blocks.0.attn.to_q"
    linear = FluxTransformer2DModel.from_pretrained(whole / "transformer").get_submodule(layer)
    generator = torch.Generator().manual_seed(1)
    tensors = {
        f"transformer.{layer}.lora_A.weight": torch.randn(4, linear.in_features, generator=generator),
        f"transformer.{layer}.lora_B.weight": torch.randn(linear.out_features, 4, generator=generator),
    }
    if kind == "dora":
        tensors[f"transformer.{layer}.lora_magnitude_vector"] = 2 * linear.weight.detach().norm(dim=1)
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tensors)
    lora = ActiveLora(LoraSpec(slug="ink", label="Ink", family="flux-fill", digest="ink", path=path), 1.0)
    changes = []
    for slug in ("fill", "whole"):
        model: Any = load(InferenceModel.objects.get(slug=slug).spec, CPU)
        plain = denoised(model, request())
        model.loras.load(lora)
        model.loras.activate((lora,))
        changes.append(denoised(model, request()) - plain)
        model.loras.activate(())
        assert torch.equal(denoised(model, request()), plain)
    assert (changes[0] - changes[1]).norm() < 0.2 * changes[1].norm()
    assert changes[1].norm() > 0.01


@pytest.mark.parametrize("offload", [Offload.COMPONENTS, Offload.LAYERS])
def test_it_paints_the_same_in_parts(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offload: Offload
) -> None:
    give_the_cpu_one_name(monkeypatch)
    spec = added(flux_files.save_gguf_of(whole, tmp_path / "fill.gguf"), "--config", str(whole)).spec
    requested = request()
    model: Any = load(spec, CPU, offload)
    assert_equal(denoised(model, requested), denoised(load(spec, CPU), requested))
    assert not any(tensor.is_meta for tensor in model.pipeline.transformer.parameters())
    assert any(tensor.is_meta for tensor in model.pipeline.text_encoder_2.parameters()) == (offload is Offload.LAYERS)


def test_without_the_library_the_error_names_the_command(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = added(flux_files.save_gguf_of(whole, tmp_path / "fill.gguf"), "--config", str(whole)).spec
    monkeypatch.setattr(quantization, "is_installed", lambda library: False)
    with pytest.raises(EngineFailed, match="pip install gguf") as failed:
        load(spec, CPU)
    assert failed.value.code == "model_unavailable"
