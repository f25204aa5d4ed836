"""A flux-fill model is a folder of known classes with sharded weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.diffusers_folder import pipeline_files
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.shipped import SHIPPED
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import InvalidRequest
from tests.support.hub import tiny_model, weights, written

INDEX = {
    "_class_name": "FluxFillPipeline",
    "_diffusers_version": "0.32.0.dev0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
SHARDS = [f"transformer/diffusion_pytorch_model-{part:05}-of-00003.safetensors" for part in (1, 2, 3)]
READERS = [f"text_encoder_2/model-{part:05}-of-00002.safetensors" for part in (1, 2)]
TEXTS = (
    *("scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder_2/config.json", "vae/config.json"),
    *("text_encoder_2/model.safetensors.index.json", "transformer/diffusion_pytorch_model.safetensors.index.json"),
    *("tokenizer/merges.txt", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "transformer/config.json"),
    *("tokenizer_2/tokenizer.json", "tokenizer_2/tokenizer_config.json"),
)
WEIGHTS = (
    *(*SHARDS, *READERS, "text_encoder/model.safetensors"),
    "vae/diffusion_pytorch_model.safetensors",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = dict.fromkeys(TEXTS, b"{}") | dict.fromkeys(WEIGHTS, weights())
    files |= {"flux1-fill-dev.safetensors": weights(), "tokenizer_2/spiece.model": b"pieces"}
    return written({"model_index.json": json.dumps(INDEX).encode(), **files}, tmp_path / "fill")


def refusal(path: Path, family: str = "flux-fill") -> str:
    with pytest.raises(ModelRefused) as caught:
        check_model(path, family)
    return caught.value.message


def test_a_published_folder_is_accepted_and_only_its_needed_files_are_listed(folder: Path) -> None:
    check_model(folder, "flux-fill")
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(pipeline_files(there, INDEX, "", "flux-fill")) == sorted(["model_index.json", *TEXTS, *WEIGHTS])


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("_class_name", "FluxControlPipeline"),
        ("transformer", ["diffusers", "SD3Transformer2DModel"]),
        ("transformer", [None, None]),
        ("unet", ["diffusers", "UNet2DConditionModel"]),
        ("text_encoder_2", ["transformers", "CLIPTextModelWithProjection"]),
        ("text_encoder_2", ["transformers", "T5ForConditionalGeneration"]),
        ("tokenizer_2", ["transformers", "CLIPTokenizer"]),
        ("scheduler", ["diffusers", "DDIMScheduler"]),
    ],
)
def test_a_folder_with_another_component_is_refused(folder: Path, part: str, value: object) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, part: value}))
    assert "model_index.json" in refusal(folder)


def test_it_is_no_model_of_another_family_and_no_other_model_has_its_components(folder: Path, tmp_path: Path) -> None:
    assert "family flux-fill, not sd" in refusal(folder, "sd")
    other = written(tiny_model(), tmp_path / "other")
    assert "family sd, not flux-fill" in refusal(other)
    index = json.loads((other / "model_index.json").read_text())
    (other / "model_index.json").write_text(json.dumps({**index, "transformer": INDEX["transformer"]}))
    assert "not on the list" in refusal(other, "sd")


def test_missing_weights_and_weights_outside_the_folder_are_refused(folder: Path) -> None:
    index = folder / "transformer/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../elsewhere.safetensors"}}))
    assert "elsewhere" in refusal(folder)
    index.write_text("{}")
    for name in SHARDS:
        (folder / name).unlink()
    assert "transformer holds no .safetensors file" in refusal(folder)


def test_a_file_of_something_else_is_refused_with_the_reason(folder: Path) -> None:
    assert "is no transformer of FLUX: no tensor is called" in refusal(folder / "flux1-fill-dev.safetensors")


def test_a_gguf_file_is_refused_for_other_families(tmp_path: Path) -> None:
    written({"flux1-fill-Q4_K_S.gguf": b"GGUF"}, tmp_path)
    assert "holds quantised weights (GGUF)" in refusal(tmp_path / "flux1-fill-Q4_K_S.gguf", "sd")


def test_the_shipped_model_is_gated_non_commercial_and_has_the_defaults_of_its_card() -> None:
    (shipped,) = [spec for spec in SHIPPED if spec.family == "flux-fill"]
    assert "Non-Commercial" in shipped.licence
    assert "gated" in shipped.licence
    assert len(shipped.licence) <= 100  # the column's length
    assert (shipped.steps, shipped.guidance_scale, shipped.width, shipped.height) == (50, 30.0, 1024, 1024)
    assert shipped.scheduler in families.get("flux-fill").schedulers


@pytest.mark.parametrize(
    ("family", "changes", "code"),
    [
        ("flux-fill", {"scheduler": "DDIMScheduler"}, "scheduler_unfit"),
        ("sd", {"scheduler": "FlowMatchEulerDiscreteScheduler"}, "scheduler_unfit"),
        ("sdxl", {"guidance_scale": 30.0}, "field_out_of_range"),
    ],
)
def test_a_model_has_only_defaults_that_its_family_reads(family: str, changes: dict[str, object], code: str) -> None:
    known = families.get(family)
    usual = {"scheduler": known.schedulers[0], "guidance_scale": known.max_guidance_scale}
    ModelSpec("mine", "Mine", family, **usual)  # type: ignore[arg-type]  # of several types, as they should be
    with pytest.raises(InvalidRequest) as caught:
        ModelSpec("mine", "Mine", family, **{**usual, **changes})  # type: ignore[arg-type]
    assert caught.value.code == code
