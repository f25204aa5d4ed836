"""A Qwen-Image model is a folder of known classes with sharded weights; its LoRAs change its transformer."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.component_file import read_component_file
from inpainting.catalog.inspection.formats.diffusers_folder import pipeline_files
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.lora_files import check_lora, detect_family
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.inspection.transformer_file import TransformerFile
from tests.support.hub import weights, written
from tests.support.published_headers import qwen_image, write_sparse

INDEX = {
    "_class_name": "QwenImagePipeline",
    "_diffusers_version": "0.34.0.dev0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "QwenImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKLQwenImage"],
}
TEXTS = (
    *("scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/generation_config.json"),
    *("text_encoder/model.safetensors.index.json", "tokenizer/added_tokens.json", "tokenizer/merges.txt"),
    *("tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json"),
    *("transformer/config.json", "transformer/diffusion_pytorch_model.safetensors.index.json", "vae/config.json"),
)
WEIGHTS = (
    *(f"transformer/diffusion_pytorch_model-{part:05}-of-00009.safetensors" for part in range(1, 10)),
    *(f"text_encoder/model-{part:05}-of-00004.safetensors" for part in range(1, 5)),
    "vae/diffusion_pytorch_model.safetensors",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = dict.fromkeys(TEXTS, b"{}") | dict.fromkeys(WEIGHTS, weights())
    programs = {"tokenizer/chat_template.jinja": b"{{ messages }}", "README.md": b""}
    return written({"model_index.json": json.dumps(INDEX).encode(), **programs, **files}, tmp_path / "qwen")


def test_a_published_folder_is_accepted_and_only_its_needed_files_are_listed(folder: Path) -> None:
    check_model(folder, "qwen-image")
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(pipeline_files(there, INDEX, "", "qwen-image")) == sorted(["model_index.json", *TEXTS, *WEIGHTS])


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("_class_name", "QwenImageEditPipeline"),
        ("_class_name", "QwenImageLayeredPipeline"),
        ("text_encoder", ["transformers", "Qwen3Model"]),
        ("vae", ["diffusers", "AutoencoderKLWan"]),
        ("processor", ["transformers", "Qwen2VLProcessor"]),
    ],
)
def test_a_folder_with_another_component_is_refused(folder: Path, part: str, value: object) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, part: value}))
    with pytest.raises(ModelRefused, match=r"model_index\.json"):
        check_model(folder, "qwen-image")


@pytest.mark.parametrize(
    ("layer", "family"),
    [
        ("transformer.transformer_blocks.0.img_mlp.net.2", "qwen-image"),
        ("diffusion_model.transformer_blocks.59.attn.to_q", "qwen-image"),
        ("lora_unet_transformer_blocks_19_attn_add_k_proj", "qwen-image"),
        ("lora_unet_transformer_blocks_3_txt_mod_1", "qwen-image"),
        ("transformer_blocks.59.attn.to_q", "qwen-image"),
        ("transformer.transformer_blocks.18.attn.to_q", None),  # FLUX has this layer, too
        ("transformer.single_transformer_blocks.20.attn.to_q", "flux-fill"),
    ],
)
def test_the_family_of_a_lora_is_told_by_its_layers(tmp_path: Path, layer: str, family: str | None) -> None:
    written({"one.safetensors": weights(name=f"{layer}.lora_A.weight")}, tmp_path)
    assert detect_family(read_header(tmp_path / "one.safetensors")) == family


def test_a_lora_for_another_transformer_is_refused(tmp_path: Path) -> None:
    written(
        {"flux.safetensors": weights(name="transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight")}, tmp_path
    )
    with pytest.raises(ModelRefused, match="family flux-fill, not qwen-image"):
        check_lora(tmp_path / "flux.safetensors", "qwen-image")


def transformer(path: Path, **more: tuple[str, tuple[int, ...]]) -> TransformerFile:
    """A file of the published shapes."""
    found = read_component_file(write_sparse(path, {**qwen_image(), **more}), "qwen-image")
    assert isinstance(found, TransformerFile)
    return found


def test_a_file_of_the_published_shapes_has_the_published_configuration(tmp_path: Path) -> None:
    """transformer/config.json of Qwen/Qwen-Image."""
    file = transformer(tmp_path / "qwen_image_bf16.safetensors")
    file.check()
    assert file.transformer_configuration() == {
        "_class_name": "QwenImageTransformer2DModel",
        "_name_or_path": "qwen_image_bf16",
        "attention_head_dim": 128,
        "axes_dims_rope": [16, 56, 56],
        "guidance_embeds": False,
        "in_channels": 64,
        "joint_attention_dim": 3584,
        "num_attention_heads": 24,
        "num_layers": 60,
        "out_channels": 16,
        "patch_size": 2,
        "zero_cond_t": False,
    }


@pytest.mark.parametrize(
    ("file", "name", "shape", "reason"),
    [
        ("qwen_image_edit_bf16", "", (), "is the first Qwen-Image-Edit by its name, which reads prompts otherwise"),
        ("mine", "time_text_embed.addition_t_embedding.weight", (2, 3072), "is Qwen-Image-Layered, which makes"),
        ("mine", "img_in.weight", (3072, 16), "is a transformer with 16 input channels; Qwen-Image has 64"),
        ("mine", "transformer_blocks.0.attn.norm_q.weight", (100,), "its heads have a width of 100 of 3072"),
    ],
)
def test_a_transformer_of_another_model_is_refused(
    tmp_path: Path, file: str, name: str, shape: tuple[int, ...], reason: str
) -> None:
    more = {name: ("BF16", shape)} if name else {}
    with pytest.raises(ModelRefused, match=reason):
        transformer(tmp_path / f"{file}.safetensors", **more).check()


@pytest.mark.parametrize(
    ("file", "mark", "sees_clean_images"),
    [
        ("qwen_image_edit_2509_bf16", "", False),
        ("Qwen-Rapid-AIO-v5", "", False),
        ("qwen_image_edit_2511_bf16", "", True),
        ("mine", "__index_timestep_zero__", True),
    ],
)
def test_a_transformer_of_a_later_edit_is_told_by_its_name_or_its_mark(
    tmp_path: Path, file: str, mark: str, sees_clean_images: bool
) -> None:
    more: dict[str, tuple[str, tuple[int, ...]]] = {mark: ("BF16", (0,))} if mark else {}
    found = transformer(tmp_path / f"{file}.safetensors", **more)
    assert found.family == "qwen-image-edit"
    found.check()
    assert found.transformer_configuration()["zero_cond_t"] is sees_clean_images
    with pytest.raises(ModelRefused, match="add it with --family qwen-image-edit"):
        found.check("qwen-image")


@pytest.mark.parametrize(("file", "shift"), [("qwen_image_edit_2511_lightning_4steps", 3.0), ("qwen_image_bf16", 1.65)])
def test_a_file_merged_with_lightning_has_its_noise_levels(tmp_path: Path, file: str, shift: float) -> None:
    configuration = transformer(tmp_path / f"{file}.safetensors").scheduler_configuration()
    assert math.exp(configuration["base_shift"]) == pytest.approx(shift, abs=0.01)
    assert configuration["shift_terminal"] == (None if shift == 3.0 else 0.02)


def test_a_name_that_tells_nothing_leaves_the_family_to_the_administrator(tmp_path: Path) -> None:
    found = transformer(tmp_path / "mine.safetensors")
    assert found.family == "qwen-image"
    found.check("qwen-image-edit")
