"""The family of a LoRA, by its layers and its metadata: what is for another model is never added for a family."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.lora_files import LoraRefused, check_lora, detect_family, read_base_models
from tests.support import comfyui_files, published_headers
from tests.support.comfyui_files import KLEIN_ATTENTION, KLEIN_DIFFUSERS
from tests.support.published_headers import blocks, lora, write_sparse

DOUBLE = {"img_attn.qkv": (9216, 3072), "txt_attn.proj": (3072, 3072)}
MLP = {"img_mlp.2": (3072, 9216)}
OF_KLEIN, OF_CHROMA = {"ss_base_model_version": "flux2_klein_4b"}, {"ss_base_model_version": "chroma"}
FOR_FLUX = [place for place in comfyui_files.FILES if place.startswith("loras/flux-") and "xlabs" not in place]


@pytest.mark.parametrize(
    ("tensors", "notes", "other"),
    [
        (lora(KLEIN_DIFFUSERS), {}, "FLUX.2"),
        (lora(KLEIN_ATTENTION, prefix="diffusion_model."), {}, "FLUX.2 [klein]"),
        (lora(KLEIN_ATTENTION, prefix="lora_unet_", is_kohya=True), {}, "FLUX.2 [klein]"),
        (lora(blocks("double_blocks", 5, DOUBLE), prefix="diffusion_model."), {}, "FLUX.2 [klein]"),
        (lora(blocks("transformer_blocks", 5, {"attn.to_q": (3072, 3072)})), {}, "FLUX.2 [klein]"),
        (lora({"single_blocks.3.linear1": (27648, 3072)}, prefix="diffusion_model."), {}, "FLUX.2 [klein]"),
        (lora({"single_blocks.3.linear2": (3072, 12288)}, prefix="lora_unet_", is_kohya=True), {}, "FLUX.2 [klein]"),
        (lora(blocks("double_blocks", 2, MLP), prefix="lora_unet_", is_kohya=True), {}, "FLUX.2 [klein]"),
        (lora({"double_blocks.7.img_attn.qkv": (12288, 4096)}, prefix="diffusion_model."), {}, "FLUX.2 [klein] 9B"),
        (lora({"transformer_blocks.7.attn.to_q": (6144, 6144)}), {}, "FLUX.2 [dev]"),
        (lora({"transformer_blocks.7.attn.to_q": (3072, 3072)}), OF_KLEIN, "FLUX.2 [klein]"),
        (lora({"double_blocks.7.img_attn.qkv": (9216, 3072)}, prefix="lora_unet_", is_kohya=True), OF_CHROMA, "Chroma"),
        (lora({"distilled_guidance_layer.in_proj": (5120, 64)}, prefix="diffusion_model."), {}, "Chroma"),
        (lora({"double_blocks.0.img_attn_qkv": (9216, 3072)}, prefix="diffusion_model."), {}, "HunyuanVideo"),
        (lora(blocks("double_blocks", 20, DOUBLE), prefix="lora_unet_", is_kohya=True), {}, "more blocks"),
    ],
)  # fmt: skip
def test_a_lora_for_another_model_with_the_same_names_is_not_taken_for_flux_1(
    tmp_path: Path, tensors: published_headers.Tensors, notes: dict[str, str], other: str
) -> None:
    path = write_sparse(tmp_path / "one.safetensors", tensors, notes)
    assert detect_family(read_header(path), read_base_models(path)) != "flux-fill"
    with pytest.raises(LoraRefused) as caught:
        check_lora(path, "flux-fill")
    assert other in caught.value.message


@pytest.mark.parametrize("place", FOR_FLUX)
def test_loras_for_flux_1_are_taken_for_it(tmp_path: Path, place: str) -> None:
    path = write_sparse(tmp_path / "one.safetensors", comfyui_files.FILES[place]())
    check_lora(path, "flux-fill")
    assert detect_family(read_header(path)) == "flux-fill"


def test_metadata_tells_a_lora_of_five_blocks_of_flux_1(tmp_path: Path) -> None:
    tensors = lora(blocks("double_blocks", 5, DOUBLE), prefix="diffusion_model.")
    path = write_sparse(tmp_path / "one.safetensors", tensors, {"modelspec.architecture": "Flux.1-dev/lora"})
    check_lora(path, "flux-fill")


@pytest.mark.parametrize(
    ("note", "text", "family"),
    [
        ("ss_base_model_version", "sd_v1", "sd"),
        ("ss_base_model_version", "sd_v2_v", "sd"),
        ("ss_base_model_version", "sd_1.5", "sd"),
        ("ss_base_model_version", "sdxl_base_v1-0", "sdxl"),
        ("ss_base_model_version", "sdxl_1.0", "sdxl"),
        ("ss_sd_model_name", "v1-5-pruned-emaonly.safetensors", "sd"),
        ("ss_sd_model_name", "sd_xl_base_1.0.safetensors", "sdxl"),
        ("ss_sd_model_name", "ponyDiffusionV6XL.safetensors", "sdxl"),
        ("ss_sd_model_name", "mine.safetensors", None),
        ("modelspec.architecture", "stable-diffusion-v1/lora", "sd"),
        ("modelspec.architecture", "stable-diffusion-xl-v1-base/lora", "sdxl"),
        ("modelspec.architecture", "Flux.1-dev/lora", None),  # whose layers have other names
    ],
)
def test_metadata_tells_the_family_where_the_layers_do_not(
    tmp_path: Path, note: str, text: str, family: str | None
) -> None:
    tensors = lora(comfyui_files.SD_SELF, prefix="lora_unet_", is_kohya=True)
    path = write_sparse(tmp_path / "one.safetensors", tensors, {note: text})
    assert detect_family(read_header(path), read_base_models(path)) == family


def test_layers_count_more_than_metadata(tmp_path: Path) -> None:
    tensors = lora(comfyui_files.XL_ATTENTION, prefix="lora_unet_", is_kohya=True)
    path = write_sparse(tmp_path / "one.safetensors", tensors, {"ss_base_model_version": "sd_v1"})
    assert detect_family(read_header(path), read_base_models(path)) == "sdxl"


@pytest.mark.parametrize(
    "place", [place for place in comfyui_files.FILES if place.startswith(("loras/zimage", "loras/qwen", "loras/sd35"))]
)
def test_loras_in_the_names_of_every_trainer_are_accepted(tmp_path: Path, place: str) -> None:
    path = write_sparse(tmp_path / "one.safetensors", comfyui_files.FILES[place]())
    family = {"zimage": "z-image", "qwen": "qwen-image", "sd35": "sd3"}[re.split(r"[/-]", place)[1]]
    assert detect_family(read_header(path)) == family
    check_lora(path, family)


def test_a_lora_for_lumina_is_not_taken_for_its_successor(tmp_path: Path) -> None:
    tensors = lora({"layers.0.attention.qkv": (6912, 2304)}, prefix="diffusion_model.")
    path = write_sparse(tmp_path / "one.safetensors", tensors)
    assert detect_family(read_header(path)) is None
    with pytest.raises(LoraRefused, match=r"Lumina-Image 2\.0, not for Z-Image"):
        check_lora(path, "z-image")


KLEIN = [place for place in comfyui_files.FILES if place.startswith("loras/klein")]


@pytest.mark.parametrize("place", KLEIN)
def test_loras_for_klein_are_taken_for_it(tmp_path: Path, place: str) -> None:
    path = write_sparse(tmp_path / "one.safetensors", comfyui_files.FILES[place](), comfyui_files.NOTES.get(place, {}))
    assert detect_family(read_header(path), read_base_models(path)) == "flux2-klein"
    check_lora(path, "flux2-klein")


@pytest.mark.parametrize(
    ("tensors", "other"),
    [
        (lora({"double_blocks.7.img_attn.qkv": (18432, 6144)}, prefix="diffusion_model."), r"FLUX\.2 \[dev\]"),
        (lora({"single_transformer_blocks.0.attn.to_qkv_mlp_proj": (55296, 6144)}), r"FLUX\.2 \[dev\]"),
        (lora({"distilled_guidance_layer.in_proj": (5120, 64)}, prefix="diffusion_model."), "Chroma"),
        (lora({"single_blocks.3.linear1": (21504, 3072)}, prefix="diffusion_model."), "flux-fill, not flux2-klein"),
    ],
)
def test_a_lora_for_another_model_is_not_taken_for_klein(
    tmp_path: Path, tensors: published_headers.Tensors, other: str
) -> None:
    path = write_sparse(tmp_path / "one.safetensors", tensors)
    assert detect_family(read_header(path), read_base_models(path)) != "flux2-klein"
    with pytest.raises(LoraRefused, match=other):
        check_lora(path, "flux2-klein")


@pytest.mark.parametrize(
    ("tensors", "notes", "is_certain"),
    [
        (lora(blocks("double_blocks", 19, DOUBLE), prefix="lora_unet_", is_kohya=True), {}, False),
        (lora({"single_transformer_blocks.7.attn.to_q": (3072, 3072)}), {}, False),
        (lora({"transformer_blocks.7.attn.to_q": (3072, 3072)}), OF_CHROMA, True),
        (lora({"distilled_guidance_layer.in_proj": (5120, 64)}, prefix="diffusion_model."), {}, True),
    ],
)
def test_loras_for_chroma_are_taken_for_it(
    tmp_path: Path, tensors: published_headers.Tensors, notes: dict[str, str], is_certain: bool
) -> None:
    path = write_sparse(tmp_path / "one.safetensors", tensors, notes)
    assert detect_family(read_header(path), read_base_models(path)) == ("chroma" if is_certain else "flux-fill")
    check_lora(path, "chroma")


@pytest.mark.parametrize(
    ("tensors", "notes", "other"),
    [
        (lora({"double_blocks.0.img_mod.lin": (18432, 3072)}, prefix="diffusion_model."), {}, "FLUX.1"),
        (lora({"single_transformer_blocks.0.norm.linear": (9216, 3072)}), {}, "FLUX.1"),
        (lora(DOUBLE, prefix="diffusion_model."), {"modelspec.architecture": "Flux.1-dev/lora"}, "FLUX.1"),
        (lora({"single_blocks.3.linear2": (3072, 12288)}, prefix="lora_unet_", is_kohya=True), {}, "FLUX.2 [klein]"),
    ],
)
def test_a_lora_for_another_model_is_not_taken_for_chroma(
    tmp_path: Path, tensors: published_headers.Tensors, notes: dict[str, str], other: str
) -> None:
    path = write_sparse(tmp_path / "one.safetensors", tensors, notes)
    assert detect_family(read_header(path), read_base_models(path)) != "chroma"
    with pytest.raises(LoraRefused) as caught:
        check_lora(path, "chroma")
    assert f"is a LoRA for {other}" in caught.value.message


@pytest.mark.parametrize(
    ("tensors", "notes"),
    [
        (lora({"transformer_blocks.5.attn.to_q": (3072, 3072)}), {"ss_base_model_version": "qwen_image"}),
        (lora({"single_transformer_blocks.5.attn.to_q": (3072, 3072)}), {}),
        (lora(comfyui_files.XL_ATTENTION, prefix="lora_unet_", is_kohya=True), {}),
    ],
)
def test_a_lora_for_another_model_is_not_taken_for_stable_diffusion_3(
    tmp_path: Path, tensors: published_headers.Tensors, notes: dict[str, str]
) -> None:
    path = write_sparse(tmp_path / "one.safetensors", tensors, notes)
    with pytest.raises(LoraRefused):
        check_lora(path, "sd3")


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux-fill", "qwen-image", "z-image"])
def test_a_lora_for_stable_diffusion_3_is_not_taken_for_another_model(tmp_path: Path, family: str) -> None:
    tensors = lora({"transformer_blocks.20.attn.to_q": (2432, 2432)})  # in a block that Qwen-Image has
    with pytest.raises(LoraRefused):
        check_lora(write_sparse(tmp_path / "one.safetensors", tensors), family)
