"""LoRAs are fused for the steps that are about to be taken, where that pays off and memory has room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.backends.torch import Backend
from inpainting.engines.diffusion.conditioning.active_adapters import ActiveAdapters
from inpainting.engines.diffusion.conditioning.delta_layers import DeltaLoras
from inpainting.engines.diffusion.conditioning.lora_adapters import LoadedLoras, active_loras
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import Job, JobSucceeded
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.lora_fusion import FEWEST_STEPS
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Offload
from tests.engines.diffusion.pipelines import CPU
from tests.engines.diffusion.serving.batches import request
from tests.support import tiny_delta_loras, tiny_loras, tiny_models

ONE, TWO = "one", "two"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "sd", "sd")


@pytest.fixture(scope="module")
def loras(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoraSpec]:
    folder = tmp_path_factory.mktemp("loras")
    tensors = {
        ONE: tiny_loras.weights(load(spec, CPU).pipeline),
        TWO: tiny_delta_loras.tensors(tiny_delta_loras.injected(load(spec, CPU).unet, "dora")),
    }
    paths = {slug: tiny_loras.saved(folder / f"{slug}.safetensors", found) for slug, found in tensors.items()}
    return {slug: LoraSpec(slug=slug, label=slug, family="sd", digest=slug, path=path) for slug, path in paths.items()}


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(ModelCache(CPU, 10**9))


@pytest.fixture
def fused_sets(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The slugs of each set that was fused, in order."""
    noted: list[list[str]] = []
    fuse = LoadedLoras.fuse

    def noting(self: LoadedLoras, active: Any, network: torch.nn.Module) -> None:
        noted.append([lora.spec.slug for lora in active])
        fuse(self, active, network)

    monkeypatch.setattr(LoadedLoras, "fuse", noting)
    return noted


def submit(batcher: Batcher, spec: ModelSpec, used: Sequence[LoraSpec], **settings: Any) -> Job:
    requested = request(loras=tuple(LoraUse(lora.slug, 0.8) for lora in used), **settings)
    job = Job(requested, spec, ActiveAdapters(active_loras(requested.settings.loras, used)))
    batcher.workload.add(job)
    return job


def run(batcher: Batcher, turns: int | None = None) -> None:
    """Run the loop until nothing is left to do, or for so many steps of a batch."""
    while not batcher.workload.is_idle and turns != 0:
        has_batch = bool(batcher.workload.batches)
        batcher.run_once()
        turns = None if turns is None else turns - has_batch


def image(job: Job) -> Any:
    assert job.is_done
    while not isinstance(message := job.messages.get_nowait(), JobSucceeded):
        assert not isinstance(message, Exception)
    return message.images[0].astype(int)


def alone(spec: ModelSpec, used: Sequence[LoraSpec], **settings: Any) -> Any:
    """The image by hooks: in the deterministic mode nothing is fused."""
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=1)
    job = submit(batcher, spec, used, **settings)
    run(batcher)
    assert batcher.cache.get(spec).loras.fused == ()
    return image(job)


def test_a_set_is_fused_once_and_stays_for_the_next_requests(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher, fused_sets: list[list[str]]
) -> None:
    used = [loras[ONE], loras[TWO]]
    jobs = []
    for seed in range(3):
        jobs.append(submit(batcher, spec, used, seed=seed))
        jobs.append(submit(batcher, spec, [], seed=seed))
        run(batcher)
    assert fused_sets == [[ONE, TWO]]
    held = batcher.cache.get(spec).loras
    assert held.fused_byte_count > 0
    assert batcher.cache.used_bytes == batcher.cache.get(spec).byte_count
    for number, job in enumerate(jobs):
        expected = alone(spec, [] if number % 2 else used, seed=number // 2)
        assert np.abs(image(job) - expected).max() <= (0 if number % 2 else 1)


def test_batches_with_other_loras_and_none_take_turns_without_fusing_again(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher, fused_sets: list[list[str]]
) -> None:
    sets: list[list[LoraSpec]] = [[loras[ONE]], [loras[TWO]], []]
    jobs = [submit(batcher, spec, used, seed=seed) for seed, used in enumerate(sets)]
    run(batcher, turns=9)
    assert len(batcher.workload.batches) == 3
    assert fused_sets == [[ONE]]
    run(batcher)
    for seed, (job, used) in enumerate(zip(jobs, sets, strict=True)):
        assert np.abs(image(job) - alone(spec, used, seed=seed)).max() <= 1
    submit(batcher, spec, [loras[TWO]])
    run(batcher)
    assert fused_sets == [[ONE], [TWO]], "no batch uses the first set any more"


def test_few_steps_are_not_worth_it(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher, fused_sets: list[list[str]]
) -> None:
    submit(batcher, spec, [loras[ONE]], steps=FEWEST_STEPS - 1)
    run(batcher)
    assert fused_sets == []
    submit(batcher, spec, [loras[ONE]], steps=FEWEST_STEPS)
    run(batcher)
    assert fused_sets == [[ONE]]


def test_fused_weights_neither_evict_nor_stay_when_others_need_the_memory(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher, fused_sets: list[list[str]]
) -> None:
    cache = batcher.cache
    model = cache.get(spec)
    first = submit(batcher, spec, [loras[ONE]])
    run(batcher, turns=2)
    wanted = model.loras.fused_byte_count
    cache.budget_bytes = cache.used_bytes
    other = replace(spec, slug="another")
    assert not cache.has_room(other, batcher.workload.in_use())
    cache.ensure_loras_loaded(active_loras([LoraUse(TWO)], [loras[TWO]]), model, batcher.workload.in_use())
    assert model.loras.fused == ()
    assert cache.used_bytes <= cache.budget_bytes
    run(batcher)
    assert fused_sets == [[ONE]]
    assert np.abs(image(first) - alone(spec, [loras[ONE]])).max() <= 1
    cache.budget_bytes = cache.used_bytes + wanted
    submit(batcher, spec, [loras[ONE]])
    run(batcher)
    assert fused_sets == [[ONE], [ONE]], "there is room again"


def test_a_step_that_memory_is_short_for_is_taken_with_hooks_from_then_on(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher, fused_sets: list[list[str]]
) -> None:
    model = batcher.cache.get(spec)
    job = submit(batcher, spec, [loras[ONE]])
    run(batcher, turns=2)
    assert model.loras.fused

    def fail_beside_fused_weights(*_: Any) -> None:
        if model.loras.fused:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.unet.register_forward_pre_hook(fail_beside_fused_weights)
    run(batcher)
    assert np.abs(image(job) - alone(spec, [loras[ONE]])).max() <= 1
    assert model.memory_fallbacks == []
    submit(batcher, spec, [loras[ONE]])
    run(batcher)
    assert fused_sets == [[ONE]]
    model.leave_device()
    submit(batcher, spec, [loras[ONE]])
    run(batcher, turns=1)
    assert fused_sets == [[ONE], [ONE]]


def test_where_memory_is_too_short_for_fusing_hooks_are_left(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def out_of_memory(*_: Any) -> None:
        calls.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DeltaLoras, "fuse", out_of_memory)
    job = submit(batcher, spec, [loras[ONE]])
    run(batcher)
    assert len(calls) == 1
    assert np.array_equal(image(job), alone(spec, [loras[ONE]]))


@pytest.mark.parametrize("obstacle", ["offload", "fallback", "backend"])
def test_what_torch_does_not_compute_with_weights_on_the_device_is_not_fused(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher, fused_sets: list[list[str]], obstacle: str
) -> None:
    model, job = batcher.cache.get(spec), submit(batcher, spec, [loras[ONE]])
    while not batcher.workload.batches:
        batcher.admission.admit()
    if obstacle == "offload":
        model.offload = Offload.LAYERS
    elif obstacle == "fallback":
        model.memory_fallbacks.append("Memory was short.")
    else:
        batcher.workload.batches[0].backend = Backend()
    run(batcher)
    assert job.is_done
    assert fused_sets == []


def test_weights_that_move_or_are_converted_are_the_models_own(
    spec: ModelSpec, loras: dict[str, LoraSpec], batcher: Batcher
) -> None:
    model = batcher.cache.get(spec)
    submit(batcher, spec, [loras[ONE]])
    run(batcher)
    assert model.loras.fused
    model.use_bfloat16()
    assert model.loras.fused == ()
    model.loras.activate(())
    model.loras.unfuse()
    assert model.loras.active == (), "nothing was fused"
    own = load(spec, CPU).unet.to(torch.bfloat16).state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.unet.state_dict().items())
