"""FLUX.1 Fill's transformer in one file is added with the parts of another model, and paints as diffusers' pipeline."""

from __future__ import annotations

import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxFillPipeline
from django.core.management import CommandError, call_command
from safetensors.torch import load_file, save_file

from inpainting import families
from inpainting.catalog.inspection.model_files import check_model
from inpainting.core.errors import EngineFailed
from inpainting.core.setting import DIFFUSION
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.models import InferenceModel
from tests.engines.diffusion import flux_files
from tests.engines.diffusion.flux_reference import assert_equal, diffusers_result, request
from tests.engines.diffusion.pipelines import CPU, denoised

pytestmark = pytest.mark.django_db
PREFIX = "model.diffusion_model."


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    flux_files.allow_tiny(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole model in diffusers' layout."""
    return flux_files.saved(tmp_path_factory.mktemp("flux") / "whole")


@pytest.fixture
def parts(whole: Path, tmp_path: Path) -> Path:
    """What a transformer alone lacks, without a model_index.json."""
    for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae"):
        shutil.copytree(whole / name, tmp_path / "parts" / name)
    return tmp_path / "parts"


def added(path: Path, *arguments: str, slug: str = "fill", family: str = "flux-fill") -> InferenceModel:
    call_command("add_model", slug, "--family", family, "--from", str(path), *arguments, stdout=StringIO())
    return InferenceModel.objects.get(slug=slug)


def refusal(path: Path, *arguments: str, family: str = "flux-fill") -> str:
    with pytest.raises(CommandError) as caught:
        added(path, *arguments, family=family)
    assert not InferenceModel.objects.filter(slug="fill").exists()
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_a_file_with_the_parts_of_a_folder_equals_the_whole_model(
    whole: Path, parts: Path, tmp_path: Path, prefix: str
) -> None:
    path = flux_files.save_file_of(whole, tmp_path / "flux1-fill.safetensors", prefix=prefix)
    model: Any = load(added(path, "--config", str(parts)).spec, CPU)
    assert not model.notes
    requested = request(strength=0.8)
    reference = FluxFillPipeline.from_pretrained(whole)
    latents = denoised(model, requested)
    model.pipeline.register_modules(**reference.components)  # diffusers' reading of the whole model in its layout
    assert_equal(latents, diffusers_result(model, requested, scheduler=reference.scheduler))


def test_it_shares_the_files_of_an_installed_model(whole: Path, tmp_path: Path, settings: Any) -> None:
    added(whole, slug="whole")
    path = flux_files.save_file_of(whole, tmp_path / "tuned.safetensors")
    for arguments in ([], ["--config", "whole"]):
        model = added(path, *arguments)
        encoder = "text_encoder_2/model.safetensors"
        assert (model.folder / encoder).samefile(settings.MODELS_DIR / "whole" / encoder)
        assert not (model.folder / "transformer/diffusion_pytorch_model.safetensors").samefile(path)
        assert load(model.spec, CPU).pipeline.transformer.config.num_single_layers == 2
        model.delete()
        shutil.rmtree(model.folder)


def test_a_file_of_a_model_without_guidance_has_none(tmp_path: Path) -> None:
    folder = flux_files.saved(tmp_path / "whole", guidance=False)
    path = flux_files.save_file_of(folder, tmp_path / "flux.safetensors")
    model: Any = load(added(path, "--config", str(folder)).spec, CPU)
    assert not model.transformer.config.guidance_embeds


def test_tensors_that_nothing_reads_are_named(whole: Path, parts: Path, tmp_path: Path) -> None:
    path = flux_files.save_file_of(whole, tmp_path / "flux.safetensors", **{"redux_in.weight": torch.zeros(2)})
    assert any("redux_in.weight" in note for note in load(added(path, "--config", str(parts)).spec, CPU).notes)


def test_a_missing_tensor_is_an_error(whole: Path, parts: Path, tmp_path: Path) -> None:
    path = flux_files.save_file_of(whole, tmp_path / "flux.safetensors")
    tensors = load_file(path)
    del tensors["single_blocks.1.linear2.weight"]
    save_file(tensors, path)
    with pytest.raises(EngineFailed, match="transformer lacks weights"):
        load(added(path, "--config", str(parts)).spec, CPU)


def test_without_its_parts_the_command_that_gets_them_is_named(whole: Path, parts: Path, tmp_path: Path) -> None:
    path = flux_files.save_file_of(whole, tmp_path / "flux.safetensors")
    message = refusal(path)
    assert "--config FOLDER" in message
    assert "hf download black-forest-labs/FLUX.1-Fill-dev --include 'text_encoder*/*'" in message
    shutil.rmtree(parts / "tokenizer_2")
    assert "It holds no folder tokenizer_2." in refusal(path, "--config", str(parts))
    (parts / "text_encoder_2/config.json").write_text('{"d_model": 4096}')
    assert "text_encoder_2 gives features of “4096”, the transformer takes 32" in refusal(path, "--config", str(parts))


@pytest.mark.parametrize(
    ("name", "channels", "has_guidance", "family", "reason"),
    [
        (
            "flux1-dev",
            64,
            True,
            "flux-kontext",
            "is FLUX.1 [dev] by its name, not FLUX.1 Kontext: add it with --family",
        ),
        ("flux1-krea-dev", 64, True, "flux-kontext", "is FLUX.1 Krea by its name, not FLUX.1 Kontext: add it with"),
        ("kontext", 64, False, "flux-kontext", "is FLUX.1 [schnell] or a model that was trained from it, not FLUX.1 K"),
        ("flux1-dev-kontext", 64, True, "flux-dev", "is FLUX.1 Kontext by its name, not FLUX.1 [dev]: add it with"),
        ("mine", 64, True, "flux-fill", "--family flux-dev if it is FLUX.1 [dev] or --family flux-kontext if it is"),
        ("mine", 384, True, "flux-dev", "has 64. Add it with --family flux-fill if it is FLUX.1 Fill."),
        ("mine", 128, True, "flux-dev", "is FLUX.1 Canny or Depth (it has 128 input channels),"),
        ("mine", 128, True, "flux-fill", "is FLUX.1 Canny or Depth (it has 128 input channels),"),
    ],
)
def test_a_transformer_of_another_flux_is_refused_with_the_reason(
    whole: Path, parts: Path, tmp_path: Path, name: str, channels: int, has_guidance: bool, family: str, reason: str
) -> None:
    path = flux_files.save_file_of(whole, tmp_path / f"{name}.safetensors")
    tensors = {key: tensor for key, tensor in load_file(path).items() if has_guidance or "guidance_in" not in key}
    save_file({**tensors, "img_in.weight": torch.zeros(flux_files.WIDTH, channels)}, path)
    message = refusal(path, "--config", str(parts), family=family)
    assert reason in message
    assert ("It is not supported; FLUX.1 [dev] and FLUX.1 Fill and FLUX.1 Kontext are." in message) == (channels == 128)


def test_chroma_is_none_of_them(whole: Path, parts: Path, tmp_path: Path) -> None:
    path = flux_files.save_file_of(whole, tmp_path / "mine.safetensors")
    layers = {
        "img_in.weight": torch.zeros(flux_files.WIDTH, 64),
        "distilled_guidance_layer.layers.0.in_layer.weight": torch.ones(2, 2),
    }
    save_file({**load_file(path), **layers}, path)
    message = refusal(path, "--config", str(parts), family="flux-dev")
    assert "is the transformer of Chroma alone" in message


@pytest.mark.parametrize(
    "family", sorted({*families.names(engine=DIFFUSION)} - {"flux-dev", "flux-fill", "flux-kontext"})
)
def test_it_is_no_model_of_another_family(whole: Path, tmp_path: Path, family: str) -> None:
    path = flux_files.save_file_of(whole, tmp_path / "Flux Fill.safetensors", prefix=PREFIX)
    message = refusal(path, family=family)
    assert "is the transformer of FLUX.1 Fill alone" in message
    assert "add_model flux-fill --family flux-fill --from" in message


def test_another_width_is_refused(whole: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = flux_files.save_file_of(whole, tmp_path / "flux.safetensors")
    monkeypatch.undo()
    assert "no transformer of FLUX of the published shape" in refusal(path, "--config", str(parts))
    with pytest.raises(EngineFailed, match="published shape"):
        check_model(path, "flux-fill")
