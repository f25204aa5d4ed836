"""Previews of the unfinished image, from a small decoder or a matrix fitted on the request's window."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, DDIMScheduler

from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Step
from inpainting.engines.diffusion import previews
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.sampling.schedule import Schedule
from inpainting.engines.diffusion.serving import step_executor
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware, HostCopy
from tests.support import tiny_models

CPU = Hardware(torch.device("cpu"), torch.float32)


@dataclass(eq=False)
class Sample:
    """What a preview needs of an image in flight."""

    state: DenoisingState
    previewer: previews.Previewer | None
    job: Any


def denoising(latents: torch.Tensor, known: torch.Tensor, mask: torch.Tensor) -> DenoisingState:
    scheduler, _ = schedulers.make("DDIMScheduler", DDIMScheduler().config)
    schedule = Schedule(scheduler, schedulers.begin(scheduler, 1, 1.0))
    text = TextConditioning(torch.zeros(1, 1, 1))
    return DenoisingState(latents, text, 1.0, schedule, mask, None, known, latents, torch.Generator())


def test_a_preview_is_exact_where_colours_are_linear_in_the_latents() -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (16, 24, 3), generator=generator, dtype=torch.uint8).numpy()
    into = torch.tensor([[0.01, 0, 0], [0, 0.02, 0], [0, 0, -0.01], [0.005, 0.005, 0]])
    latents = (torch.from_numpy(image.astype(np.float32)) @ into.T).permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, 16, 24)
    mask[..., 4:12, 6:20] = 1
    painted = latents.clone()
    painted[..., 4:12, 6:20] = latents.flip(-1)[..., 4:12, 6:20]
    state = denoising(painted, latents, mask)
    previewer = previews.make_previewer(np.repeat(np.repeat(image, 8, 0), 8, 1), state)
    assert previewer is not None
    shown = previews.previews_of([(previewer, state)])[0]().astype(int)
    assert np.abs(shown[4:12, 6:20] - image[:, ::-1][4:12, 6:20]).max() <= 1
    assert np.array_equal(shown[:4], image[:4])


def test_with_too_few_kept_pixels_no_preview_is_fitted() -> None:
    mask = torch.ones(1, 1, 16, 24)
    mask[..., 0, :10] = 0
    latents = torch.zeros(1, 4, 16, 24)
    assert previews.make_previewer(np.zeros((128, 192, 3), np.uint8), denoising(latents, latents, mask)) is None


def decoder(folder: Path) -> AutoencoderTiny:
    """A decoder with random weights, saved in the published layout."""
    torch.manual_seed(3)
    whole = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    ).eval()
    whole.save_pretrained(folder)
    return whole


def test_a_preview_decoder_in_the_models_folder_is_used(tmp_path: Path) -> None:
    whole = decoder(tmp_path / "taesd")
    cache = ModelCache(CPU, 10**9, models_dir=tmp_path)
    assert cache.preview_decoder("sdxl") is None
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 3:6] = 1
    state = denoising(latents, torch.zeros_like(latents), mask)
    image = np.full((64, 64, 3), 9, np.uint8)
    previewer = previews.make_previewer(image, state, cache.preview_decoder("sd"))
    assert previewer is not None
    shown = previews.previews_of([(previewer, state)])[0]()
    with torch.inference_mode():
        decoded = whole.decode(latents).sample[0].permute(1, 2, 0).numpy()
    expected = ((decoded / 2 + 0.5).clip(0, 1) * 255)[16:40, 24:48]
    assert np.abs(shown[16:40, 24:48] - expected).max() <= 1
    assert (shown[:16] == 9).all()


def test_a_large_image_has_a_small_preview_in_8_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder(tmp_path / "taesd")
    small = ModelCache(CPU, 10**9, models_dir=tmp_path).preview_decoder("sd")
    copied: list[torch.Tensor] = []

    class Copy(HostCopy):
        def __init__(self, tensor: torch.Tensor) -> None:
            copied.append(tensor)
            super().__init__(tensor)

    monkeypatch.setattr(previews, "HostCopy", Copy)
    latents = torch.randn(1, 4, 60, 128, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, 60, 128)
    mask[..., 20:40, 40:80] = 1
    state = denoising(latents, latents, mask)
    image = np.zeros((480, 1024, 3), np.uint8)
    image[:, 512:] = 200
    for network, shape in ((small, (240, 512, 3)), (None, (60, 128, 3))):
        previewer = previews.make_previewer(image, state, network)
        assert previewer is not None
        shown = previews.previews_of([(previewer, state)])[0]()
        assert shown.shape == shape
        assert (shown[0, 0] == 0).all()
        assert (shown[-1, -1] == 200).all()
        assert (copied[-1].shape, copied[-1].dtype) == ((1, *shape), torch.uint8)


def test_previews_use_the_decoder_and_a_failing_decoder_costs_only_the_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_models.saved(tmp_path / "sd")
    decoder(tmp_path / "taesd")
    monkeypatch.setattr("inpainting.engines.diffusion.serving.step_executor.PREVIEW_INTERVAL_SECONDS", 0)
    cache = ModelCache(CPU, 10**9, models_dir=tmp_path)
    batcher = Batcher(cache)
    # The whole image is masked: there are no kept pixels to fit a matrix on.
    mask = np.full((64, 64), 255, np.uint8)
    request = InpaintRequest(
        CanonicalImage(np.zeros((64, 64, 3), np.uint8)), mask, PaintSettings(steps=2, strength=1.0)
    )
    seen: list[Step] = []
    batcher.paint(request, spec, seen.append)
    assert [step.preview.shape for step in seen if step.preview is not None] == [(64, 64, 3)] * 2
    seen.clear()
    small = cache.preview_decoder("sd")
    assert small is not None
    monkeypatch.setattr(small, "forward", lambda latents: latents.reshape(3, 3))
    images, _ = batcher.paint(request, spec, seen.append)
    assert len(images) == 1
    assert not [step for step in seen if step.preview is not None]


@pytest.mark.parametrize("fails", [False, True])
def test_previews_are_composed_on_the_callers_thread_where_a_failure_costs_only_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr("inpainting.engines.diffusion.serving.step_executor.PREVIEW_INTERVAL_SECONDS", 0)
    threads: list[str] = []
    composited = previews.composite

    def compose(*parts: Any) -> Any:
        threads.append(threading.current_thread().name)
        if fails:
            raise ValueError("no preview")
        return composited(*parts)

    monkeypatch.setattr(previews, "composite", compose)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:24, 8:24] = 255
    request = InpaintRequest(
        CanonicalImage(np.zeros((64, 64, 3), np.uint8)), mask, PaintSettings(steps=3, strength=1.0)
    )
    seen: list[Step] = []
    images, _ = Batcher(ModelCache(CPU, 10**9)).paint(request, tiny_models.saved(tmp_path / "sd"), seen.append)
    assert len(images) == 1
    assert sum(step.preview is not None for step in seen) == (0 if fails else 3)
    assert set(threads) == {threading.current_thread().name}


def test_one_call_of_the_decoder_makes_the_previews_of_images_of_one_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.engines.diffusion.serving.step_executor.PREVIEW_INTERVAL_SECONDS", 0)
    decoder(tmp_path / "taesd")
    network = ModelCache(CPU, 10**9, models_dir=tmp_path).preview_decoder("sd")
    assert network is not None
    calls: list[int] = []
    network.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    mask = torch.ones(1, 1, 8, 8)
    states = [denoising(torch.randn(1, 4, 8, side), torch.zeros(1, 4, 8, side), mask[..., :side]) for side in (8, 8, 6)]
    pixels = [np.full((64, 8 * state.latents.shape[-1], 3), 9, np.uint8) for state in states]
    samples: Any = []
    for state, pixel in zip(states, pixels, strict=True):
        previewer = previews.make_previewer(pixel, state, network)
        job = SimpleNamespace(previewed_at=-1.0, spec=SimpleNamespace(slug="sd"))
        samples.append(Sample(state=state, previewer=previewer, job=job))
    together = step_executor.due_previews(samples)
    assert calls == [2, 1]
    for sample in samples:
        alone = previews.previews_of([(sample.previewer, sample.state)])[0]()
        assert np.abs(together[sample]().astype(int) - alone).max() <= 1
    samples[0].state.latents = torch.zeros(1, 5, 8, 8)
    assert step_executor.due_previews(samples).keys() == {samples[1], samples[2]}
    assert [sample.previewer is None for sample in samples] == [True, False, False]


def test_a_failing_preview_ends_only_those_of_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.engines.diffusion.serving.step_executor.PREVIEW_INTERVAL_SECONDS", 0)
    composited, composed = previews.composite, []

    def compose(*parts: Any) -> Any:
        composed.append(parts)
        if len(composed) == 1:
            raise ValueError("no preview")
        return composited(*parts)

    monkeypatch.setattr(previews, "composite", compose)
    mask = np.zeros((64, 64), np.uint8)
    mask[8:24, 8:24] = 255
    settings = PaintSettings(steps=8, strength=1.0, num_images=2)
    request = InpaintRequest(CanonicalImage(np.zeros((64, 64, 3), np.uint8)), mask, settings)
    seen: list[Step] = []
    Batcher(ModelCache(CPU, 10**9)).paint(request, tiny_models.saved(tmp_path / "sd"), seen.append)
    assert sum(step.preview is not None for step in seen) >= 8


@pytest.mark.parametrize("wrong", ["pickle", "class", "header", "code"])
def test_an_invalid_preview_decoder_is_not_loaded(tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "taesd"
    decoder(folder)
    config = folder / "config.json"
    match wrong:
        case "pickle":
            (folder / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
        case "class":
            config.write_text(config.read_text().replace("AutoencoderTiny", "AutoencoderKL"))
        case "code":
            config.write_text(config.read_text().replace("{", '{"auto_map": {},', 1))
        case "header":
            (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 100)
    assert ModelCache(CPU, 10**9, models_dir=tmp_path).preview_decoder("sd") is None
    assert "Previews are made without taesd" in caplog.text
