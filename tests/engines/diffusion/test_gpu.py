"""Parity and batching on a real GPU, in its native precision. Needs no Django: see docs/measured.md."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Step
from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.serving.model_loading import load
from inpainting.families.sd.network import StableDiffusion
from inpainting.networks.device.hardware import Hardware, choose
from tests.support import tiny_models

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch sees none here"),
]
DEVICE = "cuda"
SIDE, STEPS = 64, 5
FAMILIES = ["sd", "sdxl"]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    folder = tmp_path_factory.mktemp("models")
    return {family: tiny_models.saved(folder / family, family) for family in FAMILIES}


def request(**settings: Any) -> InpaintRequest:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 8:40] = 255
    usual = {"prompt": "a red bus", "negative_prompt": "blur", "seed": 7, "steps": STEPS, "strength": 1.0}
    values = {**usual, "scheduler": "DDIMScheduler", "guidance_scale": 7.5, **settings}
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
    photo = np.ascontiguousarray(pixels.repeat(8, axis=0).repeat(8, axis=1))
    return InpaintRequest(CanonicalImage(photo), mask, PaintSettings(**values))


def ignore_step(step: Step) -> None:
    pass


def reference(model: StableDiffusion, requested: InpaintRequest) -> torch.Tensor:
    """The latents of diffusers' pipeline, built from the same components on the same device."""
    settings = requested.settings
    scheduler, _ = schedulers.make(str(settings.scheduler), model.scheduler_config)
    parts = {**model.pipeline.components, "scheduler": scheduler}
    pipeline = type(model.pipeline)(**parts, **tiny_models.switches(model.pipeline))
    pipeline.set_progress_bar_config(disable=True)
    return torch.as_tensor(
        pipeline(
            prompt=settings.prompt,
            negative_prompt=settings.negative_prompt,
            image=Image.fromarray(np.asarray(requested.image.pixels)),
            mask_image=Image.fromarray(requested.mask),
            height=SIDE,
            width=SIDE,
            strength=1.0,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            generator=torch.Generator().manual_seed(settings.seed),
            output_type="latent",
        ).images
    )


@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_generation_equals_the_reference_pipeline_on_the_gpu(
    specs: dict[str, ModelSpec], family: str, name: str
) -> None:
    # In float32, because in 16 bits the pipeline draws different noise.
    model = load(specs[family], Hardware(torch.device(DEVICE), torch.float32))
    requested = request(scheduler=name)
    text = tiny_models.encoded(model, requested.settings, requested.image.size)
    denoising, _ = model.start(requested, 0, text)
    while not denoising.is_done:
        (answer,) = model.predict([denoising])
        denoising.advance(answer)
    assert denoising.latents.device.type == DEVICE
    torch.testing.assert_close(denoising.latents, reference(model, requested), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_results_equal_single_results_on_the_gpu(specs: dict[str, ModelSpec], family: str) -> None:
    hardware = choose(DEVICE)
    requested = [request(seed=seed, steps=STEPS + seed) for seed in range(6)]
    company = Batcher(ModelCache(hardware, 10**10), max_rows=32)
    with ThreadPoolExecutor(len(requested)) as pool:
        results = list(pool.map(lambda sent: company.paint(sent, specs[family], ignore_step)[0][0], requested))
    alone = Batcher(ModelCache(hardware, 10**10), max_rows=1)
    for sent, result in zip(requested, results, strict=True):
        (expected,) = alone.paint(sent, specs[family], ignore_step)[0]
        # The kernel depends on the number of rows, and 16-bit kernels round differently.
        assert np.abs(result.astype(int) - expected).mean() <= 1


def test_half_precision_results_are_close_to_float32_on_the_gpu(specs: dict[str, ModelSpec]) -> None:
    half, whole = (
        Batcher(ModelCache(hardware, 10**10)).paint(request(), specs["sd"], ignore_step)[0][0]
        for hardware in (Hardware(torch.device(DEVICE), dtype) for dtype in (torch.float16, torch.float32))
    )
    assert half.std() > 0
    assert np.abs(half.astype(int) - whole).mean() <= 2
