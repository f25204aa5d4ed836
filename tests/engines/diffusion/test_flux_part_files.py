"""FLUX.1 Fill of several files, as ComfyUI has them, paints as diffusers' pipeline of the same weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Container
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, FluxFillPipeline, FluxTransformer2DModel
from django.core.management import CommandError, call_command
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel

from inpainting.catalog import configurations
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.model_files import check_model
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.serving.loading import model_loading
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.chroma.declaration import T5_ALONE
from inpainting.models import InferenceModel
from inpainting.networks.device.float8 import holds_float8
from tests.engines.diffusion import flux_files
from tests.engines.diffusion.flux_reference import assert_equal, diffusers_result, request
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.support import original_layout
from tests.support.dense_weights import dense_weights

pytestmark = pytest.mark.django_db
TRANSFORMER, CLIP, T5, VAE = "flux1-fill-dev", "clip_l", "t5xxl_fp16", "ae"
COMPONENTS = ("vae", "text_encoder", "text_encoder_2")
PREFIXES = {CLIP: "text_encoders.clip_l.transformer.", T5: "text_encoders.t5xxl.transformer.", VAE: "vae."}
"""Of the names of tensors in a checkpoint of ComfyUI."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole model in diffusers' layout."""
    return flux_files.saved(tmp_path_factory.mktemp("flux") / "whole")


@pytest.fixture
def comfyui(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """The same weights in the files of ComfyUI, in one folder. The published configurations are those of the model."""
    settings.MODELS_DIR = tmp_path / "models"
    flux_files.allow_tiny(monkeypatch)

    def write_components(name: str, folder: Path, names: Container[str]) -> None:
        for part in whole.iterdir():
            if part.is_dir() and part.name in names:
                unweighed = shutil.ignore_patterns("*.safetensors")
                shutil.copytree(part, folder / part.name, dirs_exist_ok=True, ignore=unweighed)

    monkeypatch.setattr(configurations, "write_components", write_components)
    parts = {f"{part}/config.json": json.loads((whole / part / "config.json").read_text()) for part in COMPONENTS}
    alone = {"text_encoder/config.json": parts["text_encoder_2/config.json"]}  # as Chroma has it
    monkeypatch.setattr(configurations, "files_of", lambda name: alone if name == T5_ALONE else parts)
    folder = tmp_path / "comfyui"
    folder.mkdir()
    flux_files.save_file_of(whole, named(folder, TRANSFORMER))
    shutil.copy(whole / "text_encoder_2/model.safetensors", named(folder, T5))
    clip = load_file(whole / "text_encoder/model.safetensors")
    save(
        named(folder, CLIP), {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in clip.items()}
    )
    save(named(folder, VAE), vae_tensors(whole))
    return folder


def named(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)


def vae_tensors(whole: Path) -> dict[str, torch.Tensor]:
    """The VAE's weights with the names of Black Forest Labs, which are those of the original layout."""
    tensors = original_layout.vae(AutoencoderKL.from_pretrained(whole / "vae"))
    return {name.removeprefix(original_layout.VAE): tensor for name, tensor in tensors.items()}


def arguments(folder: Path, *parts: str) -> list[str]:
    return [f"--part={named(folder, part)}" for part in parts]


def added(folder: Path, *options: str) -> InferenceModel:
    origin = f"--from={named(folder, TRANSFORMER)}"
    call_command("add_model", "fill", "--family=flux-fill", origin, *options, stdout=StringIO())
    return InferenceModel.objects.get(slug="fill")


def refusal(folder: Path, *options: str) -> str:
    with pytest.raises(CommandError) as caught:
        added(folder, *options)
    assert not InferenceModel.objects.filter(slug="fill").exists()
    return str(caught.value)


def scaled(path: Path) -> None:
    """Store the matrices of a text encoder or transformer as scaled fp8, as ComfyUI does."""
    tensors = {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    for name, tensor in load_file(path).items():
        if tensor.ndim == 2 and "block" in name and name.endswith(".weight"):
            scale = tensor.abs().max() / 448
            tensors[name] = (tensor / scale).to(torch.float8_e4m3fn)
            tensors[f"{name.removesuffix('.weight')}.scale_weight"] = scale
        else:
            tensors[name] = tensor
    save(path, tensors)


def test_files_of_every_part_equal_the_whole_model(whole: Path, comfyui: Path) -> None:
    model: Any = load(added(comfyui, *arguments(comfyui, VAE, T5, CLIP)).spec, CPU)
    assert not model.notes
    requested = request(strength=0.8)
    latents = denoised(model, requested)
    reference = FluxFillPipeline.from_pretrained(whole)
    for part in ("vae", "text_encoder", "text_encoder_2"):
        expected = getattr(reference, part).state_dict()
        for name, tensor in getattr(model.pipeline, part).state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    model.pipeline.register_modules(**reference.components)
    assert_equal(latents, diffusers_result(model, requested, scheduler=reference.scheduler))


def test_files_replace_parts_of_a_folder(whole: Path, comfyui: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    for name in ("text_encoder", "tokenizer", "vae"):
        shutil.copytree(whole / name, folder / name)
    model = added(comfyui, "--config", str(folder), *arguments(comfyui, T5))
    assert (model.folder / "text_encoder_2/model.safetensors").read_bytes() == named(comfyui, T5).read_bytes()
    assert load(model.spec, CPU).pipeline.tokenizer_2("a b").input_ids


@pytest.mark.parametrize("is_scaled", [False, True])
def test_fp8_of_a_text_encoder_is_read_with_its_scales(whole: Path, comfyui: Path, is_scaled: bool) -> None:
    path = named(comfyui, T5)
    if is_scaled:
        scaled(path)
    else:
        save(path, {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(path).items()})
    model = load(added(comfyui, *arguments(comfyui, VAE, T5, CLIP)).spec, CPU)
    assert not model.notes
    encoder, expected = model.pipeline.text_encoder_2, T5EncoderModel.from_pretrained(whole / "text_encoder_2")
    assert encoder.dtype == torch.float32
    assert holds_float8(encoder)
    weights = dense_weights(encoder)
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=0.07, atol=2e-3)


@pytest.mark.parametrize("is_scaled", [False, True])
def test_fp8_of_a_transformer_is_read_with_its_scales(whole: Path, comfyui: Path, is_scaled: bool) -> None:
    path = named(comfyui, TRANSFORMER)
    if is_scaled:
        scaled(path)
    else:
        save(path, {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(path).items()})
    model = load(added(comfyui, *arguments(comfyui, VAE, T5, CLIP)).spec, CPU)
    assert not model.notes
    expected = FluxTransformer2DModel.from_pretrained(whole / "transformer").state_dict()
    for name, tensor in dense_weights(model.pipeline.transformer).items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, expected[name], rtol=0.07, atol=2e-3)


def test_a_transformer_in_scaled_fp8_stays_so_and_paints_as_its_numbers(
    comfyui: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled(named(comfyui, TRANSFORMER))
    spec = added(comfyui, *arguments(comfyui, VAE, T5, CLIP)).spec
    model: Any = load(spec, CPU)
    assert holds_float8(model.transformer)
    monkeypatch.setattr(model_loading, "keep_float8", lambda *_: None)
    assert torch.equal(denoised(model, request(strength=0.8)), denoised(load(spec, CPU), request(strength=0.8)))


def test_scaled_fp8_of_a_transformer_with_names_of_diffusers_is_refused(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "folder")
    (path,) = (folder / "transformer").glob("*.safetensors")
    scaled(path)
    with pytest.raises(ModelRefused, match="is quantised"):
        check_model(folder, "flux-fill")


def test_tensors_that_nothing_reads_are_named(comfyui: Path) -> None:
    for name, more in ((VAE, "encoder.extra.weight"), (T5, "encoder.head.weight")):
        save(named(comfyui, name), {**load_file(named(comfyui, name)), more: torch.zeros(2)})
    notes = " ".join(load(added(comfyui, *arguments(comfyui, VAE, T5, CLIP)).spec, CPU).notes)
    assert "encoder.extra.weight" in notes
    assert "encoder.head.weight" in notes


@pytest.mark.parametrize(
    ("name", "tensor", "part"),
    [(VAE, "decoder.conv_out.bias", "vae"), (T5, "encoder.block.1.layer.0.SelfAttention.o.weight", "text_encoder_2")],
)
def test_a_missing_tensor_is_an_error(comfyui: Path, name: str, tensor: str, part: str) -> None:
    tensors = load_file(named(comfyui, name))
    del tensors[tensor]
    save(named(comfyui, name), tensors)
    with pytest.raises(EngineFailed, match=f"{part} lacks weights"):
        load(added(comfyui, *arguments(comfyui, VAE, T5, CLIP)).spec, CPU)


def test_what_is_absent_or_given_twice_or_of_another_kind_is_named(comfyui: Path) -> None:
    message = refusal(comfyui, *arguments(comfyui, CLIP))
    assert "without text_encoder_2, tokenizer_2, vae" in message
    assert "--part FILE" in message
    shutil.copy(named(comfyui, CLIP), named(comfyui, "again"))
    message = refusal(comfyui, *arguments(comfyui, CLIP, "again"))
    assert "clip_l.safetensors and again.safetensors are both files of CLIP-L" in message
    assert "is no file of CLIP-L or T5-XXL or the VAE, which FLUX.1 has" in refusal(
        comfyui, *arguments(comfyui, TRANSFORMER)
    )
    assert "There is no file" in refusal(comfyui, *arguments(comfyui, "elsewhere"))
    pickle = comfyui / "clip_l.pt"
    pickle.write_bytes(b"\x80\x02.")
    assert "may hold a pickle" in refusal(comfyui, f"--part={pickle}")


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        (VAE, {"decoder.conv_in.weight": torch.zeros(8, 4, 3, 3)}, "latent_channels is 4, not 16"),
        (
            CLIP,
            {"text_model.final_layer_norm.weight": torch.zeros(1280)},
            "hidden_size is 1280, not 32",
        ),
        (T5, {"x.weight": torch.zeros(4, dtype=torch.int8)}, "is quantised: “x.weight” holds I8"),
        (T5, {"x.scale_weight": torch.ones(1)}, "“x.scale_weight” is no scale of fp8 numbers"),
    ],
)
def test_a_part_of_another_model_is_refused(
    comfyui: Path, name: str, tensor: dict[str, torch.Tensor], reason: str
) -> None:
    save(named(comfyui, name), {**load_file(named(comfyui, name)), **tensor})
    assert reason in refusal(comfyui, *arguments(comfyui, VAE, T5, CLIP))


def together(folder: Path, *names: str, **more: torch.Tensor) -> None:
    """Join the files of parts with the transformer into one, with the names of ComfyUI's checkpoints."""
    tensors = {
        f"model.diffusion_model.{name}": tensor for name, tensor in load_file(named(folder, TRANSFORMER)).items()
    }
    for name in names:
        tensors |= {f"{PREFIXES[name]}{key}": tensor for key, tensor in load_file(named(folder, name)).items()}
        named(folder, name).unlink()
    save(named(folder, TRANSFORMER), {**tensors, **more})


def test_a_file_with_every_part_equals_the_whole_model(whole: Path, comfyui: Path) -> None:
    further = ("text_encoders.clip_l.transformer.text_projection.weight", "text_encoders.clip_l.logit_scale")
    together(comfyui, VAE, T5, CLIP, **dict.fromkeys(further, torch.ones(2, 2)))
    stored = added(comfyui)
    assert not load(stored.spec, CPU).notes
    for part in ("vae", "text_encoder", "text_encoder_2", "transformer"):
        assert not any(name.startswith(("vae.", "text_encoders.")) for name in tensors_in(stored, part)), part
    model: Any = load(stored.spec, CPU)
    requested = request(strength=0.8)
    latents = denoised(model, requested)
    reference = FluxFillPipeline.from_pretrained(whole)
    model.pipeline.register_modules(**reference.components)
    assert_equal(latents, diffusers_result(model, requested, scheduler=reference.scheduler))


def tensors_in(model: InferenceModel, part: str) -> dict[str, torch.Tensor]:
    (path,) = (model.folder / part).glob("*.safetensors")
    return load_file(path)


def test_what_a_file_lacks_comes_from_other_files_which_have_precedence(comfyui: Path) -> None:
    shutil.copy(named(comfyui, VAE), named(comfyui, "other"))
    save(named(comfyui, "other"), {name: tensor + 1 for name, tensor in load_file(named(comfyui, "other")).items()})
    together(comfyui, VAE, CLIP)
    assert "without text_encoder_2, tokenizer_2:" in refusal(comfyui)
    model = added(comfyui, *arguments(comfyui, T5, "other"))
    stored, expected = tensors_in(model, "vae"), load_file(named(comfyui, "other"))
    assert all(torch.equal(stored[name], value) for name, value in expected.items())
    load(model.spec, CPU)


def test_scaled_fp8_and_unread_tensors_in_a_file_with_every_part(comfyui: Path) -> None:
    scaled(named(comfyui, T5))
    together(comfyui, VAE, T5, CLIP, **{"redux.weight": torch.zeros(2), "vae.loss.weight": torch.zeros(2)})
    notes = " ".join(load(added(comfyui).spec, CPU).notes)
    assert "redux.weight" in notes
    assert "loss.weight" in notes
    assert "scale" not in notes


def test_a_file_with_another_transformer_is_refused_with_what_is_in_it(comfyui: Path) -> None:
    more = {"model.diffusion_model.img_in.weight": torch.zeros(flux_files.WIDTH, 128)}
    together(comfyui, VAE, T5, CLIP, **more)
    message = refusal(comfyui)
    assert "edges or depth, with CLIP-L and T5-XXL and the VAE beside it. It is not supported;" in message


def test_as_another_family_the_command_that_adds_it_is_named(comfyui: Path) -> None:
    together(comfyui, VAE, T5, CLIP)
    with pytest.raises(CommandError) as caught:
        call_command("add_model", "fill", "--family=sd", f"--from={named(comfyui, TRANSFORMER)}", stdout=StringIO())
    message = str(caught.value)
    assert "is FLUX.1 Fill with CLIP-L and T5-XXL and the VAE." in message
    assert f"--family flux-fill --from {named(comfyui, TRANSFORMER)}”." in message


def scan(folder: Path, *options: str) -> dict[str, str]:
    """Name of each file -> what is said of it."""
    output = StringIO()
    call_command("add_model", "--scan", str(folder), *options, stdout=output)
    lines = [line.strip().partition("  ") for line in output.getvalue().splitlines() if ".safetensors: " in line]
    return {rest.partition(": ")[0]: f"{mark} {rest.partition(': ')[2]}" for mark, _, rest in lines}


def test_a_scan_adds_the_transformer_with_the_files_of_its_parts(comfyui: Path) -> None:
    small = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(named(comfyui, T5)).items()}
    save(named(comfyui, "t5xxl_fp8_e4m3fn"), small)
    found = scan(comfyui, "--add")
    new = found[named(comfyui, TRANSFORMER).name]
    assert new.startswith("new checkpoint flux-fill with ")
    assert new.endswith(", flux1-fill-dev")
    assert "t5xxl_fp16.safetensors" in new
    assert "left It is T5-XXL, the text encoder of Chroma and one of FLUX.1" in found[named(comfyui, T5).name]
    assert found[named(comfyui, VAE).name] == "new vae flux-fill, ae"
    model = InferenceModel.objects.get(slug="flux1-fill-dev")
    assert (model.folder / "text_encoder_2/model.safetensors").samefile(named(comfyui, T5))
    assert not load(model.spec, CPU).notes
    assert scan(comfyui)[named(comfyui, TRANSFORMER).name].startswith("here checkpoint flux-fill")


def test_a_scan_adds_a_file_with_every_part_once(comfyui: Path) -> None:
    together(comfyui, VAE, T5, CLIP)
    assert scan(comfyui, "--add") == {"flux1-fill-dev.safetensors": "new checkpoint flux-fill, flux1-fill-dev"}
    load(InferenceModel.objects.get(slug="flux1-fill-dev").spec, CPU)
    assert scan(comfyui, "--add") == {"flux1-fill-dev.safetensors": "here checkpoint flux-fill, flux1-fill-dev"}


def test_a_scan_names_the_command_where_parts_are_absent(comfyui: Path) -> None:
    named(comfyui, T5).unlink()
    said = scan(comfyui)[named(comfyui, TRANSFORMER).name]
    assert said.startswith("left The folder that was scanned has no file of T5-XXL, without which it is not added;")
    assert "flux1-fill-dev.safetensors is the transformer of FLUX.1 Fill alone." in said
    assert f"--part {named(comfyui, CLIP)}" in said
    assert "--config FOLDER" in said


def test_parts_are_for_a_transformer_alone(whole: Path, comfyui: Path) -> None:
    options = ["--family=flux-fill", f"--from={whole}", *arguments(comfyui, VAE)]
    with pytest.raises(CommandError, match="--part is for a transformer of Chroma or transformer of FLUX"):
        call_command("add_model", "fill", *options, stdout=StringIO())


def test_pull_model_takes_them_too(comfyui: Path, db: None) -> None:
    options = [f"--from={named(comfyui, TRANSFORMER)}", *arguments(comfyui, VAE, T5, CLIP)]
    call_command("pull_model", "flux-fill", "--yes", *options, stdout=StringIO())
    folder = InferenceModel.objects.get(slug="flux-fill").folder
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "FluxFillPipeline"
