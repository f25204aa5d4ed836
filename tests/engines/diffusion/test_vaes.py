"""A generation with another VAE equals diffusers' pipeline with that VAE."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.conditioning.active_adapters import ActiveAdapters
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_memory import InUse
from inpainting.engines.diffusion.serving.jobs import Job, JobSucceeded
from inpainting.engines.diffusion.serving.loading.adapter_loading import load_adapter
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.vae_formats import latent_format
from inpainting.families.sd.network import StableDiffusion
from tests.engines.diffusion.conditioning.adapter_requests import admit_all
from tests.engines.diffusion.pipelines import CPU, KINDS, denoised, ignore_step, reference_result, request
from tests.support import tiny_models, tiny_vaes
from tests.support.matrix import each_value_once

CLASSES = ["AutoencoderKL", "AutoencoderTiny"]


@pytest.fixture(scope="module")
def vaes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    folder = tmp_path_factory.mktemp("vaes")
    return {kind: tiny_vaes.saved(folder / kind.lower(), kind=kind) for kind in CLASSES}


@pytest.mark.parametrize(
    ("family", "inpainting", "kind", "strength", "scheduler"),
    each_value_once(
        KINDS,
        [
            (kind, *settings)
            for kind in CLASSES
            for settings in [(1.0, "DDIMScheduler"), (0.75, "EulerAncestralDiscreteScheduler")]
        ],
    ),
)
def test_it_encodes_and_decodes_as_in_the_reference_pipeline(
    models: dict[tuple[str, bool], StableDiffusion],
    vaes: dict[str, ModelSpec],
    family: str,
    inpainting: bool,
    kind: str,
    strength: float,
    scheduler: str,
) -> None:
    model, vae = models[family, inpainting], load_adapter(vaes[kind], CPU)
    requested = request(strength=strength, scheduler=scheduler)
    (before,) = model.codec().decode(denoised(model, requested))
    latents = denoised(model, requested, codec=model.codec(vae))
    (image,) = model.codec(vae).decode(latents)
    own = model.pipeline.vae
    model.pipeline.register_modules(vae=vae)
    try:
        torch.testing.assert_close(latents, reference_result(model, requested), rtol=1e-4, atol=1e-4)
        expected = np.asarray(reference_result(model, requested, output_type="pil")[0])
    finally:
        model.pipeline.register_modules(vae=own)
    assert np.abs(image.astype(int) - expected).max() <= 1
    assert not np.array_equal(image, before)
    assert np.array_equal(model.codec().decode(denoised(model, requested))[0], before)


def test_each_generation_uses_its_own_vae(
    models: dict[tuple[str, bool], StableDiffusion], vaes: dict[str, ModelSpec]
) -> None:
    spec = models["sd", True].spec
    requested = [
        (request(scheduler="DDIMScheduler", seed=seed, vae=None if vae is None else vae.slug), vae)
        for seed, vae in enumerate([None, *vaes.values(), None, *vaes.values()])
    ]

    def paint(batcher: Batcher, one: tuple[InpaintRequest, ModelSpec | None]) -> NDArray[np.uint8]:
        return batcher.paint(one[0], spec, ignore_step, (), [] if one[1] is None else [one[1]])[0][0]

    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    with ThreadPoolExecutor(len(requested)) as pool:
        results = [future.result(60) for future in [pool.submit(paint, batcher, sent) for sent in requested]]
    for sent, result in zip(requested, results, strict=True):
        alone = paint(Batcher(ModelCache(CPU, 10**9), max_rows=1), sent)
        assert np.abs(result.astype(int) - alone).max() <= 1
    assert len({result.tobytes() for result in results}) == len(requested)
    assert len(batcher.workload.known_keys) == 3


def test_a_job_keeps_its_vae_when_the_files_change(
    models: dict[tuple[str, bool], StableDiffusion], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec, requested = models["sd", True].spec, request(scheduler="DDIMScheduler", vae="vae")
    batcher, jobs, expected = Batcher(ModelCache(CPU, 10**9), max_rows=32), [], []
    for kind in CLASSES:
        vae = tiny_vaes.saved(tmp_path / "vae", kind=kind)
        expected.append(Batcher(ModelCache(CPU, 10**9)).paint(requested, spec, ignore_step, (), [vae])[0][0])
        jobs.append(Job(requested, spec, ActiveAdapters(networks=(vae,))))
        batcher.workload.add(jobs[-1])
        admit_all(batcher)
        shutil.rmtree(tmp_path / "vae")
    assert [batch.rows for batch in batcher.workload.batches] == [4], "they share their steps"
    while not batcher.is_idle:
        batcher.run_once()
    for job, image in zip(jobs, expected, strict=True):
        *_, painted = (job.messages.get() for _ in range(job.messages.qsize()))
        assert isinstance(painted, JobSucceeded)
        assert np.abs(painted.images[0].astype(int) - image).max() <= 1
    assert "Diffusion failed" not in caplog.text


def test_it_counts_as_weights_and_is_evicted_when_memory_is_needed(
    models: dict[tuple[str, bool], StableDiffusion], vaes: dict[str, ModelSpec]
) -> None:
    spec = models["sd", True].spec
    cache = ModelCache(CPU, 10**9)
    model = cache.get(spec)
    alone = cache.used_bytes
    network = cache.adapter(vaes["AutoencoderKL"], InUse([model]))
    own_bytes = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    assert cache.used_bytes == alone + own_bytes > alone
    assert cache.adapter(vaes["AutoencoderKL"], InUse([model])) is network
    cache.budget_bytes = cache.used_bytes
    cache.adapter(vaes["AutoencoderTiny"], InUse([model]))
    assert cache.adapter(vaes["AutoencoderKL"], InUse([model])) is not network


@pytest.mark.parametrize("change", [{"latent_channels": 16}, {"block_out_channels": (8, 8, 16)}])
def test_a_vae_with_another_latent_shape_is_refused_without_effect_on_other_jobs(
    models: dict[tuple[str, bool], StableDiffusion], tmp_path: Path, change: dict[str, Any]
) -> None:
    count = len(change.get("block_out_channels", (8,) * 4))
    sides = {
        "down_block_types": ("DownEncoderBlock2D",) * count,
        "up_block_types": ("UpDecoderBlock2D",) * count,
        "block_out_channels": (8, 8, 16, 16)[:count],
    }
    wrong = diffusers.AutoencoderKL(**{**sides, "norm_num_groups": 4, "latent_channels": 4, **change})
    wrong.save_pretrained(tmp_path / "wrong", safe_serialization=True)
    vae = replace(tiny_vaes.saved(tmp_path / "other"), slug="wrong", path=tmp_path / "wrong")
    batcher, spec = Batcher(ModelCache(CPU, 10**9), max_rows=32), models["sd", True].spec
    good = batcher.paint(request(scheduler="DDIMScheduler"), spec, ignore_step)[0][0]
    with pytest.raises(EngineFailed) as failed:
        batcher.paint(request(scheduler="DDIMScheduler", vae="wrong"), spec, ignore_step, (), [vae])
    assert failed.value.code == ("adapter_refused" if "latent_channels" in change else "adapter_unfit")
    assert np.array_equal(batcher.paint(request(scheduler="DDIMScheduler"), spec, ignore_step)[0][0], good)


def test_when_memory_is_short_it_is_tiled_for_that_model_alone(
    models: dict[tuple[str, bool], StableDiffusion], vaes: dict[str, ModelSpec]
) -> None:
    model, vae = load(models["sd", True].spec, CPU), load_adapter(vaes["AutoencoderKL"], CPU)
    decode, tiled = vae.decode, []

    def watched(*arguments: Any, **more: Any) -> Any:
        tiled.append(vae.use_tiling)
        return decode(*arguments, **more)

    vae.decode = watched
    model.reduce_memory(Size(64, 64))
    for loaded in (model, models["sd", True]):
        loaded.codec(vae).decode(torch.zeros(1, 4, 8, 8))
        assert not vae.use_tiling
    assert tiled == [True, False]


def test_the_tiny_test_vae_is_configured_like_the_published_ones() -> None:
    config = tiny_vaes.tiny().config
    assert (config.scaling_factor, config.latent_channels, tiny_models.vae().config.latent_channels) == (1.0, 4, 4)


def test_the_statistics_of_a_vae_change_its_latents_and_not_its_image() -> None:
    vae = tiny_models.vae().eval()
    plain, pixels = LatentCodec(vae, CPU.device), torch.rand(1, 3, 64, 64) * 2 - 1
    latents = plain.encode(pixels, torch.Generator().manual_seed(1))
    expected = plain.decode(latents)[0]
    mean, deviation = [0.5, -1.0, 2.0, 0.0], [2.0, 0.5, 3.0, 1.0]
    vae.register_to_config(latents_mean=mean, latents_std=deviation)
    normalised = plain.encode(pixels, torch.Generator().manual_seed(1))
    scale = vae.config.scaling_factor
    shift, spread = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, deviation))
    torch.testing.assert_close(normalised / scale * spread + shift, latents / scale)
    assert np.abs(plain.decode(normalised)[0].astype(int) - expected).max() <= 1


def test_a_vae_for_videos_takes_an_image_as_one_frame() -> None:
    torch.manual_seed(0)
    vae = tiny_models.video_vae().eval()
    codec, pixels = LatentCodec(vae, torch.device("cpu")), torch.rand(1, 3, 64, 96) * 2 - 1
    mean, deviation = (torch.tensor(vae.config[name]).view(1, 16, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    with torch.inference_mode():
        latents = codec.encode(pixels, torch.Generator().manual_seed(3))
        drawn = vae.encode(pixels[:, :, None]).latent_dist.sample(torch.Generator().manual_seed(3))
        torch.testing.assert_close(latents[:, :, None], (drawn - mean) / deviation)
        videos = vae.decode(torch.cat([drawn, drawn.flip(-1)])).sample
    expected = ((videos[:, :, 0] / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    decoded = codec.decode(torch.cat([latents, latents.flip(-1)]))
    assert np.abs(np.stack(decoded).astype(int) - expected).max() <= 1


def test_a_vae_for_videos_replaces_none_for_images() -> None:
    formats = {latent_format(vae) for vae in (tiny_models.video_vae(), tiny_models.vae(latent_channels=16))}
    assert formats == {"16 channels, 8 pixels a side, made for videos", "16 channels, 8 pixels a side"}
