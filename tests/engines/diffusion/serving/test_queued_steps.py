"""Steps on a device that is sent work without waiting for it, as CUDA devices are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inpainting.core.errors import DeviceLost
from inpainting.engines.diffusion.serving.batch_tuner import BatchSizeTuner
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import DeviceTimer, FiniteCheck, Hardware
from tests.engines.diffusion.pipelines import ignore_step
from tests.engines.diffusion.serving.batches import STEPS, request
from tests.support import tiny_models


@pytest.fixture
def batcher() -> Batcher:
    return Batcher(ModelCache(Hardware(torch.device("cpu"), torch.float32), 10**9), max_rows=4)


class LateTimer(DeviceTimer):
    """Its time is known when the timer of the next step is asked for the first time."""

    made: list[LateTimer]

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.made.append(self)

    @property
    def is_known(self) -> bool:
        return self is not self.made[-1] or len(self.made) == STEPS

    def stop(self) -> None:
        """A step takes as many seconds as steps were begun."""
        self._started, self._ended = 0.0, float(len(self.made))


def test_no_step_waits_for_the_device_and_its_time_is_recorded_later(
    tmp_path: Path, batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []
    LateTimer.made = []
    monkeypatch.setattr(Hardware, "synchronize", lambda self: waits.append("synchronize"))
    monkeypatch.setattr(Hardware, "timer", lambda self: LateTimer(self))
    peaks: list[int] = []

    def peak_bytes(hardware: Hardware) -> int:
        peaks.append(1000)
        return 1000

    monkeypatch.setattr(Hardware, "peak_bytes", peak_bytes)
    recorded: list[float] = []
    spec = tiny_models.saved(tmp_path / "one")

    def record(tuner: BatchSizeTuner, rows: int, seconds: float, byte_count: int = 0) -> None:
        recorded.append(seconds)
        original(tuner, rows, seconds, byte_count)

    original = BatchSizeTuner.record
    monkeypatch.setattr(BatchSizeTuner, "record", record)
    batcher.paint(request(), spec, ignore_step)
    assert waits == []
    assert recorded == [float(step) for step in range(1, STEPS + 1)]
    assert len(peaks) == 2, "the memory is measured until the time of a step of so many rows is known"


@pytest.mark.parametrize("at", [2, STEPS])
def test_a_lost_device_is_noticed_where_the_check_of_a_step_is_read_within_its_deadline(
    tmp_path: Path, batcher: Batcher, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    reads: list[bool] = []

    def is_finite(check: FiniteCheck) -> bool:
        reads.append(batcher.watchdog._deadline is not None)
        if len(reads) == at:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return True

    monkeypatch.setattr(FiniteCheck, "is_queued", True)
    monkeypatch.setattr(FiniteCheck, "is_finite", property(is_finite))
    with pytest.raises(DeviceLost):
        batcher.paint(request(), tiny_models.saved(tmp_path / "one"), ignore_step)
    assert reads == [True] * at
