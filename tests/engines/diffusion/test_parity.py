"""One generation alone is what diffusers' own pipeline paints with the same weights, seed and mask."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.diffusion import schedulers
from inpainting.engines.diffusion.families.sd import StableDiffusion
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.serving.model_loading import load
from tests import tiny_models

CPU = Hardware(torch.device("cpu"), torch.float32)
SIDE = 64
STEPS = 5
STRENGTHS = (0.3, 0.75, 1.0)
REFERENCES: dict[str, type[Any]] = {
    "sd": diffusers.StableDiffusionInpaintPipeline,
    "sdxl": diffusers.StableDiffusionXLInpaintPipeline,
}
KINDS = [(family, inpainting) for family in REFERENCES for inpainting in (True, False)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], StableDiffusion]:
    folder = tmp_path_factory.mktemp("models")
    return {
        (family, inpainting): load(
            tiny_models.saved(folder / f"{family}-{inpainting}".lower(), family, inpainting=inpainting), CPU
        )
        for family, inpainting in KINDS
    }


def request(**settings: Any) -> InpaintRequest:
    """A photo, and a binary mask on the grid of the latents: there diffusers' coarser mask is the same as ours."""
    pixels = np.ascontiguousarray(data.astronaut()[::8, ::8])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 8:40] = 255
    settings = {"prompt": "a red bus", "negative_prompt": "blur", "seed": 7, "steps": STEPS, **settings}
    return InpaintRequest(Picture(pixels), mask, PaintSettings(**settings))


def ours(model: StableDiffusion, asked: InpaintRequest, codec: LatentCodec | None = None) -> torch.Tensor:
    """The latents at the end of our loop, alone in the batch."""
    text = tiny_models.encoded(model, asked.settings, asked.image.size)
    denoising, _ = model.start(asked, 0, text, codec)
    while not denoising.is_done:
        (answer,) = model.predict([denoising])
        denoising.advance(answer)
    return denoising.latents


def theirs(model: StableDiffusion, asked: InpaintRequest, *, output_type: str = "latent", **more: Any) -> Any:
    """What the reference pipeline gives, made of the same parts. more: for its scheduler."""
    settings = asked.settings
    scheduler = getattr(diffusers, str(settings.scheduler)).from_config(
        model.scheduler_config, clip_sample=False, **more
    )
    parts = {**model.pipeline.components, "scheduler": scheduler}
    reference = type(model.pipeline)(**parts, **tiny_models.switches(model.pipeline))
    reference.set_progress_bar_config(disable=True)
    return reference(
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt or None,
        image=Image.fromarray(np.asarray(asked.image.pixels)),
        mask_image=Image.fromarray(asked.mask),
        height=SIDE,
        width=SIDE,
        strength=settings.strength,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale or model.spec.guidance_scale,
        generator=torch.Generator().manual_seed(settings.seed),
        clip_skip=(settings.clip_skip or 1) - 1 or None,
        output_type=output_type,
    ).images


def matrix() -> Iterator[Any]:
    """Every kind of model x scheduler x strength. Outside the full matrix each pair of two of them comes once."""
    for (row, kind), (column, name) in product(enumerate(KINDS), enumerate(schedulers.NAMES)):
        for number, strength in enumerate(STRENGTHS):
            is_pairwise = number == (row + column) % len(STRENGTHS)
            yield pytest.param(*kind, name, strength, marks=[] if is_pairwise else [pytest.mark.full])


@pytest.mark.parametrize(("family", "inpainting", "name", "strength"), list(matrix()))
def test_one_alone_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], StableDiffusion], family: str, inpainting: bool, name: str, strength: float
) -> None:
    model = models[family, inpainting]
    asked = request(scheduler=name, strength=strength, steps=12 if strength < 0.5 else STEPS)
    latents, expected = ours(model, asked), theirs(model, asked)
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "inpainting"), KINDS)
def test_its_picture_is_the_reference_pipelines_too(
    models: dict[tuple[str, bool], StableDiffusion], family: str, inpainting: bool
) -> None:
    model = models[family, inpainting]
    asked = request(scheduler="DDIMScheduler", strength=0.75)
    (picture,) = model.codec().decode(ours(model, asked))
    expected = np.asarray(theirs(model, asked, output_type="pil")[0])
    assert np.abs(picture.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("family", "inpainting"), KINDS)
@pytest.mark.parametrize("changes", [{"guidance_scale": 1.0}, {"clip_skip": 2}, {"negative_prompt": ""}])
def test_guidance_and_clip_skip_are_the_reference_pipelines(
    models: dict[tuple[str, bool], StableDiffusion], family: str, inpainting: bool, changes: dict[str, Any]
) -> None:
    model = models[family, inpainting]
    asked = request(scheduler="EulerDiscreteScheduler", **changes)
    latents = ours(model, asked)
    torch.testing.assert_close(latents, theirs(model, asked), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(latents, ours(model, request(scheduler="EulerDiscreteScheduler")), atol=1e-2)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
def test_karras_sigmas_are_the_reference_pipelines(models: dict[tuple[str, bool], StableDiffusion], name: str) -> None:
    model = models["sd", True]
    asked = request(scheduler=name, use_karras_sigmas=True)
    latents = ours(model, asked)
    torch.testing.assert_close(latents, theirs(model, asked, use_karras_sigmas=True), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(latents, ours(model, request(scheduler=name)), atol=1e-2)


def test_the_algorithm_of_the_dpm_solver_is_the_reference_pipelines(
    models: dict[tuple[str, bool], StableDiffusion],
) -> None:
    model = models["sd", False]
    asked = request(scheduler="DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++")
    expected = theirs(model, asked, algorithm_type="sde-dpmsolver++")
    torch.testing.assert_close(ours(model, asked), expected, rtol=1e-4, atol=1e-4)
