"""Qwen-Image-Edit in the files of ComfyUI paints as the same weights in a folder in diffusers' layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from django.core.management import CommandError, call_command
from safetensors.torch import load_file

from inpainting.catalog import configurations
from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.serving.loading import model_loading
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.qwen_image.files import QWEN2_5_VL
from inpainting.models import InferenceModel
from inpainting.networks.device.float8 import Float8Linear
from inpainting.networks.device.quantization import is_quantized
from tests.contracts.family import assert_equal
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.engines.diffusion.plain_flow import request
from tests.support import split_files, tiny_models
from tests.support.dense_weights import dense_weights
from tests.support.gguf_files import gguf_file

pytestmark = pytest.mark.django_db
FAMILY = "qwen-image-edit"
TRANSFORMER = "diffusion_models/qwen_image_bf16.safetensors"
PARTS = ("text_encoders/qwen_2.5_vl_7b.safetensors", "vae/qwen_image_vae.safetensors")
PREPROCESSOR = "processor/preprocessor_config.json"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for area in ("VAE_IMAGE_SIZE", "CONDITION_IMAGE_SIZE"):
        monkeypatch.setattr(pipeline_qwenimage_edit_plus, area, 64 * 64)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """The whole model."""
    return tiny_models.saved(tmp_path / "whole", FAMILY)


@pytest.fixture
def named(spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callable[[str], Path]:
    """Names the transformer in a folder with the model's files. The published configurations are those of the model."""
    settings.MODELS_DIR = tmp_path / "models"
    assert spec.path is not None
    split_files.publish(FAMILY, spec.path, monkeypatch)
    split_files.write("qwen-image", spec.path, tmp_path / "comfyui")
    transformer = tmp_path / "comfyui" / TRANSFORMER
    return lambda name: transformer.rename(transformer.with_name(f"{name}.safetensors"))


def added(transformer: Path) -> InferenceModel:
    folder = transformer.parents[1]
    parts = [f"--part={folder / part}" for part in PARTS]
    call_command("add_model", "mine", f"--family={FAMILY}", f"--from={transformer}", *parts, stdout=StringIO())
    return InferenceModel.objects.get(slug="mine")


def requested() -> InpaintRequest:
    """An edit without a mask, with a reference image."""
    made = request(strength=1.0, guidance_scale=3.0, negative_prompt="blur")
    look = CanonicalImage(np.full((64, 48, 3), 200, np.uint8))
    return InpaintRequest(
        made.image,
        np.full_like(made.mask, 255),
        made.settings,
        has_mask=False,
        conditioning_images={"reference_image": look},
    )


def test_files_of_every_component_equal_the_whole_model(named: Callable[[str], Path], spec: ModelSpec) -> None:
    model: Any = load(added(named("qwen_image_edit_2509_bf16")).spec, CPU)
    assert not model.notes
    assert model.transformer.config.zero_cond_t is False
    assert_equal(denoised(model, requested()), denoised(load(spec, CPU), requested()))


@pytest.mark.parametrize("has_mark", [False, True])
def test_the_transformer_of_2511_sees_its_images_without_noise(
    named: Callable[[str], Path], spec: ModelSpec, has_mark: bool
) -> None:
    path = named("mine" if has_mark else "qwen_image_edit_2511_fp8_scaled")
    tensors = split_files.fp8(load_file(path), "transformer_blocks.", is_scaled=True)
    if has_mark:
        tensors = {f"model.diffusion_model.{name}": tensor for name, tensor in tensors.items()}
        tensors["model.diffusion_model.__index_timestep_zero__"] = torch.zeros(0)
    split_files.save(path, tensors)
    model: Any = load(added(path).spec, CPU)
    assert not model.notes
    expected: Any = load(spec, CPU)
    for name, own in expected.transformer.state_dict().items():
        own.copy_(dense_weights(model.transformer)[name])
    expected.transformer.register_to_config(zero_cond_t=True)
    for network in (expected.transformer, *expected.transformer.transformer_blocks):
        network.zero_cond_t = True
    assert_equal(denoised(model, requested()), denoised(expected, requested()))


def test_a_text_encoder_in_scaled_fp8_sees_images_as_its_numbers(
    named: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = named("qwen_image_edit_2509_bf16")
    encoder = path.parents[1] / PARTS[0]
    split_files.save(encoder, split_files.fp8(load_file(encoder), ".", is_scaled=True))
    spec = added(path).spec
    model: Any = load(spec, CPU)
    assert not model.notes
    layers = [
        layer for layer in model.pipeline.text_encoder.model.visual.modules() if isinstance(layer, torch.nn.Linear)
    ]
    assert layers
    assert all(isinstance(layer, Float8Linear) for layer in layers)
    monkeypatch.setattr(model_loading, "keep_float8", lambda *_: None)
    assert torch.equal(denoised(model, requested()), denoised(load(spec, CPU), requested()))


def test_a_scan_adds_the_files_with_the_defaults_of_their_names(named: Callable[[str], Path], spec: ModelSpec) -> None:
    path = named("Qwen-Rapid-AIO-v5")
    output = StringIO()
    call_command("add_model", "--scan", str(path.parents[1]), "--add", stdout=output)
    assert "checkpoint qwen-image-edit" in output.getvalue(), output.getvalue()
    model = InferenceModel.objects.get(family=FAMILY, state="installed")
    assert (model.family, model.steps, model.guidance_scale) == (FAMILY, 4, 1.0)
    assert_equal(denoised(load(model.spec, CPU), requested()), denoised(load(spec, CPU), requested()))


def test_a_gguf_file_of_the_transformer_is_computed_with(named: Callable[[str], Path], spec: ModelSpec) -> None:
    path = named("qwen-image-edit-2509-Q8_0")
    gguf = gguf_file(load_file(path), path.with_suffix(".gguf"), "Q8_0")
    split_files.save(path, gguf)
    painted = []
    for origin in (path.with_suffix(".gguf"), path):
        model = added(origin)
        loaded: Any = load(model.spec, CPU)
        assert is_quantized(loaded.transformer) == (origin.suffix == ".gguf")
        painted.append(denoised(loaded, requested()))
        model.delete()
    torch.testing.assert_close(*painted, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "family", "reason"),
    [
        ("qwen_image_edit_fp8_e4m3fn", FAMILY, "is the first Qwen-Image-Edit by its name"),
        ("qwen_image_edit_2509_bf16", "qwen-image", "add it with --family qwen-image-edit"),
    ],
)
def test_a_transformer_of_another_model_is_refused(
    named: Callable[[str], Path], name: str, family: str, reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        call_command("add_model", "mine", f"--family={family}", f"--from={named(name)}", stdout=StringIO())


def test_the_published_processor_scales_images_as_the_one_of_the_folder(spec: ModelSpec, tmp_path: Path) -> None:
    configurations.write_components(QWEN2_5_VL, tmp_path / "published", {"processor"})
    (path,) = (tmp_path / "published").rglob("*.json")
    own = Path(str(spec.path)) / PREPROCESSOR
    published, numbers = json.loads(path.read_text()), json.loads(own.read_text())
    assert {name: published[name] for name in numbers if not name.endswith(("_type", "_class"))} == {
        name: value for name, value in numbers.items() if not name.endswith(("_type", "_class"))
    }
    expected = load(spec, CPU)
    shutil.copy(path, own)
    assert_equal(denoised(load(spec, CPU), requested()), denoised(expected, requested()))
