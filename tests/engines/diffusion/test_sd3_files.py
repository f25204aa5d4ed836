"""Stable Diffusion 3.5 in the files of ComfyUI paints as the same weights in a folder in diffusers' layout."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file, save_file

from inpainting.catalog.specs import ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.serving.loading import model_loading, part_files
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.sd3 import files
from inpainting.models import InferenceModel
from inpainting.networks.device.float8 import holds_float8
from inpainting.networks.device.quantization import is_quantized
from tests.contracts.family import assert_equal
from tests.engines.diffusion.pipelines import CPU, denoised
from tests.engines.diffusion.plain_flow import request
from tests.support import split_files, tiny_models
from tests.support.gguf_files import gguf_file

pytestmark = pytest.mark.django_db
Tensors = dict[str, torch.Tensor]
WIDTH = 32
"""Of the tiny CLIP-L."""
PROJECTION = "text_projection.weight"
OUTSIDE = {
    "pos_embed.pos_embed": "pos_embed",
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
INSIDE = {
    "norm_q": "x_block.attn.ln_q",
    "norm_k": "x_block.attn.ln_k",
    "norm_added_q": "context_block.attn.ln_q",
    "norm_added_k": "context_block.attn.ln_k",
    "to_out.0": "x_block.attn.proj",
    "to_add_out": "context_block.attn.proj",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
"""Name in diffusers -> the name in the publisher's code, github.com/Stability-AI/sd3.5 (`mmditx.py`)."""


def published(tensors: Tensors, layers: int) -> Tensors:
    """A transformer in the names of its publisher: the projections of an attention layer are one."""
    named: Tensors = {}
    for name, tensor in tensors.items():
        stem, _, end = name.rpartition(".")
        block = re.fullmatch(r"transformer_blocks\.(\d+)\.(?:(attn2?)\.)?(.+)", stem)
        if block is None:
            outside = OUTSIDE.get(name) or f"{OUTSIDE.get(stem, stem)}.{end}"
            named[outside] = swapped(tensor) if stem == "norm_out.linear" else tensor
            continue
        number, attention, layer = block.groups()
        if layer in ("to_k", "to_v", "add_k_proj", "add_v_proj"):
            continue
        if layer in ("to_q", "add_q_proj"):
            side = "x_block" if layer == "to_q" else "context_block"
            parts = [tensors[name.replace(layer, layer.replace("_q", f"_{letter}"))] for letter in "qkv"]
            named[f"joint_blocks.{number}.{side}.{attention}.qkv.{end}"] = torch.cat(parts)
            continue
        place = INSIDE[layer].replace(".attn.", f".{attention}.")
        is_last = layer == "norm1_context.linear" and int(number) == layers - 1
        named[f"joint_blocks.{number}.{place}.{end}"] = swapped(tensor) if is_last else tensor
    return named


def swapped(tensor: torch.Tensor) -> torch.Tensor:
    first, second = tensor.chunk(2)
    return torch.cat([second, first])


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """The whole model, whose CLIP-L has a projection that changes nothing, as the published one."""
    found = tiny_models.saved(tmp_path / "whole", "sd3")
    path = tmp_path / "whole" / "text_encoder" / "model.safetensors"
    save_file({**load_file(path), PROJECTION: torch.eye(WIDTH)}, path, {"format": "pt"})
    return found


@pytest.fixture
def comfyui(spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """A folder with its files. The published configurations are those of the model."""
    whole, folder = tmp_path / "whole", tmp_path / "comfyui"
    settings.MODELS_DIR = tmp_path / "models"
    monkeypatch.setattr(files, "HEAD_WIDTH", 16)
    monkeypatch.setattr(part_files, "UNPROJECTED", {WIDTH})
    split_files.publish("sd3", whole, monkeypatch)
    layers = json.loads((whole / "transformer" / "config.json").read_text())["num_layers"]
    weights = {path.parent.name: load_file(path) for path in whole.glob("*/*.safetensors")}
    vae = split_files.original_vae(weights["vae"], whole / "vae")
    transformer = published(weights["transformer"], layers)
    names = {
        "diffusion_models/sd3.5_large": {f"model.diffusion_model.{name}": one for name, one in transformer.items()},
        "text_encoders/clip_l": {name: one for name, one in weights["text_encoder"].items() if name != PROJECTION},
        "text_encoders/clip_g": weights["text_encoder_2"],
        "text_encoders/t5xxl_fp16": weights["text_encoder_3"],
        "vae/sd3_vae": vae,
    }
    for name, tensors in names.items():
        split_files.save(folder / f"{name}.safetensors", tensors)
    return folder


def requested() -> InpaintRequest:
    return request(strength=0.8, guidance_scale=3.0)


def added(origin: Path, *parts: Path) -> Any:
    options = ["--family=sd3", f"--from={origin}", *(f"--part={part}" for part in parts)]
    call_command("add_model", "mine", *options, stdout=StringIO())
    return InferenceModel.objects.get(slug="mine")


def file(folder: Path, name: str) -> Path:
    return next(folder.rglob(f"{name}.safetensors"))


def parts(folder: Path, *left: str) -> list[Path]:
    return [path for path in folder.rglob("*.safetensors") if path.stem not in ("sd3.5_large", *left)]


def test_files_of_every_component_equal_the_whole_model(spec: ModelSpec, comfyui: Path) -> None:
    model: Any = load(added(file(comfyui, "sd3.5_large"), *parts(comfyui)).spec, CPU)
    assert not model.notes
    assert_equal(denoised(model, requested()), denoised(load(spec, CPU), requested()))
    whole = json.loads((spec.path / "transformer" / "config.json").read_text()) if spec.path else {}
    for name in {*whole} - {"sample_size"}:
        if not name.startswith("_"):
            assert json.loads(json.dumps(model.transformer.config[name])) == whole[name], name


@pytest.mark.full
def test_a_file_with_the_vae_or_with_everything_equals_the_whole_model(spec: ModelSpec, comfyui: Path) -> None:
    path, expected = file(comfyui, "sd3.5_large"), denoised(load(spec, CPU), requested())
    tensors = load_file(path)
    for stem, prefix, left in (
        ("sd3_vae", "first_stage_model.", ("sd3_vae",)),
        ("clip_l", "text_encoders.clip_l.transformer.", ()),
        ("clip_g", "text_encoders.clip_g.transformer.", ()),
        ("t5xxl_fp16", "text_encoders.t5xxl.transformer.", None),
    ):
        tensors |= {f"{prefix}{name}": tensor for name, tensor in load_file(file(comfyui, stem)).items()}
        split_files.save(path, tensors)
        if left == ():
            continue
        model = added(path, *([] if left is None else parts(comfyui, *left)))
        assert_equal(denoised(load(model.spec, CPU), requested()), expected)
        model.delete()


def test_a_transformer_in_fp8_stays_so_and_paints_as_its_numbers(
    comfyui: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(comfyui, "sd3.5_large")
    split_files.save(path, split_files.fp8(load_file(path), "joint_blocks.", is_scaled=True))
    spec = added(path, *parts(comfyui)).spec
    model: Any = load(spec, CPU)
    assert holds_float8(model.transformer)
    monkeypatch.setattr(model_loading, "keep_float8", lambda *_: None)
    assert torch.equal(denoised(model, requested()), denoised(load(spec, CPU), requested()))


@pytest.mark.full
def test_a_gguf_file_equals_its_numbers(comfyui: Path) -> None:
    path = file(comfyui, "sd3.5_large")
    tensors = {name.removeprefix("model.diffusion_model."): tensor for name, tensor in load_file(path).items()}
    split_files.save(path, gguf_file(tensors, path.with_suffix(".gguf"), "Q8_0"))
    painted = []
    for origin in (path.with_suffix(".gguf"), path):
        model = added(origin, *parts(comfyui))
        loaded: Any = load(model.spec, CPU)
        assert is_quantized(loaded.transformer) == (origin.suffix == ".gguf")
        painted.append(denoised(loaded, requested()))
        model.delete()
    torch.testing.assert_close(*painted, rtol=1e-2, atol=2e-3)


def test_a_scan_adds_the_transformer_with_its_components_and_not_with_the_vae_of_flux(
    spec: ModelSpec, comfyui: Path
) -> None:
    file(comfyui, "sd3_vae").rename(comfyui / "vae" / "ae.safetensors")
    output = StringIO()
    call_command("add_model", "--scan", str(comfyui), "--add", stdout=output)
    assert "has no file of the VAE of Stable Diffusion 3, without which it is not added" in output.getvalue()
    (comfyui / "vae" / "ae.safetensors").rename(comfyui / "vae" / "sd3_vae.safetensors")
    turbo = file(comfyui, "sd3.5_large").rename(comfyui / "diffusion_models" / "sd3.5_large_turbo.safetensors")
    output = StringIO()
    call_command("add_model", "--scan", str(comfyui), "--add", stdout=output)
    (line,) = [line for line in output.getvalue().splitlines() if turbo.name in line]
    assert all(name in line for name in ("clip_l", "clip_g", "t5xxl_fp16", "sd3_vae")), line
    model = InferenceModel.objects.get(slug="sd3.5_large_turbo")
    assert (model.steps, model.guidance_scale) == (4, 1.0)
    assert_equal(denoised(load(model.spec, CPU), requested()), denoised(load(spec, CPU), requested()))


def test_an_absent_component_is_named(comfyui: Path) -> None:
    with pytest.raises(CommandError, match="alone, without text_encoder_2, tokenizer_2: add --config FOLDER"):
        added(file(comfyui, "sd3.5_large"), *parts(comfyui, "clip_g"))
