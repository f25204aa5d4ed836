"""A model that is replaced or evicted between two images of one request: each image is wholly that of one model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import FILES_REPLACED, InFlightSample, WaitingSample
from inpainting.engines.diffusion.serving.loading import loads
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.files import fingerprint
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import request
from tests.support import tiny_adapters, tiny_models
from tests.support.matrix import first_alone

Painted = tuple[list[NDArray[np.uint8]], tuple[str, ...]]


def painted(
    spec: ModelSpec,
    requested: InpaintRequest,
    adapters: tuple[ModelSpec, ...] = (),
    *,
    after_first_start: Callable[[Batcher], object] = lambda batcher: None,
) -> Painted:
    """The images, one after another, and the notes."""
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=2)
    start = batcher.admission.start
    started: list[WaitingSample] = []

    def starting(sample: WaitingSample) -> InFlightSample | Exception:
        result = start(sample)
        if not started:
            after_first_start(batcher)
        started.append(sample)
        return result

    batcher.admission.start = starting  # type: ignore[method-assign]
    return batcher.paint(requested, spec, ignore_step, (), adapters)


@pytest.mark.parametrize("controlled", first_alone(True, False))
def test_after_a_replacement_images_are_those_of_the_new_files_with_a_note(tmp_path: Path, controlled: bool) -> None:
    control = tiny_adapters.saved_controlnet(tmp_path / "control", "sd", ControlImageKind.CANNY)
    adapters = (control,) if controlled else ()
    spec = tiny_models.saved(tmp_path / "one")
    expected = [
        painted(tiny_models.saved(tmp_path / f"{number}", seed=seed), request(seed=3 + number), adapters)
        for number, seed in enumerate((0, 5))
    ]
    images, notes = painted(
        spec,
        request(seed=3, num_images=2),
        adapters,
        after_first_start=lambda batcher: tiny_models.saved(tmp_path / "one", seed=5),
    )
    for image, ((alone,), _) in zip(images, expected, strict=True):
        assert np.abs(image.astype(int) - alone).max() <= 1
    assert notes == (FILES_REPLACED,)


def test_a_network_that_is_replaced_inside_the_folder_is_noticed(tmp_path: Path) -> None:
    """Also where model_index.json, and the time of the folder, stay as they were."""
    spec = tiny_models.saved(tmp_path / "one")
    cache = ModelCache(CPU, 10**9)
    before = cache.get(spec)
    assert cache.get(spec) is before
    (weights,) = (tmp_path / "one" / "unet").glob("*.safetensors")
    tiny_models.saved(tmp_path / "other", seed=5)
    (tmp_path / "other" / "unet" / weights.name).replace(weights)
    assert cache.loaded(spec) is None
    after = cache.get(spec)
    assert not torch.equal(next(before.unet.parameters()), next(after.unet.parameters()))


def test_files_are_looked_at_once_for_all_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, looks = tiny_models.saved(tmp_path / "one"), []

    def look(path: Path | None) -> int:
        looks.append(path)
        return fingerprint(path)

    cache = ModelCache(CPU, 10**9)
    cache.get(spec)
    monkeypatch.setattr(loads, "fingerprint", look)
    with cache.loads.one_look():
        assert cache.loaded(spec) is cache.loaded(spec) is not None
        assert len(looks) == 1
        with cache.loads.one_look():
            cache.get(spec)
        cache.loaded(spec)
        assert len(looks) == 3
    cache.loaded(spec)
    cache.loaded(spec)
    assert len(looks) == 5


def test_a_caller_may_ask_while_the_thread_of_the_device_ends_its_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, ended = tiny_models.saved(tmp_path / "one"), ExitStack()

    def look(path: Path | None) -> int:
        ended.close()
        return fingerprint(path)

    cache = ModelCache(CPU, 10**9)
    model = cache.get(spec)
    monkeypatch.setattr(loads, "fingerprint", look)
    ended.enter_context(cache.loads.one_look())
    assert cache.loaded(spec) is model


def test_after_an_eviction_the_same_files_give_the_same_images_without_a_note(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "one")
    before = painted(spec, request(num_images=2))
    after = painted(spec, request(num_images=2), after_first_start=lambda batcher: batcher.cache.memory.models.clear())
    assert np.array_equal(before[0], after[0])
    assert after[1] == before[1] == ()
