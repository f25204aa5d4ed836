"""Every family on a real GPU, in its native precision: parity, batching, and the ways that save time or memory.

Needs neither the site nor a configured Django: see docs/measured.md.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from inpainting import families
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, LoraUse, PaintSettings
from inpainting.engines.base import Step
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.sd.network import StableDiffusion
from inpainting.networks.device.hardware import Hardware, Offload, choose
from inpainting.networks.device.quantization import QUANTIZATIONS, is_installed
from tests.support import tiny_loras, tiny_models

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch sees none here"),
]
DEVICE = "cuda"
ON_CPU = Hardware(torch.device("cpu"), torch.float32)
SIDE, STEPS = 64, 5
LOG_VARIANCE = -20.0
FAMILIES = ["sd", "sdxl"]
MODES = ["plain", "compiled", "rows", "tiled", "parts", "layers", "cached", "int8", "float8", "float8-dynamic", "nf4"]
MEAN_DIFFERENCES = {"int8": 4, "float8": 6, "float8-dynamic": 8, "nf4": 12}
OFFLOADS = {"parts": Offload.COMPONENTS, "layers": Offload.LAYERS}
"""Of the 255 values of a pixel, from the image that the CPU paints in float32; 3 where no weight is quantised."""


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


def batcher_with(
    spec: ModelSpec, hardware: Hardware, offload: Offload = Offload.NONE, **more: Any
) -> tuple[Batcher, Any]:
    """A batcher, and the model that it has loaded.

    A trained VAE is sure of what it encodes. A tiny one is not, and its doubt would be drawn in each precision anew.
    """
    cache, model = ModelCache(hardware, 10**10), load(spec, hardware, offload)
    last = getattr(model.vae, "quant_conv", None) or model.vae.encoder.conv_out
    with torch.no_grad():
        last.bias[len(last.bias) // 2 :] = LOG_VARIANCE
    cache.memory.add(model, cache.loads.fingerprint(spec))
    return Batcher(cache, **more), model


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
        batcher_with(specs["sd"], hardware)[0].paint(request(), specs["sd"], ignore_step)[0][0]
        for hardware in (Hardware(torch.device(DEVICE), dtype) for dtype in (torch.float16, torch.float32))
    )
    assert half.std() > 0
    assert np.abs(half.astype(int) - whole).mean() <= 2


@cache
def painted_by_cpu(family: str, folder: Path) -> NDArray[np.uint8]:
    spec = tiny_models.saved(folder, family)
    return batcher_with(spec, ON_CPU)[0].paint(flow_request(), spec, ignore_step)[0][0]


def flow_request(**settings: Any) -> InpaintRequest:
    """A request that every family takes, by its own scheduler."""
    return request(scheduler=None, guidance_scale=None, negative_prompt="", **settings)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", tiny_models.BUILDERS)
def test_every_family_paints_on_the_gpu_what_the_cpu_paints(
    tmp_path_factory: pytest.TempPathFactory, family: str, mode: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / family
    expected, spec = painted_by_cpu(family, folder), tiny_models.saved(folder, family)
    hardware = replace(choose(DEVICE), compilation="blocks" if mode in ("compiled", "float8-dynamic") else "")
    if mode in QUANTIZATIONS:
        if not is_installed(QUANTIZATIONS[mode].library):
            pytest.skip("needs its library")
        hardware = replace(hardware, quantization=mode)
    if mode == "cached" and not families.get(family).caches_blocks:
        pytest.skip("its steps have no cache")
    batcher, model = batcher_with(spec, hardware, OFFLOADS.get(mode, Offload.NONE))
    if mode == "rows":
        if not model.splits_rows:
            pytest.skip("its rows are computed together")
        model.rows_per_call = 1
    if mode == "tiled":
        model.is_tiled = True
        model.vae.enable_tiling()
    if mode in OFFLOADS:
        model.memory_shortage.begin(Size(1, 1))  # so that it is not loaded whole for this image
    wanted = flow_request(**({"cache": "balanced"} if mode == "cached" else {}))
    (image,), notes = batcher.paint(wanted, spec, ignore_step)
    difference = np.abs(image.astype(int) - expected).mean()
    print(f"{family} {mode} {model.hardware.dtype}: {difference:.3f} {notes}")
    assert model.compilation_notes == ()
    assert any("waited in the machine's memory" in note for note in notes) is (mode in OFFLOADS)
    assert difference <= MEAN_DIFFERENCES.get(mode, 3)


@pytest.mark.parametrize("compilation", ["", "blocks"])
def test_a_lora_is_fused_and_compiled_on_the_gpu(tmp_path: Path, compilation: str) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tiny_loras.weights(load(spec, ON_CPU).pipeline))
    lora = LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)
    wanted, without = request(loras=(LoraUse("ink", 0.5),), steps=8), request(steps=8)
    expected, plain = (
        batcher_with(spec, ON_CPU)[0].paint(sent, spec, ignore_step, loras)[0][0].astype(int)
        for sent, loras in ((wanted, [lora]), (without, []))
    )
    batcher, _ = batcher_with(spec, replace(choose(DEVICE), compilation=compilation))
    results = [batcher.paint(wanted, spec, ignore_step, [lora])[0][0] for _ in range(2)]
    (again,) = batcher.paint(without, spec, ignore_step)[0]
    print(f"lora {compilation}: {[float(np.abs(result - expected).mean()) for result in results]}")
    print(f"without: {float(np.abs(again - plain).mean())}; the LoRA changes {np.abs(expected - plain).mean()}")
    assert all(np.abs(result - expected).mean() < 0.3 * np.abs(expected - plain).mean() for result in results)
    assert np.abs(again - plain).mean() <= 3


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_float32_is_multiplied_as_the_settings_say(precision: str) -> None:
    choose(DEVICE, precision)
    left, right = (torch.randn(512, 512, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
    error = ((left.to(DEVICE) @ right.to(DEVICE)).cpu().double() - left.double() @ right.double()).norm()
    relative = float(error / (left.double() @ right.double()).norm())
    print(f"float32 with precision {precision}: {relative:.1e}")
    assert (relative < 2e-6) is (precision == "float32")
