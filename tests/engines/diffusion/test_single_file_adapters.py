"""A VAE or ControlNet of one file, in the original layout or in that of diffusers, is the network that was saved."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, SiglipVisionConfig, SiglipVisionModel

from inpainting import families
from inpainting.catalog import configurations
from inpainting.catalog.inspection import image_encoders
from inpainting.catalog.specs import ControlImageKind, Kind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.serving.loading.adapter_loading import load_adapter
from inpainting.models import InferenceModel
from tests.engines.diffusion.pipelines import CPU
from tests.support import comfyui_files, original_layout, tiny_adapters, tiny_models
from tests.support.published_headers import write_sparse

CONTROLNET = {
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
    "controlnet_mid_block": "middle_block_out.0",
}


def without(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def original_controlnet(network: Any) -> dict[str, torch.Tensor]:
    """The tensors of a ControlNet by the names of lllyasviel/ControlNet, without a prefix."""
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("controlnet_")}
    shared = [(name, tensor) for name, tensor in network.state_dict().items() if name not in own]

    class Shared:
        config = network.config

        @staticmethod
        def state_dict() -> dict[str, torch.Tensor]:
            return dict(shared)

    tensors = without(original_layout.UNET, original_layout.unet(Shared))
    for name, tensor in own.items():
        part, _, end = name.rpartition(".")
        if ".blocks." in part:
            part = f"input_hint_block.{2 * int(part.rpartition('.')[2]) + 2}"
        elif part.startswith("controlnet_down_blocks."):
            part = f"zero_convs.{part.rpartition('.')[2]}.0"
        tensors[f"{CONTROLNET.get(part, part)}.{end}"] = tensor
    return tensors


def vae_files(folder: Path, layout: str) -> Any:
    network = tiny_models.vae().eval()
    original = dict(original_layout.vae(network))
    return network, {
        "original": without(original_layout.VAE, original),
        "prefixed": original,
        "diffusers": network.state_dict(),
    }[layout]


def controlnet_files(folder: Path, layout: str) -> Any:
    network = tiny_adapters.controlnet("sd")
    original = original_controlnet(network)
    return network, {
        "original": original,
        "prefixed": {f"control_model.{name}": tensor for name, tensor in original.items()},
        "diffusers": network.state_dict(),
    }[layout]


@pytest.mark.parametrize("layout", ["original", "prefixed", "diffusers"])
@pytest.mark.parametrize("kind", [Kind.VAE, Kind.CONTROLNET])
def test_one_file_gives_the_network_that_was_saved(tmp_path: Path, kind: Kind, layout: str) -> None:
    network, tensors = (vae_files if kind is Kind.VAE else controlnet_files)(tmp_path, layout)
    (tmp_path / "config.json").write_text(network.to_json_string())
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, tmp_path / "my.v2.safetensors")
    control = ControlImageKind.CANNY if kind is Kind.CONTROLNET else None
    spec = ModelSpec(slug="mine", label="Mine", family="sd", kind=kind, control=control, path=tmp_path)
    loaded = load_adapter(spec, CPU)
    for name, expected in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("family", "options", "tensors", "expected"),
    [
        ("sd", ["--kind=vae"], {"decoder.conv_in.weight": [1]}, {"scaling_factor": 0.18215}),
        ("sdxl", ["--kind=vae"], {"decoder.conv_in.weight": [1]}, {"scaling_factor": 0.13025}),
        ("flux-fill", ["--kind=vae"], {"decoder.conv_in.weight": [2, 16, 1, 1]}, {"shift_factor": 0.1159}),
        ("z-image", ["--kind=vae"], {"decoder.conv_in.weight": [2, 16, 1, 1]}, {"shift_factor": 0.1159}),
        (
            "sd",
            ["--kind=controlnet", "--control=canny"],
            {"input_hint_block.0.weight": [1], "input_blocks.1.1.attn2.to_k.weight": [2, 768]},
            {"cross_attention_dim": 768, "_class_name": "ControlNetModel"},
        ),
    ],
)
def test_one_file_is_added_with_the_published_configuration(
    db: None,
    tmp_path: Path,
    settings: Any,
    family: str,
    options: list[str],
    tensors: dict[str, list[int]],
    expected: dict[str, Any],
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    path = tmp_path / "mine.safetensors"
    save_file({name: torch.ones(shape) for name, shape in tensors.items()}, path)
    call_command("add_model", "mine", f"--family={family}", f"--from={path}", *options, stdout=StringIO())
    model = InferenceModel.objects.get(slug="mine")
    assert model.weights is not None
    configuration = json.loads((model.weights / "config.json").read_text())
    assert expected.items() <= configuration.items()


def test_a_union_of_one_file_is_the_network_that_was_saved(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    network = tiny_adapters.controlnet("sdxl", modes=8)
    published = {**network.config, "_class_name": "ControlNetModel"}
    del published["num_control_type"]
    monkeypatch.setattr(configurations, "controlnet_configuration", lambda name: dict(published))
    width = tiny_adapters.TEXT_FEATURES["sdxl"]
    sdxl = replace(families.get("sdxl"), configurations={width: ("sdxl",)})
    monkeypatch.setitem(families.registry, "sdxl", sdxl)
    path = tmp_path / "promax.v2.safetensors"
    save_file(network.state_dict(), path)
    options = ["--kind=controlnet", "--control=union", f"--from={path}"]
    call_command("add_model", "promax", "--family=sdxl", *options, stdout=StringIO())
    loaded = load_adapter(InferenceModel.objects.get(slug="promax").spec, CPU)
    assert type(loaded) is type(network)
    assert loaded.config.num_control_type == 8
    for name, expected in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], expected, rtol=0, atol=0)


def test_a_union_names_what_nothing_reads_and_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = tiny_adapters.saved_controlnet(tmp_path, "sdxl", ControlImageKind.UNION, modes=8)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "extra.weight": torch.zeros(2)}, path)
    load_adapter(spec, CPU)
    assert "“extra.weight”" in caplog.text
    del tensors["spatial_ch_projs.weight"]
    save_file(tensors, path)
    with pytest.raises(EngineFailed, match="cannot be loaded"):
        load_adapter(spec, CPU)


@pytest.mark.parametrize(
    ("width", "projection", "numbers"), [(1280, 1024, 2_528_307_200 // 4), (1664, 1280, 3_689_814_528 // 2)]
)
def test_the_configuration_of_an_image_encoder_gives_the_network_of_its_file(
    width: int, projection: int, numbers: int, tmp_path: Path
) -> None:
    """With as many numbers as the tensors of the published files, which are in float32 and float16."""
    tensors = comfyui_files.clip_vision(width, projection)
    path = write_sparse(tmp_path / "encoder.safetensors", tensors)
    with torch.device("meta"):
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**image_encoders.configuration(path)))
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    assert {name: shapes[name] for name in tensors} == {name: shape for name, (_, shape) in tensors.items()}
    assert sum(tensor.numel() for tensor in encoder.parameters()) == numbers


def test_the_configuration_of_siglip_gives_the_network_of_its_file(tmp_path: Path) -> None:
    """With as many numbers as the published file, which is in float16."""
    tensors = comfyui_files.siglip_vision()
    path = write_sparse(tmp_path / "encoder.safetensors", tensors)
    with torch.device("meta"):
        encoder = SiglipVisionModel(SiglipVisionConfig(**image_encoders.configuration(path)))
    shapes = {f"vision_model.{name}": tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    assert {name: shapes[name] for name in tensors} == {name: shape for name, (_, shape) in tensors.items()}
    assert sum(tensor.numel() for tensor in encoder.parameters()) == 856_451_200 // 2


def test_a_file_of_another_kind_is_refused(db: None, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({"decoder.conv_in.weight": torch.ones(2, 16, 1, 1)}, path)
    with pytest.raises(CommandError, match="latents of “16” channels, not 4"):
        call_command("add_model", "mine", "--family=sd", "--kind=vae", f"--from={path}")
    save_file({"up.weight": torch.ones(2)}, path)
    with pytest.raises(CommandError, match="no VAE of a published shape"):
        call_command("add_model", "mine", "--family=sd", "--kind=vae", f"--from={path}")
