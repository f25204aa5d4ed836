"""A `.safetensors` file in the original layout gives the same model as the folder it was made from."""

from __future__ import annotations

import json
import re
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
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.serving.loading.model_loading import load, weights_bytes
from inpainting.families.sd.network import RESCALED, StableDiffusion
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.engines.diffusion.pipelines import CPU, SIDE, denoised, reference_of, request, run_reference
from tests.support import original_layout, tiny_models
from tests.support.matrix import each_value_once, first_alone

BUILDERS: dict[str, Callable[..., Any]] = {"sd": tiny_models.sd, "sdxl": original_layout.sdxl}


def latents(model: StableDiffusion) -> torch.Tensor:
    pixels = np.ascontiguousarray(data.astronaut()[::8, ::8])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 8:40] = 255
    settings = PaintSettings(prompt="a red bus", negative_prompt="blur", seed=7, steps=4, strength=0.75, clip_skip=2)
    requested = InpaintRequest(CanonicalImage(pixels), mask, settings)
    return denoised(model, requested)


@pytest.mark.parametrize(("family", "inpainting"), each_value_once(list(BUILDERS), [True, False]))
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


def prepared(folder: Path, pipeline: Any, family: str = "sd", **more: torch.Tensor) -> Path:
    """A checkpoint of a pipeline with its configuration beside it."""
    pipeline.save_pretrained(folder / "folder")
    path = original_layout.saved(pipeline, folder / "one" / "mine.safetensors", **more)
    copy_configuration(folder / "folder", family, path)
    return path


def test_a_velocity_mark_counts_although_the_scheduler_file_names_no_prediction_type(tmp_path: Path) -> None:
    path = prepared(tmp_path, tiny_models.sd(tmp_path), v_pred=torch.zeros(1))
    file = path.with_name("config") / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "prediction_type"}))
    model = load(spec_of(path, "sd"), CPU)
    scheduler, _ = schedulers.make("DDIMScheduler", model.scheduler_config)
    assert scheduler.config.prediction_type == "v_prediction"


@pytest.mark.parametrize("name", first_alone("EulerDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"))
def test_zero_terminal_snr_equals_the_reference_pipeline(tmp_path: Path, name: str) -> None:
    path = prepared(tmp_path, original_layout.sdxl(tmp_path), "sdxl", v_pred=torch.zeros(1), ztsnr=torch.zeros(1))
    model = load(spec_of(path, "sdxl"), CPU)
    requested = request(scheduler=name, strength=1.0)
    reference = reference_of(
        model,
        requested,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    expected = run_reference(reference, model.spec, requested, guidance_rescale=0.7)
    torch.testing.assert_close(denoised(model, requested), expected, rtol=1e-4, atol=1e-4)
    assert reference.scheduler.alphas_cumprod[-1] < 1e-6
    assert RESCALED in notes_of(model, requested)
    without = request(scheduler=name, strength=1.0, guidance_rescale=0.0)
    plain = run_reference(reference_of(model, without), model.spec, without)
    torch.testing.assert_close(denoised(model, without), plain, rtol=1e-4, atol=1e-4)
    assert notes_of(model, without) == ()


def test_a_scheduler_without_zero_terminal_snr_is_named(tmp_path: Path) -> None:
    path = prepared(tmp_path, tiny_models.sd(tmp_path), v_pred=torch.zeros(1), ztsnr=torch.zeros(1))
    notes = notes_of(load(spec_of(path, "sd"), CPU), request(scheduler="HeunDiscreteScheduler"))
    assert any("HeunDiscreteScheduler does not start from pure noise" in note for note in notes)


def notes_of(model: StableDiffusion, requested: InpaintRequest) -> tuple[str, ...]:
    return model.start(requested, 0, tiny_models.encoded(model, requested.settings, requested.image.size))[1]


@pytest.mark.parametrize(("family", "per_row"), each_value_once(list(BUILDERS), [False, True]))
def test_scaled_fp8_gives_the_product_of_weights_and_scales(tmp_path: Path, family: str, per_row: bool) -> None:
    path = prepared(tmp_path, BUILDERS[family](tmp_path), family)
    tensors, expected = load_file(path), load_file(path)
    for name in [name for name, tensor in tensors.items() if name.endswith("to_q.weight") or "mlp.fc1.weight" in name]:
        scale = torch.linspace(3, 5, len(tensors[name]))[:, None] / 1e4 if per_row else torch.tensor(3e-4)
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[name.removesuffix("weight") + "scale_weight"] = scale
        expected[name] = tensors[name].float() * scale
    tensors["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    assert len([name for name in tensors if name.endswith(".scale_weight")]) > 1
    save_file(tensors, path)
    scaled = latents(load(spec_of(path, family), CPU))
    save_file(expected, path)
    assert torch.equal(scaled, latents(load(spec_of(path, family), CPU)))


def refusal(spec: ModelSpec) -> EngineFailed:
    with pytest.raises(EngineFailed) as caught:
        load(spec, CPU)
    return caught.value


def test_copies_of_weights_take_no_memory(tmp_path: Path) -> None:
    pipeline = tiny_models.sd(tmp_path)
    path = original_layout.saved(pipeline, tmp_path / "plain" / "mine.safetensors")
    tensors = load_file(path)
    averaged = {
        f"model_ema.{name.removeprefix('model.').replace('.', '')}": tensor.clone()
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    beside = tmp_path / "ema" / "mine.safetensors"
    beside.parent.mkdir()
    save_file({**tensors, **averaged, "betas": torch.zeros(1000)}, beside)
    counted = [weights_bytes(spec_of(file, "sd"), torch.float16) for file in (path, beside)]
    assert counted[0] == counted[1] > 0


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


@pytest.mark.parametrize(
    ("start", "code", "reason"),
    [
        ("first_stage_model.decoder.conv_out.weight", "model_unavailable", "missing in the checkpoint|lacks weights"),
        ("cond_stage_model", "model_refused", "without text encoders"),
    ],
)
def test_a_checkpoint_with_a_missing_component_is_refused(tmp_path: Path, start: str, code: str, reason: str) -> None:
    pipeline = tiny_models.sd(tmp_path)
    pipeline.save_pretrained(tmp_path / "folder")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
    copy_configuration(tmp_path / "folder", "sd", path)
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if not name.startswith(start)}, path)
    error = refusal(spec_of(path, "sd"))
    assert error.code == code
    assert re.search(reason, error.message)


def test_one_missing_weight_of_a_text_encoder_is_an_error(tmp_path: Path) -> None:
    pipeline = tiny_models.sd(tmp_path)
    pipeline.save_pretrained(tmp_path / "folder")
    path = original_layout.saved(pipeline, tmp_path / "one" / "mine.safetensors")
    copy_configuration(tmp_path / "folder", "sd", path)
    tensors = load_file(path)
    del tensors["cond_stage_model.transformer.text_model.final_layer_norm.weight"]
    save_file(tensors, path)
    assert "lacks weights" in refusal(spec_of(path, "sd")).message
