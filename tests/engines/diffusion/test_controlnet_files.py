"""A ControlNet for a transformer in one file, as people have it, is the network that was saved."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import save_file

from inpainting.catalog.inspection.adapter_files import single_file_configuration
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.scanning import scan
from inpainting.catalog.specs import ControlImageKind, Kind
from inpainting.engines.diffusion.serving.loading.adapter_loading import load_adapter
from inpainting.families.flux_dev import controlnet_files as flux_files
from inpainting.families.qwen_image import controlnet_files as qwen_image_files
from inpainting.families.sd3 import controlnet_files as sd3_files
from inpainting.families.sd3.controlnet import SD3ControlNetModel
from inpainting.families.z_image import controlnet_files as z_image_files
from inpainting.models import InferenceModel
from tests.engines.diffusion.pipelines import CPU
from tests.support import comfyui_files, tiny_adapters
from tests.support.published_headers import scaled, write_sparse

SD3_NAMES = {
    ".attn.to_out.0.": ".attn.proj.",
    ".norm1.linear.": ".adaLN_modulation.1.",
    ".ff.net.0.proj.": ".mlp.fc1.",
    ".ff.net.2.": ".mlp.fc2.",
}
"""Parts of the names of layers in diffusers -> those of Stability AI's files."""


def added(path: Path, family: str, control: str) -> Any:
    """The network of a file that `add_model` adds."""
    options = [f"--family={family}", "--kind=controlnet", f"--control={control}", f"--from={path}"]
    call_command("add_model", path.stem, *options, stdout=StringIO())
    return load_adapter(InferenceModel.objects.get(slug=path.stem).spec, CPU)


def assert_same(loaded: Any, network: Any) -> None:
    assert type(loaded) is type(network)
    own = {name: value for name, value in network.config.items() if not name.startswith("_")}
    assert {name: loaded.config[name] for name in own} == own
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, expected in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], expected, rtol=0, atol=0)


@pytest.mark.parametrize("refiner", [None, "control_layers", "control_noise_refiner"])
@pytest.mark.parametrize("has_unused_layers", [True, False])
def test_each_version_of_z_image_fun_is_told_by_its_tensors(
    db: None,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    refiner: str | None,
    has_unused_layers: bool,
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    monkeypatch.setattr(z_image_files, "WIDTH", 32)
    monkeypatch.setattr(z_image_files, "LAYERS", 2)
    places = None if refiner is None else [0]
    network = tiny_adapters.z_image_controlnet(refiner=refiner, control_refiner_layers_places=places)
    tensors = network.state_dict()
    if refiner == "control_layers":
        # The published file of 2.0 has layers that were not trained: their first projection is 0.
        unused = tiny_adapters.z_image_controlnet().control_noise_refiner.state_dict()
        unused["0.before_proj.weight"] = torch.zeros_like(unused["0.before_proj.weight"])
        if not has_unused_layers:
            del unused["0.before_proj.weight"]
        tensors |= {f"control_noise_refiner.{name}": tensor for name, tensor in unused.items()}
    path = tmp_path / "fun.safetensors"
    save_file(tensors, path)
    assert_same(added(path, "z-image", "union"), network)


@pytest.mark.parametrize(("control", "inpaints"), [("inpaint", True), ("union", False)])
def test_one_of_qwen_image_is_told_by_its_tensors(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, control: str, inpaints: bool
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    monkeypatch.setattr(qwen_image_files, "WIDTH", 64)
    monkeypatch.setattr(qwen_image_files, "ROPE", (4, 14, 14))
    network = tiny_adapters.qwen_image_controlnet(inpaints=inpaints, axes_dims_rope=[4, 14, 14], num_layers=2)
    path = tmp_path / f"instantx.v1-{control}.safetensors"
    save_file(network.state_dict(), path)
    assert_same(added(path, "qwen-image", control), network)


@pytest.mark.parametrize(
    ("control", "shape"),
    [
        ("inpaint", {"inpaints": True, "num_layers": 2}),
        ("union", {"inpaints": False, "num_single_layers": 2, "num_mode": 10}),
        ("depth", {"inpaints": False, "num_layers": 3, "guidance_embeds": False}),
    ],
)
def test_one_of_flux_is_told_by_its_tensors(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, control: str, shape: dict[str, Any]
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    monkeypatch.setattr(flux_files, "WIDTH", 32)
    monkeypatch.setattr(flux_files, "HEAD_WIDTH", 16)
    monkeypatch.setattr(flux_files, "ROPE_AXES", [4, 6, 6])
    network = tiny_adapters.flux_controlnet(**shape)
    path = tmp_path / f"flux-{control}.safetensors"
    save_file(network.state_dict(), path)
    assert_same(added(path, "flux-dev", control), network)


@pytest.mark.parametrize("control", ["canny", "depth", "tile"])
def test_one_of_stability_ai_in_its_own_names_is_the_network_that_was_saved(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, control: str
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    monkeypatch.setattr(sd3_files, "HEAD_WIDTH", 16)
    network = tiny_adapters.sd3_controlnet(
        inpaints=False, reads_text=False, sample_size=128, caption_projection_dim=48, dual_attention_layers=[]
    )
    tensors, renamed = network.state_dict(), dict[str, torch.Tensor]()
    for name, tensor in tensors.items():
        if ".attn.to_q." in name:
            parts = [tensors[name.replace("to_q", f"to_{way}")] for way in "qkv"]
            renamed[name.replace("to_q", "qkv")] = torch.cat(parts)
        elif ".attn.to_k." not in name and ".attn.to_v." not in name:
            for ours, theirs in SD3_NAMES.items():
                name = name.replace(ours, theirs)
            renamed[name] = tensor
    assert len(renamed) < len(tensors)
    path = tmp_path / f"sd3.5_large_controlnet_{control}.safetensors"
    save_file({**renamed, "control_type": torch.tensor(1)}, path)
    assert_same(added(path, "sd3", control), network)


@pytest.mark.parametrize("shape", [{}, {"dual_attention_layers": [0], "qk_norm": "rms_norm", "num_layers": 3}])
def test_one_of_sd3_in_the_names_of_diffusers_is_told_by_its_tensors(
    db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, shape: dict[str, Any]
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    monkeypatch.setattr(sd3_files, "HEAD_WIDTH", 16)
    network = tiny_adapters.sd3_controlnet(**{"dual_attention_layers": [], "sample_size": 128, **shape})
    path = tmp_path / "sd3-inpainting.v1.safetensors"
    save_file(network.state_dict(), path)
    assert_same(added(path, "sd3", "inpaint"), network)


def test_the_configuration_of_one_for_sd35_large_gives_the_network_of_its_file(tmp_path: Path) -> None:
    """With as many numbers as the published files of 8.6 GB, which are in float32."""
    path = write_sparse(tmp_path / "canny.safetensors", comfyui_files.sd3_controlnet())
    with torch.device("meta"):
        network = SD3ControlNetModel.from_config(single_file_configuration(path, "sd3", Kind.CONTROLNET))
    assert round(4 * sum(tensor.numel() for tensor in network.parameters()) / 1e9, 1) == 8.6


@pytest.mark.parametrize(
    ("layers", "places"), [(6, [0, 5, 10, 15, 20, 25]), (15, [*range(0, 30, 2)]), (3, [0, 10, 20])]
)
def test_the_layers_on_which_a_published_file_acts_follow_from_their_number(
    tmp_path: Path, layers: int, places: list[int]
) -> None:
    path = write_sparse(tmp_path / "fun.safetensors", comfyui_files.z_image_fun(layers, 33))
    configuration = single_file_configuration(path, "z-image", Kind.CONTROLNET)
    assert configuration["control_layers_places"] == places
    assert (configuration["dim"], configuration["n_heads"]) == (3840, 30)


@pytest.mark.parametrize("family", ["z-image", "qwen-image", "flux-dev", "sd3"])
def test_quantised_weights_are_refused(tmp_path: Path, family: str) -> None:
    tensors = {
        "z-image": lambda: comfyui_files.z_image_fun(15, 33),
        "qwen-image": lambda: comfyui_files.qwen_controlnet(68),
        "flux-dev": lambda: comfyui_files.flux_controlnet(68),
        "sd3": comfyui_files.sd3_controlnet,
    }[family]()
    path = write_sparse(tmp_path / "fp8.safetensors", scaled(tensors))
    with pytest.raises(ModelRefused, match=r"quantised weights \(F8_E4M3\): take it in 16 or 32 bits"):
        single_file_configuration(path, family, Kind.CONTROLNET)


@pytest.mark.parametrize(
    ("family", "other"),
    [
        ("z-image", "sdxl"),
        ("z-image", "flux-fill"),
        ("qwen-image", "z-image"),
        ("flux-dev", "qwen-image"),
        ("sd3", "z-image"),
    ],
)
def test_one_for_another_family_is_refused(db: None, tmp_path: Path, family: str, other: str) -> None:
    folder = tmp_path / "union"
    tiny_adapters.saved_controlnet(folder, family, ControlImageKind.UNION)
    (found,) = scan(tmp_path, tmp_path)
    assert (found.kind, found.family, found.control, found.reason) == (Kind.CONTROLNET, family, "union", "")
    options = [f"--family={other}", "--kind=controlnet", "--control=union"]
    with pytest.raises(CommandError, match=r"names the class|take no ControlNets"):
        call_command("add_model", "mine", *options, f"--from={folder}", stdout=StringIO())
    with pytest.raises(ModelRefused, match="no ControlNet of a published shape"):
        single_file_configuration(folder / "diffusion_pytorch_model.safetensors", other, Kind.CONTROLNET)
