"""A Z-Image model is a folder of known classes with sharded weights; its LoRAs change its transformer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.component_file import read_component_file
from inpainting.catalog.inspection.formats.diffusers_folder import pipeline_files
from inpainting.catalog.inspection.lora_files import check_lora
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.inspection.transformer_file import TransformerFile
from inpainting.catalog.shipped import SHIPPED
from tests.support.hub import weights, written
from tests.support.published_headers import write_sparse, z_image

INDEX = {
    "_class_name": "ZImagePipeline",
    "_diffusers_version": "0.36.0.dev0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3Model"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "ZImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
TEXTS = (
    *("scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/generation_config.json"),
    *("text_encoder/model.safetensors.index.json", "tokenizer/merges.txt", "tokenizer/tokenizer.json"),
    *("tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "transformer/config.json", "vae/config.json"),
    "transformer/diffusion_pytorch_model.safetensors.index.json",
)
WEIGHTS = (
    *(f"transformer/diffusion_pytorch_model-{part:05}-of-00003.safetensors" for part in (1, 2, 3)),
    *(f"text_encoder/model-{part:05}-of-00003.safetensors" for part in (1, 2, 3)),
    "vae/diffusion_pytorch_model.safetensors",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = dict.fromkeys(TEXTS, b"{}") | dict.fromkeys(WEIGHTS, weights())
    return written({"model_index.json": json.dumps(INDEX).encode(), "README.md": b"", **files}, tmp_path / "z")


def test_a_published_folder_is_accepted_and_only_its_needed_files_are_listed(folder: Path) -> None:
    check_model(folder, "z-image")
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(pipeline_files(there, INDEX, "", "z-image")) == sorted(["model_index.json", *TEXTS, *WEIGHTS])


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("_class_name", "ZImageOmniPipeline"),
        ("text_encoder", ["transformers", "Qwen2_5_VLForConditionalGeneration"]),
        ("transformer", [None, None]),
        ("siglip", ["transformers", "Siglip2VisionModel"]),
    ],
)
def test_a_folder_with_another_component_is_refused(folder: Path, part: str, value: object) -> None:
    (folder / "model_index.json").write_text(json.dumps({**INDEX, part: value}))
    with pytest.raises(ModelRefused, match=r"model_index\.json"):
        check_model(folder, "z-image")


def test_a_lora_for_another_transformer_is_refused(tmp_path: Path) -> None:
    layer = "transformer.single_transformer_blocks.0.attn.to_q"
    written({"flux.safetensors": weights(name=f"{layer}.lora_A.weight")}, tmp_path)
    with pytest.raises(ModelRefused, match="family flux-fill, not z-image"):
        check_lora(tmp_path / "flux.safetensors", "z-image")


def test_turbo_takes_few_steps_without_guidance_and_the_other_guided_ones() -> None:
    shipped = {spec.slug: spec for spec in SHIPPED if spec.family == "z-image"}
    assert {slug: (spec.steps, spec.guidance_scale) for slug, spec in shipped.items()} == {
        "z-image-turbo": (8, 1.0),
        "z-image": (50, 5.0),
    }
    assert {spec.licence for spec in shipped.values()} == {"Apache-2.0"}


def transformer(path: Path, **more: tuple[str, tuple[int, ...]]) -> TransformerFile:
    """A file of the published shapes."""
    found = read_component_file(write_sparse(path, {**z_image(), **more}), "z-image")
    assert isinstance(found, TransformerFile)
    return found


def test_a_file_of_the_published_shapes_has_the_published_configuration(tmp_path: Path) -> None:
    """transformer/config.json of Tongyi-MAI/Z-Image-Turbo."""
    file = transformer(tmp_path / "z_image_turbo_bf16.safetensors")
    file.check()
    assert file.transformer_configuration() == {
        "_class_name": "ZImageTransformer2DModel",
        "all_f_patch_size": [1],
        "all_patch_size": [2],
        "axes_dims": [32, 48, 48],
        "axes_lens": [1536, 512, 512],
        "cap_feat_dim": 2560,
        "dim": 3840,
        "in_channels": 16,
        "n_heads": 30,
        "n_kv_heads": 30,
        "n_layers": 30,
        "n_refiner_layers": 2,
        "norm_eps": 1e-05,
        "qk_norm": True,
        "rope_theta": 256.0,
        "t_scale": 1000.0,
    }


@pytest.mark.parametrize(
    ("name", "shift"), [("z_image_turbo_bf16", 3.0), ("my-merge", 3.0), ("z_image_bf16", 6.0), ("Z-Image-Base-Q8", 6.0)]
)
def test_the_name_of_a_file_tells_the_schedule(tmp_path: Path, name: str, shift: float) -> None:
    assert transformer(tmp_path / f"{name}.safetensors").scheduler_configuration()["shift"] == shift


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("siglip_embedder.1.weight", (3840, 1152), "is Z-Image-Omni, which takes images as input too"),
        ("x_embedder.weight", (3840, 12), "is a transformer with 12 input channels; Z-Image has 64"),
        ("layers.0.attention.q_norm.weight", (100,), "its heads have a width of 100 of 3840"),
    ],
)
def test_a_transformer_of_another_model_is_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(ModelRefused, match=reason):
        transformer(tmp_path / "z.safetensors", **{name: ("BF16", shape)}).check()
