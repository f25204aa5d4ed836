"""The transformers of FLUX.1 [dev] and [schnell] in one file are added as FLUX.1 Fill's is."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxInpaintPipeline
from django.core.management import call_command

from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.models import InferenceModel
from tests.engines.diffusion import flux_files
from tests.engines.diffusion.flux_reference import FluxDevContract, assert_equal
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.engines.diffusion.plain_flow import request

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    flux_files.allow_tiny(monkeypatch)


def saved(folder: Path, *, guidance: bool = True) -> Path:
    """The whole model in diffusers' layout."""
    return flux_files.saved(folder / "whole", "flux-dev", guidance=guidance)


def added(path: Path, *options: str) -> InferenceModel:
    call_command("add_model", "mine", "--family=flux-dev", f"--from={path}", *options, stdout=StringIO())
    return InferenceModel.objects.get(slug="mine")


@pytest.mark.parametrize("name", ["flux1-dev.safetensors", "my-merge.safetensors"])
def test_a_file_with_the_parts_of_a_folder_equals_the_whole_model(tmp_path: Path, name: str) -> None:
    whole = saved(tmp_path)
    row = added(flux_files.save_file_of(whole, tmp_path / name), "--config", str(whole))
    model: Any = load(row.spec, CPU)
    assert not model.notes
    assert (row.steps, row.guidance_scale, row.strength) == (28, 3.5, 0.75)
    requested = request(strength=0.8)
    latents = denoised(model, requested)
    reference = FluxInpaintPipeline.from_pretrained(whole)
    model.pipeline.register_modules(**reference.components)  # diffusers' reading of the whole model in its layout
    assert_equal(latents, FluxDevContract().reference_result(model, requested, scheduler=reference.scheduler))


@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
def test_a_file_without_guidance_is_schnell_of_four_steps_that_are_not_shifted(tmp_path: Path, suffix: str) -> None:
    whole, path = saved(tmp_path, guidance=False), tmp_path / f"mine{suffix}"
    (flux_files.save_gguf_of if suffix == ".gguf" else flux_files.save_file_of)(whole, path)
    row = added(path, "--config", str(whole))
    assert (row.steps, row.strength) == (4, 0.75)
    model: Any = load(row.spec, CPU)
    assert model.max_tokens == 256
    assert (model.scheduler_config["shift"], model.scheduler_config["use_dynamic_shifting"]) == (1.0, False)
    assert torch.isfinite(denoised(model, request(strength=0.8))).all()


def test_its_other_components_are_shared_with_an_installed_model_of_fill(tmp_path: Path, settings: Any) -> None:
    whole = flux_files.saved(tmp_path / "fill")
    call_command("add_model", "fill", "--family=flux-fill", f"--from={whole}", stdout=StringIO())
    row = added(flux_files.save_file_of(saved(tmp_path), tmp_path / "flux1-dev.safetensors"))
    encoder = "text_encoder_2/model.safetensors"
    assert (row.folder / encoder).samefile(settings.MODELS_DIR / "fill" / encoder)
    assert torch.isfinite(denoised(load(row.spec, CPU), request())).all()


def test_the_folder_of_a_text_to_image_pipeline_is_added(tmp_path: Path) -> None:
    whole = saved(tmp_path)
    index = whole / "model_index.json"
    text = index.read_text()
    assert '"FluxInpaintPipeline"' in text
    index.write_text(text.replace('"FluxInpaintPipeline"', '"FluxPipeline"'))
    assert torch.isfinite(denoised(load(added(whole).spec, CPU), request())).all()
