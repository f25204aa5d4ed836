"""A FLUX.2 klein model is a folder of known classes; the copy of its transformer beside them is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.component_file import read_component_file
from inpainting.catalog.inspection.formats.diffusers_folder import pipeline_files
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.inspection.transformer_file import TransformerFile
from tests.support.hub import weights, written
from tests.support.published_headers import flux_2, write_sparse

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


SIZES = {"4b": (3072, 5, 20, 7680), "9b": (4096, 8, 24, 12288)}
"""Width, double and single blocks, and text features."""


def transformer(path: Path, size: str) -> TransformerFile:
    """A file of the published shapes."""
    found = read_component_file(write_sparse(path, flux_2(*SIZES[size])), "flux2-klein")
    assert isinstance(found, TransformerFile)
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_the_published_shapes_has_the_published_configuration(tmp_path: Path, size: str) -> None:
    """transformer/config.json of black-forest-labs/FLUX.2-klein-4B and -9B."""
    file = transformer(tmp_path / f"flux-2-klein-{size}.safetensors", size)
    file.check()
    width, double, single, text = SIZES[size]
    assert file.transformer_configuration() == {
        "_class_name": "Flux2Transformer2DModel",
        "attention_head_dim": 128,
        "axes_dims_rope": [32, 32, 32, 32],
        "eps": 1e-06,
        "guidance_embeds": False,
        "in_channels": 128,
        "joint_attention_dim": text,
        "mlp_ratio": 3.0,
        "num_attention_heads": width // 128,
        "num_layers": double,
        "num_single_layers": single,
        "out_channels": None,
        "patch_size": 1,
        "rope_theta": 2000,
        "timestep_guidance_channels": 256,
    }
    assert file.join_labels(["text_encoder"]) == {"4b": "Qwen3-4B", "9b": "Qwen3-8B"}[size]


def test_the_name_of_a_file_tells_whether_the_model_is_distilled(tmp_path: Path) -> None:
    for name, is_distilled in (("flux-2-klein-4b", True), ("flux-2-klein-base-4b-fp8", False)):
        assert transformer(tmp_path / f"{name}.safetensors", "4b").pipeline_values() == {"is_distilled": is_distilled}


def test_a_transformer_that_reads_the_source_image_in_another_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="KV by its name"):
        transformer(tmp_path / "flux-2-klein-9b-kv.safetensors", "9b").check()


@pytest.mark.parametrize("has_last_layer", [True, False])
def test_a_text_encoder_without_its_last_layer_is_configured_without(tmp_path: Path, has_last_layer: bool) -> None:
    tensors = {"model.embed_tokens.weight": (151936, 4096), "model.layers.0.self_attn.q_norm.weight": (128,)}
    shapes = {**tensors, **({"lm_head.weight": (151936, 4096)} if has_last_layer else {})}
    encoder = write_sparse(
        tmp_path / "qwen_3_8b.safetensors", {name: ("BF16", shape) for name, shape in shapes.items()}
    )
    file = transformer(tmp_path / "flux-2-klein-9b.safetensors", "9b")
    weights = file.weights(file.files_by_component([encoder]))
    file.write_configurations(tmp_path / "made", weights, "flux2-klein")
    configuration = json.loads((tmp_path / "made/text_encoder/config.json").read_text())
    assert configuration["num_hidden_layers"] == 36
    assert configuration["tie_word_embeddings"] != has_last_layer
