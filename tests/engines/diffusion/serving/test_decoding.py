"""Finished images are decoded a few at a time, and other batches take their steps in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.serving import step_executor
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import Job, JobSucceeded
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.pipelines import CPU, SIDE
from tests.engines.diffusion.serving.batches import STEPS, request
from tests.support import tiny_models


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "sd")


def wide(requested: InpaintRequest) -> InpaintRequest:
    """A request that cannot share a batch with others."""
    pixels, mask = np.asarray(requested.image.pixels), requested.mask
    return InpaintRequest(CanonicalImage(np.hstack([pixels] * 2)), np.hstack([mask] * 2), requested.settings)


def painted(spec: ModelSpec, *requests: InpaintRequest, leaves_at: int | None = None) -> tuple[list[Any], list[str]]:
    """Paint on this thread. Returns each job's images, and what the device did, in order.

    leaves_at: the number of decoded batches after which the first caller leaves.
    """
    batcher, done = Batcher(ModelCache(CPU, 10**9), max_rows=32), []
    model = batcher.cache.get(spec)
    decode = model.vae.decode
    jobs = [Job(sent, spec) for sent in requests]

    def decoded(latents: torch.Tensor, **more: Any) -> Any:
        done.append(f"decode {len(latents)}")
        jobs[0].is_done |= leaves_at == len([step for step in done if step.startswith("decode")])
        return decode(latents, **more)

    model.vae.decode = decoded
    model.unet.register_forward_pre_hook(lambda _, arguments: done.append(f"step {arguments[0].shape[-1]}"))
    for job in jobs:
        batcher.workload.add(job)
    while not batcher.is_idle:
        batcher.run_once()
    messages = [[job.messages.get() for _ in range(job.messages.qsize())] for job in jobs]
    return [
        message[-1].images if message and isinstance(message[-1], JobSucceeded) else [] for message in messages
    ], done


def test_five_images_are_decoded_two_at_a_time_between_the_steps_of_another(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = request(num_images=5), wide(request(steps=STEPS + 3))
    expected, together = painted(spec, *requests)
    assert together.count("decode 5") == 1
    monkeypatch.setattr(step_executor, "MAX_DECODED_PIXELS", 2 * SIDE**2)
    results, done = painted(spec, *requests)
    first = done.index("decode 2")
    assert done[first : first + 5] == ["decode 2", "step 16", "decode 2", "step 16", "decode 1"]
    for images, wanted in zip(results, expected, strict=True):
        assert len(images) == len(wanted)
        assert np.abs(np.stack(images).astype(int) - np.stack(wanted)).max() <= 1


def test_an_image_larger_than_the_limit_is_decoded_alone(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_executor, "MAX_DECODED_PIXELS", 1)
    (images,), done = painted(spec, request(num_images=2))
    assert len(images) == 2
    assert [step for step in done if step.startswith("decode")] == ["decode 1"] * 2


def test_images_of_a_caller_who_has_left_are_not_decoded(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_executor, "MAX_DECODED_PIXELS", SIDE**2)
    (images,), done = painted(spec, request(num_images=3), leaves_at=1)
    assert images == []
    assert done.count("decode 1") == 1


def test_images_that_wait_for_their_decoding_are_counted_as_unfinished_work(spec: ModelSpec) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9))
    job = Job(request(steps=1), spec)
    batcher.workload.add(job)
    batcher.admission.admit()
    (batch,) = batcher.workload.batches
    batch.samples, batch.undecoded = [], batch.samples
    batcher.workload.drop_finished()
    assert not batcher.workload.is_idle
    assert batcher.workload.in_use().models == [batch.model]
    assert list(batcher.workload.clear()) == [job]
