"""FLUX.1 Kontext's transformer in one file is added as FLUX.1 Fill's is, where its family is stated."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxKontextInpaintPipeline
from django.core.management import CommandError, call_command

from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.models import InferenceModel
from tests.engines.diffusion import flux_files
from tests.engines.diffusion.flux_reference import request
from tests.engines.diffusion.pipelines import CPU, denoised

pytestmark = pytest.mark.django_db


@pytest.fixture
def kontext(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """The whole model in diffusers' layout."""
    settings.MODELS_DIR = tmp_path / "models"
    flux_files.allow_tiny(monkeypatch)
    return flux_files.saved(tmp_path / "whole", "flux-kontext")


def add(path: Path, family: str, *options: str) -> None:
    call_command("add_model", "mine", f"--family={family}", f"--from={path}", *options, stdout=StringIO())


def test_a_file_with_the_parts_of_a_folder_equals_the_whole_model(kontext: Path, tmp_path: Path) -> None:
    path = flux_files.save_file_of(kontext, tmp_path / "flux1-dev-kontext.safetensors")
    add(path, "flux-kontext", "--config", str(kontext))
    model: Any = load(InferenceModel.objects.get(slug="mine").spec, CPU)
    assert not model.notes
    requested = request(strength=0.8)
    latents = denoised(model, requested)
    model.pipeline.register_modules(**FluxKontextInpaintPipeline.from_pretrained(kontext).components)
    model.transformer = model.pipeline.transformer
    torch.testing.assert_close(latents, denoised(model, requested), rtol=1e-4, atol=1e-4)


def test_the_family_of_a_file_must_be_stated_and_fit(kontext: Path, tmp_path: Path) -> None:
    path = flux_files.save_file_of(kontext, tmp_path / "kontext.safetensors")
    with pytest.raises(CommandError) as caught:
        add(path, "flux-fill", "--config", str(kontext))
    assert "--family flux-kontext if it is FLUX.1 Kontext." in str(caught.value)
    fill = flux_files.save_file_of(flux_files.saved(tmp_path / "fill"), tmp_path / "fill.safetensors")
    with pytest.raises(CommandError, match="Add it with --family flux-fill"):
        add(fill, "flux-kontext", "--config", str(kontext))
    output = StringIO()
    call_command("add_model", "--scan", str(tmp_path), stdout=output)
    (line,) = [line for line in output.getvalue().splitlines() if "kontext.safetensors" in line]
    assert line.startswith("  left")
    assert "is the transformer of FLUX.1 Kontext alone." in line
    assert "--family flux-kontext" in line


def test_a_scan_takes_a_file_for_kontext_by_its_name_alone(kontext: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for name in ("flux1-dev-kontext", "mine"):
        flux_files.save_file_of(kontext, tmp_path / "files" / f"{name}.safetensors")
    output = StringIO()
    call_command("add_model", "--scan", str(tmp_path / "files"), stdout=output)
    named, other, _ = output.getvalue().splitlines()
    assert "is the transformer of FLUX.1 Kontext alone." in named
    assert "is the transformer of FLUX.1 [dev] alone." in other
    assert "Type “python manage.py add_model mine --family flux-dev --from" in other
