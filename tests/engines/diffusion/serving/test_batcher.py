"""Generations share the calls of the UNet, and each result is the same as alone."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import Cancelled, DeviceLost, EngineFailed
from inpainting.core.request import InpaintRequest
from inpainting.engines.base import Step
from inpainting.engines.diffusion.latent_codec import LatentCodec
from inpainting.engines.diffusion.sampling import schedulers
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.serving import device_watchdog
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_memory import InUse
from inpainting.engines.diffusion.serving.jobs import Job
from inpainting.engines.diffusion.serving.loading import loads, model_loading
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware, Offload
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import STEPS, UNetCalls, has_arrived, request, wait_until
from tests.support import tiny_models
from tests.support.matrix import first_alone


@pytest.fixture
def sd(specs: dict[str, ModelSpec]) -> ModelSpec:
    return specs["sd"]


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(ModelCache(CPU, 10**9), max_rows=32)


def alone(specs: dict[str, ModelSpec], requested: InpaintRequest, slug: str) -> list[NDArray[np.uint8]]:
    return Batcher(ModelCache(CPU, 10**9), max_rows=1).paint(requested, specs[slug], ignore_step)[0]


@pytest.fixture
def together(batcher: Batcher) -> Iterator[Callable[..., list[Future[Any]]]]:
    """Submit several jobs, all accepted before the first step is done."""
    with ThreadPoolExecutor(16) as pool:

        def submit_all(requested: list[InpaintRequest], spec: ModelSpec) -> list[Future[Any]]:
            calls = UNetCalls(batcher, spec, held=True)
            first = pool.submit(batcher.paint, requested[0], spec, ignore_step)
            assert calls.begun.wait(30)
            rest = [pool.submit(batcher.paint, sent, spec, ignore_step) for sent in requested[1:]]
            wait_until(lambda: batcher.arrival_count == len(rest))
            calls.go.set()
            submit_all.calls = calls  # type: ignore[attr-defined]
            return [first, *rest]

        yield submit_all


@pytest.mark.parametrize("slug", first_alone("sd", "plain", "sdxl"))
def test_eight_jobs_share_the_unet_calls_with_the_results_they_have_alone(
    specs: dict[str, ModelSpec], together: Any, slug: str
) -> None:
    names = schedulers.NAMES
    requested = [
        request(seed=seed, scheduler=names[seed % len(names)], steps=STEPS + seed % 3, strength=(1.0, 0.75)[seed % 2])
        for seed in range(8)
    ]
    results = [future.result(60)[0][0] for future in together(requested, specs[slug])]
    assert len(together.calls.rows) < 2 * STEPS * 2  # second-order schedulers such as Heun's take two calls a step
    assert max(together.calls.rows) > 8
    for sent, result in zip(requested, results, strict=True):
        assert np.abs(result.astype(int) - alone(specs, sent, slug)[0]).max() <= 1


def test_eight_jobs_of_n_steps_take_fewer_than_two_n_calls(sd: ModelSpec, together: Any) -> None:
    futures = together([request(seed=seed) for seed in range(8)], sd)
    assert len({future.result(60)[0][0].tobytes() for future in futures}) == 8
    assert len(together.calls.rows) < 2 * STEPS


def test_without_guidance_a_sample_takes_one_row(sd: ModelSpec, batcher: Batcher) -> None:
    calls = UNetCalls(batcher, sd)
    batcher.paint(request(guidance_scale=1.0), sd, ignore_step)
    batcher.paint(request(), sd, ignore_step)
    assert calls.rows == [1] * STEPS + [2] * STEPS


def test_several_images_use_consecutive_seeds(sd: ModelSpec, specs: dict[str, ModelSpec], batcher: Batcher) -> None:
    images, _ = batcher.paint(request(seed=20, num_images=3), sd, ignore_step)
    for number, image in enumerate(images):
        (single,) = alone(specs, request(seed=20 + number), "sd")
        assert np.abs(image.astype(int) - single).max() <= 1


def test_alone_the_same_seed_gives_the_same_bytes(sd: ModelSpec, specs: dict[str, ModelSpec]) -> None:
    first, again, other = (alone(specs, request(seed=seed), "sd")[0] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_deterministic_mode_never_batches(sd: ModelSpec, specs: dict[str, ModelSpec]) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=1)
    calls = UNetCalls(batcher, sd)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: batcher.paint(request(seed=seed), sd, ignore_step), range(4)))
    assert calls.rows == [2] * 4 * STEPS


def test_steps_are_reported_in_order_with_a_preview(sd: ModelSpec, batcher: Batcher) -> None:
    steps: list[Step] = []
    batcher.paint(request(), sd, steps.append)
    # A keepalive repeats the last step.
    reported = list(dict.fromkeys((step.done, step.of) for step in steps if step.done))
    assert reported == [(number, STEPS) for number in range(1, STEPS + 1)]
    previews = [step.preview for step in steps if step.preview is not None]
    assert previews[0].shape == (8, 8, 3)


def test_a_cancel_takes_effect_at_the_next_step_and_other_jobs_continue(sd: ModelSpec, batcher: Batcher) -> None:
    def stop(step: Step) -> None:
        raise Cancelled

    calls = UNetCalls(batcher, sd)
    with pytest.raises(Cancelled):
        batcher.paint(request(steps=100), sd, stop)
    images, _ = batcher.paint(request(), sd, ignore_step)
    assert len(images) == 1
    assert len(calls.rows) <= STEPS + 5
    wait_until(lambda: batcher.is_idle)


def test_a_failing_sample_fails_only_its_job(sd: ModelSpec, batcher: Batcher, together: Any) -> None:
    model = batcher.cache.get(sd)
    whole = model.predict
    bad, bad_states = request(seed=666), WeakSet[DenoisingState]()

    def predict(samples: Any, backend: Any) -> Any:
        if any(sample in bad_states for sample in samples):
            raise RuntimeError("a bad one")
        return whole(samples, backend)

    start = model.start

    def starting(requested: InpaintRequest, index: int, text: Any, codec: Any) -> Any:
        denoising, notes = start(requested, index, text, codec)
        if requested is bad:
            bad_states.add(denoising)
        return denoising, notes

    model.predict, model.start = predict, starting
    good, broken, other = together([request(seed=1), bad, request(seed=2)], sd)
    with pytest.raises(EngineFailed) as failed:
        broken.result(60)
    assert failed.value.code == "model_failed"
    assert len(good.result(60)[0]) == len(other.result(60)[0]) == 1


def test_when_memory_is_short_the_model_saves_memory_with_a_note(
    sd: ModelSpec, batcher: Batcher, together: Any
) -> None:
    model = batcher.cache.get(sd)
    whole, sizes = model.predict, []

    def predict(samples: Any, backend: Any) -> Any:
        sizes.append(len(samples))
        if len(samples) > 1 or not model.memory_fallbacks:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(samples, backend)

    model.predict = predict
    for future in together([request(seed=seed) for seed in range(4)], sd):
        images, notes = future.result(60)
        assert len(images) == 1
        assert any("Memory was short" in note for note in notes)
    assert max(sizes) > 1


def test_when_memory_is_short_at_the_start_the_model_saves_memory_too(sd: ModelSpec, batcher: Batcher) -> None:
    model = batcher.cache.get(sd)
    start = model.start

    def starting(*arguments: Any) -> Any:
        if not model.is_tiled:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return start(*arguments)

    model.start = starting
    images, notes = batcher.paint(request(), sd, ignore_step)
    assert len(images) == 1
    assert any("Memory was short" in note for note in notes)


def test_the_number_of_rows_that_fit_is_found_once(sd: ModelSpec, batcher: Batcher, together: Any) -> None:
    model = batcher.cache.get(sd)
    whole, sizes = model.predict, []

    def predict(samples: Any, backend: Any) -> Any:
        sizes.append(len(samples))
        if len(samples) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(samples, backend)

    model.predict = predict
    requested = [request(seed=seed) for seed in range(4)]
    results = [future.result(60) for future in together(requested, sd)]
    assert sizes[:6] == [1, 4, 2, 2, 2, 2]
    assert max(sizes[2:]) == 2
    assert not any(notes for _, notes in results)
    assert len({images[0].tobytes() for images, _ in results}) == 4


def test_idle_models_are_evicted_before_a_model_saves_memory(
    specs: dict[str, ModelSpec], sd: ModelSpec, batcher: Batcher
) -> None:
    batcher.paint(request(), specs["other"], ignore_step)
    idle = weakref.ref(batcher.cache.get(specs["other"]).unet)
    model = batcher.cache.get(sd)
    whole = model.predict

    def predict(samples: Any, backend: Any) -> Any:
        if idle() is not None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(samples, backend)

    model.predict = predict
    assert batcher.paint(request(), sd, ignore_step)[1] == ()


def test_too_little_memory_for_one_sample_is_a_clear_error(sd: ModelSpec, batcher: Batcher) -> None:
    def predict(samples: Any, backend: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    batcher.cache.get(sd).predict = predict
    with pytest.raises(EngineFailed, match="64x64") as failed:
        batcher.paint(request(), sd, ignore_step)
    assert failed.value.code == "gpu_out_of_memory"


def test_a_model_that_runs_out_of_memory_while_loading_is_retried_after_an_eviction(
    specs: dict[str, ModelSpec], sd: ModelSpec, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = weakref.ref(batcher.cache.get(specs["other"]).unet)
    from_folder = model_loading.read_folder

    def reading(*arguments: Any, **options: Any) -> Any:
        if idle() is not None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return from_folder(*arguments, **options)

    monkeypatch.setattr(model_loading, "read_folder", reading)
    assert len(batcher.paint(request(), sd, ignore_step)[0]) == 1


def test_latents_with_nan_fail_with_a_clear_code(sd: ModelSpec, batcher: Batcher) -> None:
    model = batcher.cache.get(sd)
    model.predict = lambda samples, backend: [torch.full((2, 4, 8, 8), torch.nan) for _ in samples]
    with pytest.raises(EngineFailed) as failed:
        batcher.paint(request(), sd, ignore_step)
    assert failed.value.code == "model_produced_invalid_output"


def test_a_vae_that_overflows_decodes_again_in_float32(sd: ModelSpec, specs: dict[str, ModelSpec]) -> None:
    half = Batcher(ModelCache(Hardware(torch.device("cpu"), torch.bfloat16), 10**9))
    model = half.cache.get(sd)
    decode, dtypes = model.vae.decode, []

    def overflowing(latents: torch.Tensor, **more: Any) -> Any:
        dtypes.append(latents.dtype)
        images = decode(latents, **more)[0]
        return (images if latents.dtype == torch.float32 else images * torch.nan,)

    model.vae.decode = overflowing
    images, _ = half.paint(request(), sd, ignore_step)
    assert dtypes == [torch.bfloat16, torch.float32]
    assert model.vae.dtype == torch.bfloat16
    assert images[0].std() > 0


def test_two_models_take_turns_under_a_memory_budget_for_one(
    specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[weakref.ref[torch.nn.Module]] = []
    beside: list[int] = []

    def counted(spec: ModelSpec, hardware: Hardware, offload: Offload) -> Any:
        beside.append(sum(unet() is not None for unet in loaded))
        model = load(spec, hardware, offload)
        loaded.append(weakref.ref(model.unet))
        return model

    monkeypatch.setattr("inpainting.engines.diffusion.serving.loading.loads.load", counted)
    small = Batcher(ModelCache(CPU, 2_000_000))
    with ThreadPoolExecutor(6) as pool:
        models = [specs["sd"], specs["other"]] * 3  # saved before any is loaded, which replaces torch's initialisation
        results = list(pool.map(lambda spec: small.paint(request(), spec, ignore_step)[0][0], models))
    assert len(small.cache.models) == 1
    assert 2 <= len(loaded) <= 6  # the models do not alternate at every step
    assert not any(beside), "one model is evicted before the other is loaded"
    assert np.abs(results[0].astype(int) - results[2]).max() <= 1
    assert np.abs(results[0].astype(int) - results[1]).max() > 1


def test_a_model_in_use_is_never_evicted(specs: dict[str, ModelSpec], sd: ModelSpec) -> None:
    cache = ModelCache(CPU, 1)
    first = cache.get(sd)
    second = cache.get(specs["other"], InUse([first]))
    assert cache.models == [first, second]
    assert not cache.evict(InUse([first, second]))
    assert cache.evict(InUse([second]))
    assert cache.models == [second]


def test_replaced_files_are_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    models = ModelCache(CPU, 10**9)
    before = models.get(spec)
    assert models.get(spec) is before
    unet = weakref.ref(before.unet)
    del before
    tiny_models.saved(tmp_path / "one", seed=5)

    def alone(spec: ModelSpec, hardware: Hardware, offload: Offload) -> Any:
        assert unet() is None, "the old one is out of memory"
        return load(spec, hardware, offload)

    monkeypatch.setattr("inpainting.engines.diffusion.serving.loading.loads.load", alone)
    models.get(spec)
    assert len(models.models) == 1


def test_weights_are_counted_by_their_size_in_memory(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    loaded = ModelCache(CPU, 10**9).get(spec).byte_count
    assert abs(model_loading.weights_bytes(spec, torch.float32) - loaded) < 0.05 * loaded
    assert model_loading.weights_bytes(spec, torch.float16) * 2 == model_loading.weights_bytes(spec, torch.float32)


def test_a_model_removed_while_others_paint_fails_only_its_own_jobs(batcher: Batcher, sd: ModelSpec) -> None:
    batcher.cache.budget_bytes = 1
    gone = ModelSpec(slug="gone", label="Gone", family="sd", path=Path("/nowhere/gone"))
    with ThreadPoolExecutor(2) as pool:
        good, bad = (pool.submit(batcher.paint, request(steps=20), spec, ignore_step) for spec in (sd, gone))
        with pytest.raises(EngineFailed) as failed:
            bad.result(60)
        assert failed.value.code == "model_unavailable"
        assert len(good.result(60)[0]) == 1


@pytest.mark.parametrize("where", ["encode_prompts", "start", "predict", "decode"])
def test_an_unexpected_error_fails_its_job_and_the_next_succeeds(
    batcher: Batcher, sd: ModelSpec, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: Any) -> Any:
        raise OSError("broken here")

    with monkeypatch.context() as broken:
        broken.setattr(LatentCodec if where == "decode" else batcher.cache.get(sd), where, breaks)
        with pytest.raises(EngineFailed) as failed:
            batcher.paint(request(), sd, ignore_step)
    assert failed.value.code == "model_failed"
    assert "broken here" in caplog.text
    assert "Traceback" in caplog.text
    assert len(batcher.paint(request(), sd, ignore_step)[0]) == 1


def test_an_error_after_decoding_fails_its_job(
    batcher: Batcher, sd: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: Any) -> Any:
        raise OSError("broken here")

    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as broken:
        broken.setattr(Job, "finish", breaks)
        painting = pool.submit(batcher.paint, request(), sd, ignore_step)
        with pytest.raises(EngineFailed) as failed:
            painting.result(60)
    assert failed.value.code == "model_failed"
    assert len(batcher.paint(request(), sd, ignore_step)[0]) == 1


def test_one_failing_image_fails_the_whole_job(batcher: Batcher, sd: ModelSpec) -> None:
    model = batcher.cache.get(sd)
    start = model.start

    def starting(requested: InpaintRequest, index: int, text: Any, codec: Any) -> Any:
        if index == 1:
            raise EngineFailed("the second one")
        return start(requested, index, text, codec)

    model.start = starting
    with pytest.raises(EngineFailed, match="the second one"):
        batcher.paint(request(num_images=3), sd, ignore_step)
    wait_until(lambda: batcher.is_idle)


def test_a_lost_device_raises_device_lost_for_every_job(
    batcher: Batcher, sd: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.engines.diffusion.serving.batcher.KEEPALIVE_SECONDS", 0.05)

    def lost(samples: Any, backend: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    batcher.cache.get(sd).predict = lost
    steps: list[Step] = []
    for _ in range(2):  # waiting jobs get the same error
        with pytest.raises(DeviceLost):
            batcher.paint(request(), sd, steps.append)
    assert not any(step.done for step in steps)


def test_no_job_overtakes_a_waiting_one_with_the_same_key(batcher: Batcher, sd: ModelSpec) -> None:
    batcher.admission.max_rows = 4
    calls = UNetCalls(batcher, sd, held=True)
    ended: list[int] = []
    with ThreadPoolExecutor(6) as pool:

        def one(number: int) -> None:
            batcher.paint(request(seed=number), sd, ignore_step)
            ended.append(number)

        pool.submit(one, 0)
        assert calls.begun.wait(30)
        for number in range(1, 6):
            pool.submit(one, number)
            wait_until(partial(has_arrived, batcher, number))
        calls.go.set()
    assert max(calls.rows) == 4
    assert [number // 2 for number in ended] == sorted(number // 2 for number in ended)


def test_a_smaller_job_does_not_overtake_a_waiting_one_with_the_same_key(batcher: Batcher, sd: ModelSpec) -> None:
    batcher.admission.max_rows = 3
    running, waiting, newcomer = (Job(request(guidance_scale=scale), sd) for scale in (5.0, 5.0, 1.0))
    for job in (running, waiting, newcomer):
        batcher.workload.add(job)
    batcher.admission.admit()
    assert [job.job for job in batcher.workload.waiting] == [waiting, newcomer]
    other = Job(request(guidance_scale=1.0, prompt="a red bus " * 40), sd)
    batcher.workload.add(other)
    batcher.admission.admit()
    assert [job.job for job in batcher.workload.waiting] == [waiting, newcomer], "a longer text has another key"


def test_a_batch_takes_no_more_samples_than_have_fitted_into_memory(batcher: Batcher, sd: ModelSpec) -> None:
    running, waiting = (Job(request(seed=seed), sd) for seed in (1, 2))
    for job in (running, waiting):
        batcher.workload.add(job)
        batcher.admission.admit()
        for batch in batcher.workload.batches:
            batch.max_samples = 1
    assert [job.job for job in batcher.workload.waiting] == [waiting]


def test_a_missing_model_folder_is_a_clear_error(tmp_path: Path) -> None:
    spec = ModelSpec(slug="gone", label="Gone", family="sd", path=tmp_path / "gone")
    with pytest.raises(EngineFailed, match="pull_model gone") as failed:
        Batcher(ModelCache(CPU, 10**9)).paint(request(), spec, ignore_step)
    assert failed.value.code == "model_unavailable"


def test_a_pickle_beside_the_weights_is_refused(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "bad")
    (tmp_path / "bad" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(EngineFailed, match="pickle") as failed:
        Batcher(ModelCache(CPU, 10**9)).paint(request(), spec, ignore_step)
    assert failed.value.code == "model_refused"


def test_a_caller_hears_which_model_is_loaded(sd: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.engines.diffusion.serving.batcher.KEEPALIVE_SECONDS", 0.02)
    read, go = model_loading.load, threading.Event()

    def held(*arguments: Any) -> Any:
        assert go.wait(30)
        return read(*arguments)

    monkeypatch.setattr(loads, "load", held)
    batcher = Batcher(ModelCache(CPU, 10**9))
    steps: list[Step] = []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(batcher.paint, request(), sd, steps.append)
        wait_until(lambda: any(step.loading for step in steps))
        go.set()
        future.result(60)
    loading = next(step.loading for step in steps if step.loading)
    assert (loading.label, loading.byte_count) == (sd.label, batcher.cache.loads.weights_bytes(sd))
    assert loading.byte_count > 0
    assert steps[-1].loading is None


def test_a_hung_device_reports_no_progress(sd: ModelSpec, batcher: Batcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.engines.diffusion.serving.batcher.KEEPALIVE_SECONDS", 0.02)
    calls = UNetCalls(batcher, sd, held=True)
    steps: list[Step] = []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(batcher.paint, request(), sd, steps.append)
        assert calls.begun.wait(30)
        wait_until(lambda: len(steps) >= 3)
        much_later = SimpleNamespace(monotonic=lambda: time.monotonic() + 10 * device_watchdog.LOADING_SECONDS)
        monkeypatch.setattr(device_watchdog, "time", much_later)
        threading.Event().wait(0.1)
        silent = len(steps)
        threading.Event().wait(0.2)
        assert len(steps) == silent
        calls.go.set()
        assert len(future.result(60)[0]) == 1


def test_a_prompt_that_is_too_long_gives_a_note(sd: ModelSpec, batcher: Batcher) -> None:
    _, notes = batcher.paint(request(prompt="bus " * 201), sd, ignore_step)
    assert any("600 tokens" in note for note in notes)


def test_a_scheduler_that_cannot_drive_the_model_is_replaced_with_a_note(
    specs: dict[str, ModelSpec], batcher: Batcher
) -> None:
    for name, nearest in schedulers.FALLBACKS.items():
        images, notes = batcher.paint(request(scheduler=name, strength=0.75), specs["plain"], ignore_step)
        assert any(name in note and nearest in note for note in notes)
        assert np.array_equal(
            images[0], batcher.paint(request(scheduler=nearest, strength=0.75), specs["plain"], ignore_step)[0][0]
        )
