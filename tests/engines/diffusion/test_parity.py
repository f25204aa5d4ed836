"""A single generation equals diffusers' pipeline with the same weights, seed and mask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.latent_model import LatentModel
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.sd.network import StableDiffusion
from tests.contracts.family import FamilyContract
from tests.engines.diffusion.pipelines import (
    CPU,
    KINDS,
    STEPS,
    ddim_request,
    denoised,
    loaded_reference,
    reference_of,
    reference_result,
    request,
    run_reference,
)
from tests.support import tiny_models
from tests.support.matrix import each_value_once

STRENGTHS = (0.3, 0.75, 1.0)


class StableDiffusionContract(FamilyContract):
    network = "unet"
    cases = ({"strength": 0.75},)
    batched = tuple(
        {
            "guidance_scale": (1.0, 4.0)[seed % 2],
            "strength": (1.0, 0.75)[seed % 2],
            "scheduler": ("DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler")[seed % 3],
        }
        for seed in range(8)
    )

    def request(self, **settings: Any) -> InpaintRequest:
        return ddim_request(**settings)

    def reference_result(self, model: LatentModel, requested: InpaintRequest, **changes: Any) -> Any:
        return reference_result(model, requested, **changes)


class TestStableDiffusion(StableDiffusionContract):
    family = "sd"
    encoded_images = 2


class TestPlainStableDiffusion(StableDiffusionContract):
    family = "sd"
    inpainting = False


class TestSdxl(StableDiffusionContract):
    family = "sdxl"
    encoded_images = 2


class TestPlainSdxl(StableDiffusionContract):
    family = "sdxl"
    inpainting = False


def matrix() -> Iterator[Any]:
    """Every kind of model x scheduler x strength. Outside the full matrix, each scheduler occurs twice: with a model of
    each family, one of the two made for inpainting, and with two strengths.
    """
    for (row, kind), (column, name) in product(enumerate(KINDS), enumerate(schedulers.NAMES)):
        for number, strength in enumerate(STRENGTHS):
            is_needed = row in (column % 2, 3 - column % 2) and number == (row // 2 + column) % len(STRENGTHS)
            yield pytest.param(*kind, name, strength, marks=[] if is_needed else [pytest.mark.full])


@pytest.mark.parametrize(("family", "inpainting", "name", "strength"), list(matrix()))
def test_a_single_generation_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], StableDiffusion], family: str, inpainting: bool, name: str, strength: float
) -> None:
    model = models[family, inpainting]
    requested = request(scheduler=name, strength=strength, steps=12 if strength < 0.5 else STEPS)
    latents, expected = denoised(model, requested), reference_result(model, requested)
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "inpainting", "changes"),
    each_value_once(KINDS, [{"guidance_scale": 1.0}, {"clip_skip": 2}, {"negative_prompt": ""}]),
)
def test_guidance_and_clip_skip_equal_the_reference_pipeline(
    models: dict[tuple[str, bool], StableDiffusion], family: str, inpainting: bool, changes: dict[str, Any]
) -> None:
    model = models[family, inpainting]
    requested = request(scheduler="EulerDiscreteScheduler", **changes)
    latents = denoised(model, requested)
    torch.testing.assert_close(latents, reference_result(model, requested), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(latents, denoised(model, request(scheduler="EulerDiscreteScheduler")), atol=1e-2)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
def test_karras_sigmas_equal_the_reference_pipeline(models: dict[tuple[str, bool], StableDiffusion], name: str) -> None:
    model = models["sd", True]
    requested = request(scheduler=name, use_karras_sigmas=True)
    latents = denoised(model, requested)
    torch.testing.assert_close(
        latents, reference_result(model, requested, use_karras_sigmas=True), rtol=1e-4, atol=1e-4
    )
    assert not torch.allclose(latents, denoised(model, request(scheduler=name)), atol=1e-2)


def test_the_dpm_solver_algorithm_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], StableDiffusion],
) -> None:
    model = models["sd", False]
    requested = request(scheduler="DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++")
    expected = reference_result(model, requested, algorithm_type="sde-dpmsolver++")
    torch.testing.assert_close(denoised(model, requested), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes", [{"timestep_spacing": "trailing"}, {"timestep_spacing": "linspace", "steps_offset": 0}]
)
def test_the_spacing_in_the_configuration_of_a_model_equals_the_reference_pipeline(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    path = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    requested = request(scheduler="EulerDiscreteScheduler")
    latents = denoised(load(spec, CPU), requested)
    expected = run_reference(loaded_reference(spec, requested), spec, requested)
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    usual = denoised(load(tiny_models.saved(tmp_path / "usual"), CPU), requested)
    assert not torch.allclose(latents, usual, atol=1e-2)


@pytest.mark.parametrize("rescale", [0.7, 1.0])
@pytest.mark.parametrize("inpainting", [True, False])
def test_guidance_rescale_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], StableDiffusion], inpainting: bool, rescale: float
) -> None:
    model = models["sdxl", inpainting]  # diffusers' inpainting pipeline of SD has no guidance_rescale
    requested = request(scheduler="DDIMScheduler", guidance_rescale=rescale)
    latents = denoised(model, requested)
    expected = run_reference(reference_of(model, requested), model.spec, requested, guidance_rescale=rescale)
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(latents, denoised(model, request(scheduler="DDIMScheduler")), atol=1e-2)
