"""What the files of one scan tell of each other: the family of a VAE, and the image encoder of an IP-Adapter."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inpainting.catalog.inspection.adapter_files import check_adapter
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.specs import Kind
from inpainting.models import InferenceModel
from tests.support.comfyui_files import clip_vision, ip_adapter, one, plain, plus, redux, siglip_vision
from tests.support.published_headers import Tensors, checkpoint, vae, write_sparse

VIT_H, VIT_G = clip_vision(1280, 1024), clip_vision(1664, 1280)
REDUX = "FluxPriorReduxPipeline"


@pytest.fixture
def folder(tmp_path: Path, settings: Any, db: None) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    return tmp_path / "comfyui"


def written(folder: Path, files: dict[str, Tensors]) -> None:
    for name, tensors in files.items():
        write_sparse(folder / f"{name}.safetensors", tensors)


def scanned(folder: Path, *arguments: str) -> dict[str, str]:
    """Name of a file without its suffix -> what is said of it."""
    output = StringIO()
    call_command("add_model", "--scan", str(folder), *arguments, stdout=output)
    rows = [line[8:].partition(": ") for line in output.getvalue().splitlines()]
    return {Path(place).stem: said for place, _, said in rows}


@pytest.mark.parametrize(
    ("name", "others", "family"),
    [
        ("clearvae", {"style": checkpoint(768)}, "sd"),
        ("clearvae", {"style": checkpoint(2048)}, "sdxl"),
        ("clearvae", {"style": checkpoint(768), "style-xl": checkpoint(2048)}, ""),
        ("clearvae", {}, ""),
        ("sdxl_vae", {"style": checkpoint(768)}, "sdxl"),
        ("vae-ft-ema-560000-ema-pruned", {"style": checkpoint(2048)}, "sd"),
    ],
)
def test_a_vae_is_for_the_family_that_its_name_tells_or_whose_models_lie_beside_it(
    folder: Path, name: str, others: dict[str, Tensors], family: str
) -> None:
    written(folder, {name: vae(prefix=""), **others})
    said = scanned(folder)[name]
    assert said == f"vae {family}, {name}" if family else "--family is sd or sdxl" in said


def test_a_vae_is_added_for_the_family_beside_it(folder: Path) -> None:
    written(folder, {"clearvae": vae(prefix=""), "style": checkpoint(768)})
    scanned(folder, "--add")
    model = InferenceModel.objects.get(slug="clearvae")
    assert (model.family, model.kind, model.is_installed) == ("sd", Kind.VAE, True)


def test_an_ip_adapter_is_added_with_the_image_encoder_that_it_was_trained_with(folder: Path) -> None:
    files = {"adapter-plus": plus(768, 1280), "adapter-xl": plain(2048, 1280), "vit-h": VIT_H}
    written(folder, {**files, "vit-g": VIT_G})
    scanned(folder, "--add")
    for slug, family, layers in (("adapter-plus", "sd", 32), ("adapter-xl", "sdxl", 48)):
        model = InferenceModel.objects.get(slug=slug)
        assert (model.family, model.kind, model.is_installed) == (family, Kind.IP_ADAPTER, True)
        assert model.weights is not None
        check_adapter(model.weights, family, Kind.IP_ADAPTER)
        configuration = json.loads((model.folder / "image_encoder/config.json").read_text())
        assert configuration["num_hidden_layers"] == layers
    encoder = InferenceModel.objects.get(slug="adapter-xl").folder / "image_encoder/model.safetensors"
    assert encoder.samefile(folder / "vit-g.safetensors")
    assert scanned(folder)["adapter-xl"] == "ip-adapter sdxl with vit-g.safetensors, adapter-xl"


def test_redux_of_comfyui_is_added_with_its_image_encoder(folder: Path) -> None:
    written(folder, {"flux1-redux-dev": redux(), "sigclip_vision_patch14_384": siglip_vision(), "vit-g": VIT_G})
    scanned(folder, "--add")
    model = InferenceModel.objects.get(slug="flux1-redux-dev")
    assert (model.family, model.kind, model.is_installed) == ("flux-dev", Kind.IP_ADAPTER, True)
    assert model.weights is not None
    check_adapter(model.weights, "flux-dev", Kind.IP_ADAPTER)
    configuration = json.loads((model.folder / "image_encoder/config.json").read_text())
    assert (configuration["architectures"], configuration["num_hidden_layers"]) == (["SiglipVisionModel"], 27)
    assert scanned(folder)["flux1-redux-dev"].startswith("ip-adapter flux-dev with sigclip_vision_patch14_384")


@pytest.mark.parametrize("files", [["flux1-redux-dev", "image_embedder/model"], ["image_embedder/flux1-redux-dev"]])
def test_redux_in_the_layout_of_diffusers_is_added_from_its_folder(folder: Path, files: list[str]) -> None:
    written(folder / "redux", {**dict.fromkeys(files, redux()), "image_encoder/model": siglip_vision()})
    (folder / "redux/model_index.json").write_text(json.dumps({"_class_name": REDUX}))
    encoder = {"architectures": ["SiglipVisionModel"], "model_type": "siglip_vision_model"}
    (folder / "redux/image_encoder/config.json").write_text(json.dumps(encoder))
    scanned(folder, "--add")
    model = InferenceModel.objects.get(slug="flux1-redux-dev")
    assert model.weights is not None
    check_adapter(model.weights, "flux-dev", Kind.IP_ADAPTER)
    assert [path.name for path in model.weights.rglob("*.safetensors")].count("model.safetensors") == 1
    for family, message in (("flux-fill", "added for the family flux-dev"), ("sd", "added for the family flux-dev")):
        with pytest.raises(ModelRefused, match=message):
            check_adapter(model.weights, family, Kind.IP_ADAPTER)


def test_of_a_file_with_a_whole_clip_the_image_encoder_is_taken(folder: Path) -> None:
    whole = VIT_H | one("text_model.final_layer_norm.weight", 1024) | one("logit_scale")
    written(folder, {"adapter-sd15": plain(768, 1024), "clip": whole})
    scanned(folder, "--add")
    model = InferenceModel.objects.get(slug="adapter-sd15")
    assert read_header(model.folder / "image_encoder/model.safetensors").keys() == VIT_H.keys()


def test_without_its_image_encoder_the_command_that_names_it_is_said(folder: Path) -> None:
    written(folder, {"adapter-sd15": plain(768, 1024), "vit-g": VIT_G})
    said = scanned(folder)["adapter-sd15"]
    assert "image encoder, CLIP-ViT-H, is not in the folder" in said
    assert "add_model adapter-sd15 --family sd --kind ip-adapter --from" in said
    assert "--part FILE" in said


def add(path: Path, family: str, *parts: Path) -> None:
    named = [word for part in parts for word in ("--part", str(part))]
    call_command("add_model", "mine", "--family", family, "--kind", "ip-adapter", "--from", str(path), *named)


def test_the_command_adds_an_ip_adapter_of_two_files(folder: Path) -> None:
    written(folder, {"adapter": plus(2048, 1280), "vit-h": VIT_H})
    add(folder / "adapter.safetensors", "sdxl", folder / "vit-h.safetensors")
    assert InferenceModel.objects.get(slug="mine").is_installed


@pytest.mark.parametrize(
    ("tensors", "family", "parts", "message"),
    [
        (plus(768, 1280), "sd", (), "for the image encoder CLIP-ViT-H, which is not beside it"),
        (plus(768, 1280), "sd", ("vit-g",), "for the image encoder CLIP-ViT-H, which is not beside it"),
        (plus(768, 1280), "sd", ("nothing",), "There is no file"),
        (plus(768, 1280), "sdxl", ("vit-h",), "for models of the family sd, not sdxl"),
        (ip_adapter(768, {"proj.0.weight": (1024, 512)}), "sd", ("vit-h",), "FaceID"),
        (plain(768, 999), "sd", ("vit-h",), "an image encoder that is not supported"),
        (VIT_H, "sd", ("vit-h",), "is no IP-Adapter: it holds"),
        (redux(), "flux-dev", ("vit-h",), "for the image encoder SigLIP-SO400M, which is not beside it"),
        (redux(), "flux-fill", ("siglip",), "for models of the family flux-dev, not flux-fill"),
        (plus(768, 1280), "flux-dev", ("vit-h",), "for models of the family sd, not flux-dev"),
    ],
)
def test_another_adapter_or_encoder_is_refused(
    folder: Path, tensors: Tensors, family: str, parts: tuple[str, ...], message: str
) -> None:
    written(folder, {"adapter": tensors, "vit-h": VIT_H, "vit-g": VIT_G, "siglip": siglip_vision()})
    with pytest.raises(CommandError, match=message):
        add(folder / "adapter.safetensors", family, *(folder / f"{part}.safetensors" for part in parts))
    assert not InferenceModel.objects.filter(slug="mine").exists()
