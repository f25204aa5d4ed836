"""Loading a folder in diffusers' layout: only the needed components, and no missing weight is initialised randomly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from inpainting.catalog.inspection.model_files import check_model
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.serving.loading import model_loading
from inpainting.engines.diffusion.serving.loading.model_loading import load
from tests.engines.diffusion.pipelines import CPU
from tests.support import tiny_adapters, tiny_checker, tiny_models
from tests.support.matrix import first_alone

OPTIONAL = {"tokenizer_config.json", "chat_template.jinja", "generation_config.json"}
"""Files without which a model is loaded."""


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_components_of_other_pipelines_are_not_loaded(tmp_path: Path, family: str) -> None:
    spec = tiny_models.saved(tmp_path / "model", family)
    alone = load(spec, CPU)
    tiny_adapters.encoder().save_pretrained(tmp_path / "model" / "image_encoder")
    tiny_checker.processor().save_pretrained(tmp_path / "model" / "feature_extractor")
    index = tmp_path / "model" / "model_index.json"
    more = {
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "feature_extractor": ["transformers", "CLIPImageProcessorPil"],
    }
    index.write_text(json.dumps({**json.loads(index.read_text()), **more}))
    model = load(spec, CPU)
    assert model.pipeline.image_encoder is model.pipeline.feature_extractor is None
    assert model.byte_count == alone.byte_count


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_a_folder_saved_from_a_controlnet_pipeline_is_the_same_model_without_it(tmp_path: Path, family: str) -> None:
    spec = tiny_models.saved(tmp_path / "model", family)
    alone = load(spec, CPU)
    tiny_adapters.controlnet(family).save_pretrained(tmp_path / "model" / "controlnet")
    index = tmp_path / "model" / "model_index.json"
    name = "StableDiffusionXL" if family == "sdxl" else "StableDiffusion"
    more = {"_class_name": f"{name}ControlNetInpaintPipeline", "controlnet": ["diffusers", "ControlNetModel"]}
    index.write_text(json.dumps({**json.loads(index.read_text()), **more}))
    model = load(spec, CPU)
    assert model.byte_count == alone.byte_count
    assert model.notes == alone.notes


@pytest.mark.parametrize(
    ("family", "part", "weight"),
    [
        ("sd", "unet", "conv_in.weight"),
        ("sd", "vae", "decoder.conv_out.bias"),
        ("sd", "text_encoder", "final_layer_norm.weight"),
        ("sdxl", "text_encoder_2", "text_projection.weight"),
        ("flux-fill", "text_encoder_2", "encoder.final_layer_norm.weight"),
        ("flux-fill", "transformer", "proj_out.bias"),
    ],
)
def test_a_component_with_a_missing_weight_is_refused(tmp_path: Path, family: str, part: str, weight: str) -> None:
    spec = tiny_models.saved(tmp_path / "model", family)
    (path,) = (tmp_path / "model" / part).glob("*.safetensors")
    tensors = load_file(path)
    del tensors[min((name for name in tensors if name.endswith(weight)), key=len)]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(EngineFailed, match=f"{part} lacks weights") as caught:
        load(spec, CPU)
    assert caught.value.code == "model_unavailable"


@pytest.mark.parametrize("family", first_alone("sd", "sdxl", "flux-fill", "z-image", "qwen-image"))
def test_a_folder_without_one_of_its_files_is_refused_or_named_without_the_servers_folders(
    tmp_path: Path, family: str
) -> None:
    """It is refused when it is added, but for the files that a model can do without."""
    spec = tiny_models.saved(tmp_path / "model", family)
    folder, aside, messages, accepted = tmp_path / "model", tmp_path / "aside", [], set()
    for file in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        (folder / file).rename(aside)
        for is_lost in (True, False):
            if not is_lost:
                (folder / file).touch()
            try:
                check_model(folder, family)
            except EngineFailed as error:
                messages.append(error.message)
                continue
            accepted.add(file.name)
            load(spec, CPU)
        aside.replace(folder / file)
    assert accepted <= OPTIONAL
    assert messages
    assert not [message for message in messages if str(tmp_path) in message]


def test_the_reasons_of_libraries_do_not_name_the_servers_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a file is lost after the check."""
    spec = tiny_models.saved(tmp_path / "model")
    (tmp_path / "model" / "scheduler" / "scheduler_config.json").unlink()
    monkeypatch.setattr(model_loading, "check_model", lambda *_: None)
    with pytest.raises(EngineFailed) as caught:
        load(spec, CPU)
    assert caught.value.message == (
        "The model Tiny model cannot be loaded: Error no file named scheduler_config.json found in directory "
        "model/scheduler."
    )
