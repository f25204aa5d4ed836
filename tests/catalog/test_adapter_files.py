"""Checks of VAEs, ControlNets, IP-Adapters and embeddings, and the choice of their files in a repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from inpainting.catalog.inspection.adapter_files import adapter_files, check_adapter, single_file_configuration
from inpainting.catalog.inspection.files import ModelRefused, installed_weights
from inpainting.catalog.specs import Kind
from tests.support.adapter_folders import ip_adapter, network

ADAPTERS = [
    *("README.md", "models/image_encoder/config.json", "models/image_encoder/model.safetensors"),
    *("models/image_encoder/pytorch_model.bin", "models/ip-adapter_sd15.bin", "models/ip-adapter_sd15.safetensors"),
    *("models/ip-adapter-plus-face_sd15.safetensors", "sdxl_models/image_encoder/config.json"),
    *("sdxl_models/image_encoder/model.safetensors", "sdxl_models/ip-adapter_sdxl.safetensors"),
    "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors",
]
"""As the published repository is laid out."""


def test_valid_adapters_pass_and_are_found_where_they_are_installed(tmp_path: Path) -> None:
    for kind, name in {Kind.VAE: "AutoencoderKL", Kind.CONTROLNET: "ControlNetModel"}.items():
        folder = network(tmp_path / kind, _class_name=name)
        check_adapter(folder, "sd", kind)
        assert installed_weights(folder) == folder
    adapter = ip_adapter(tmp_path / "adapter")
    check_adapter(adapter, "sd", Kind.IP_ADAPTER)
    assert installed_weights(adapter) == adapter


@pytest.mark.parametrize(
    ("kind", "configuration", "message"),
    [
        (Kind.VAE, {"_class_name": "ControlNetModel"}, "AutoencoderTiny"),
        (Kind.CONTROLNET, {}, "names the class"),
        (Kind.CONTROLNET, {"_class_name": "ControlNetModel", "cross_attention_dim": 2048}, "family sdxl, not sd"),
        (Kind.CONTROLNET, {"_class_name": "ControlNetModel", "auto_map": {"a": "b.c"}}, "refers to code of its own"),
    ],
)
def test_a_network_of_another_class_or_family_is_refused(
    kind: Kind, configuration: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelRefused, match=message):
        check_adapter(network(tmp_path / "part", **configuration), "sd", kind)


def test_an_adapter_with_unknown_tensors_or_without_its_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"it holds “unet\.weight”"):
        check_adapter(ip_adapter(tmp_path / "strange", tensor="unet.weight"), "sd", Kind.IP_ADAPTER)
    lonely = ip_adapter(tmp_path / "lonely")
    (lonely / "models" / "image_encoder" / "model.safetensors").unlink()
    with pytest.raises(ModelRefused, match=r"no \.safetensors file"):
        check_adapter(lonely, "sd", Kind.IP_ADAPTER)


@pytest.mark.parametrize("tensor", ["image_proj.proj.0.weight", "image_proj.perceiver_resampler.proj_in.weight"])
def test_an_adapter_for_the_identity_of_a_face_is_refused_with_the_reason(tmp_path: Path, tensor: str) -> None:
    with pytest.raises(ModelRefused, match=r"\(FaceID\), which needs another network"):
        check_adapter(ip_adapter(tmp_path / "face", tensor=tensor), "sd", Kind.IP_ADAPTER)


def test_a_pickle_beside_valid_files_is_refused(tmp_path: Path) -> None:
    folder = network(tmp_path / "vae", _class_name="AutoencoderKL")
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelRefused, match="pickle"):
        check_adapter(folder, "sd", Kind.VAE)


@pytest.mark.parametrize("kind", [Kind.VAE, Kind.IP_ADAPTER])
def test_an_adapter_configuration_beside_the_weights_is_refused(kind: Kind, tmp_path: Path) -> None:
    """transformers loads such an adapter, or its base model from another place, automatically."""
    folder = place = network(tmp_path / "vae", _class_name="AutoencoderKL")
    if kind is Kind.IP_ADAPTER:
        folder = ip_adapter(tmp_path / "adapter")
        place = folder / "models" / "image_encoder"
    (place / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')
    with pytest.raises(ModelRefused, match=r"adapter_config\.json"):
        check_adapter(folder, "sd", kind)


@pytest.mark.parametrize(
    ("family", "variant", "adapter", "encoder"),
    [
        ("sd", "ip-adapter_sd15", "models/ip-adapter_sd15", "models"),
        ("sdxl", "ip-adapter_sdxl", "sdxl_models/ip-adapter_sdxl", "sdxl_models"),
        ("sdxl", "ip-adapter-plus_sdxl_vit-h", "sdxl_models/ip-adapter-plus_sdxl_vit-h", "models"),
    ],
)
def test_an_ip_adapter_needs_the_encoder_it_was_trained_with(
    family: str, variant: str, adapter: str, encoder: str
) -> None:
    assert adapter_files(ADAPTERS, Kind.IP_ADAPTER, family, variant) == [
        f"{adapter}.safetensors",
        f"{encoder}/image_encoder/config.json",
        f"{encoder}/image_encoder/model.safetensors",
    ]


def test_the_files_of_the_variant_are_chosen_or_the_plain_ones() -> None:
    plain, half = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"
    names = ["config.json", "diffusion_pytorch_model.bin", "images/picture.png", plain, half]
    assert adapter_files(names, Kind.CONTROLNET, "sd", "fp16") == ["config.json", half]
    assert adapter_files(names[:-1], Kind.CONTROLNET, "sd", "fp16") == ["config.json", plain]
    with pytest.raises(ModelRefused, match=r"no \.safetensors file"):
        adapter_files(names[:2], Kind.CONTROLNET, "sd", "")


def test_the_variant_selects_one_of_several_embeddings(tmp_path: Path) -> None:
    names = ["cat.safetensors", "dog.safetensors", "learned_embeds.bin"]
    assert adapter_files(names, Kind.EMBEDDING, "sd", "dog") == ["dog.safetensors"]
    with pytest.raises(ModelRefused, match="named with --variant"):
        adapter_files(names, Kind.EMBEDDING, "sd", "")


@pytest.mark.parametrize("modes", [6, 8])
def test_a_union_of_one_file_has_the_published_configuration_with_its_modes(tmp_path: Path, modes: int) -> None:
    path = tmp_path / "union.safetensors"
    tensors = {
        "task_embedding": [modes, 320],
        "controlnet_cond_embedding.conv_in.weight": [16, 3, 3, 3],
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": [640, 2048],
    }
    save_file({name: np.zeros(shape, np.float16) for name, shape in tensors.items()}, path)
    configuration = single_file_configuration(path, "sdxl", Kind.CONTROLNET)
    assert (configuration["_class_name"], configuration["num_control_type"]) == ("ControlNetUnionModel", modes)
    assert configuration["transformer_layers_per_block"] == [1, 2, 10]
    with pytest.raises(ModelRefused, match="no ControlNet of a published shape for the family sd;"):
        single_file_configuration(path, "sd", Kind.CONTROLNET)
