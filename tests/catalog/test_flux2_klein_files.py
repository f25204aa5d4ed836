"""A FLUX.2 klein model is a folder of known classes; the copy of its transformer beside them is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inpainting.catalog.inspection.diffusers_folder import pipeline_files
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.model_files import check_model
from tests.support.hub import weights, written

INDEX = {
    "_class_name": "Flux2KleinPipeline",
    "_diffusers_version": "0.37.0.dev0",
    "is_distilled": True,
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3ForCausalLM"],
    "tokenizer": ["transformers", "Qwen2TokenizerFast"],
    "transformer": ["diffusers", "Flux2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKLFlux2"],
}
TEXTS = (
    *("scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/generation_config.json"),
    *("text_encoder/model.safetensors.index.json", "tokenizer/added_tokens.json", "tokenizer/merges.txt"),
    *("tokenizer/special_tokens_map.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
    *("tokenizer/vocab.json", "transformer/config.json", "vae/config.json"),
)
WEIGHTS = (
    *("text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors"),
    *("transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"),
)
COPY = "flux-2-klein-4b.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = dict.fromkeys(TEXTS, b"{}") | dict.fromkeys((*WEIGHTS, COPY), weights())
    programs = {"tokenizer/chat_template.jinja": b"{{ messages }}", "README.md": b""}
    return written({"model_index.json": json.dumps(INDEX).encode(), **programs, **files}, tmp_path / "klein")


def test_a_published_folder_is_accepted_and_only_its_needed_files_are_listed(folder: Path) -> None:
    check_model(folder, "flux2-klein")
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(pipeline_files(there, INDEX, "", "flux2-klein")) == sorted(["model_index.json", *TEXTS, *WEIGHTS])


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("_class_name", "Flux2Pipeline"),
        ("_class_name", "Flux2KleinKVPipeline"),  # its transformer attends to the source image in another way
        ("text_encoder", ["transformers", "Mistral3ForConditionalGeneration"]),
        ("vae", ["diffusers", "AutoencoderKL"]),
    ],
)
def test_a_folder_with_another_component_is_refused(folder: Path, part: str, value: object) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, part: value}))
    with pytest.raises(ModelRefused, match=r"model_index\.json"):
        check_model(folder, "flux2-klein")
