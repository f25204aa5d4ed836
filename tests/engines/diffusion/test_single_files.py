"""A `.safetensors` file in the original layout gives the same model as the folder it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.families.sd import StableDiffusion
from inpainting.engines.diffusion.serving.model_loading import load
from tests import original_layout, tiny_models
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.engines.diffusion.pipelines import CPU, SIDE, denoised

BUILDERS: dict[str, Callable[..., Any]] = {"sd": tiny_models.sd, "sdxl": original_layout.sdxl}


def latents(model: StableDiffusion) -> torch.Tensor:
    pixels = np.ascontiguousarray(data.astronaut()[::8, ::8])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 8:40] = 255
    settings = PaintSettings(prompt="a red bus", negative_prompt="blur", seed=7, steps=4, strength=0.75, clip_skip=2)
    requested = InpaintRequest(Picture(pixels), mask, settings)
    return denoised(model, requested)


@pytest.mark.parametrize("inpainting", [True, False])
@pytest.mark.parametrize("family", list(BUILDERS))
def test_a_single_file_paints_the_same_image_as_its_folder(tmp_path: Path, family: str, inpainting: bool) -> None:
    pipeline = BUILDERS[family](tmp_path, inpainting=inpainting)
    pipeline.save_pretrained(tmp_path / "folder")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
    copy_configuration(tmp_path / "folder", family, path)
    model = load(spec_of(path, family), CPU)
    assert model.is_inpainting is inpainting
    expected = load(spec_of(tmp_path / "folder", family), CPU)
    torch.testing.assert_close(latents(model), latents(expected))
    assert model.byte_count == expected.byte_count


@pytest.mark.parametrize("family", list(BUILDERS))
def test_a_checkpoint_for_inpainting_works_with_the_configuration_of_a_plain_model(tmp_path: Path, family: str) -> None:
    pipeline = BUILDERS[family](tmp_path, inpainting=True)
    pipeline.save_pretrained(tmp_path / "folder")
    BUILDERS[family](tmp_path, inpainting=False).save_pretrained(tmp_path / "plain")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
    copy_configuration(tmp_path / "plain", family, path)
    model = load(spec_of(path, family), CPU)
    assert model.is_inpainting
    torch.testing.assert_close(latents(model), latents(load(spec_of(tmp_path / "folder", family), CPU)))


def test_the_prediction_type_in_the_file_takes_precedence(tmp_path: Path) -> None:
    pipeline = tiny_models.sd(tmp_path)
    pipeline.save_pretrained(tmp_path / "noise")
    for name, more in (("silent", {}), ("velocity", {"v_pred": torch.zeros(1)})):
        path = original_layout.saved(pipeline, tmp_path / name / "mine.safetensors", **more)
        copy_configuration(tmp_path / "noise", "sd", path)
    velocity = tiny_models.sd(tmp_path, prediction_type="v_prediction")
    velocity.save_pretrained(tmp_path / "expected")
    painted = {
        name: latents(load(spec_of(tmp_path / name / file, "sd"), CPU))
        for name, file in (("silent", "mine.safetensors"), ("velocity", "mine.safetensors"), ("expected", ""))
    }
    torch.testing.assert_close(painted["velocity"], painted["expected"])
    assert not torch.allclose(painted["silent"], painted["expected"])


def refusal(spec: ModelSpec) -> EngineFailed:
    with pytest.raises(EngineFailed) as caught:
        load(spec, CPU)
    return caught.value


def test_without_its_configuration_the_error_names_the_command(tmp_path: Path) -> None:
    path = original_layout.saved(tiny_models.sd(tmp_path), tmp_path / "mine" / "mine.safetensors")
    error = refusal(spec_of(path, "sd"))
    assert error.code == "model_unavailable"
    assert "pull_model mine --repin --from FILE --config" in error.message


def test_a_configuration_that_names_code_is_refused(tmp_path: Path) -> None:
    pipeline = tiny_models.sd(tmp_path)
    pipeline.save_pretrained(tmp_path / "folder")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
    copy_configuration(tmp_path / "folder", "sd", path)
    index = tmp_path / "one" / "config" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "unet": ["my_code", "UNet2DConditionModel"]}))
    assert refusal(spec_of(path, "sd")).code == "model_refused"


@pytest.mark.parametrize("start", ["first_stage_model.decoder.conv_out.weight", "cond_stage_model"])
def test_a_checkpoint_with_a_missing_component_is_refused(tmp_path: Path, start: str) -> None:
    pipeline = tiny_models.sd(tmp_path)
    pipeline.save_pretrained(tmp_path / "folder")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
    copy_configuration(tmp_path / "folder", "sd", path)
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if not name.startswith(start)}, path)
    error = refusal(spec_of(path, "sd"))
    assert error.code == "model_unavailable"
    assert "missing in the checkpoint" in error.message or "lacks weights" in error.message


def test_one_missing_weight_of_a_text_encoder_is_an_error(tmp_path: Path) -> None:
    pipeline = tiny_models.sd(tmp_path)
    pipeline.save_pretrained(tmp_path / "folder")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
    copy_configuration(tmp_path / "folder", "sd", path)
    tensors = load_file(path)
    del tensors["cond_stage_model.transformer.text_model.final_layer_norm.weight"]
    save_file(tensors, path)
    assert "lacks weights" in refusal(spec_of(path, "sd")).message
