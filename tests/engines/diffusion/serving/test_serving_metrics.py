"""Steps, their rows, and loads and evictions of models are counted for each model."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import REGISTRY

from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import request
from tests.support import tiny_models


def test_steps_loads_and_evictions_are_counted(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "counted-model")

    def value(name: str) -> float:
        source = {"source": "disk"} if "load" in name else {}
        return REGISTRY.get_sample_value(f"dreamlayer_{name}", {"model": spec.slug, **source}) or 0.0

    steps = ("step_seconds_count", "step_batch_rows_sum")
    occupancy = ("step_batch_occupancy_ratio_count", "step_batch_occupancy_ratio_sum")
    names = (*steps, *occupancy, "model_load_seconds_count", "model_evictions_total")
    before = {name: value(name) for name in names}
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=2)
    asked = request()
    batcher.paint(asked, spec, ignore_step)
    assert batcher.cache.evict()
    counted = {name: value(name) - before[name] for name in names}
    assert counted["model_load_seconds_count"] == counted["model_evictions_total"] == 1
    assert counted[occupancy[0]] == counted["step_seconds_count"]
    assert counted[occupancy[1]] == counted["step_batch_rows_sum"] / 2
    assert counted["step_batch_rows_sum"] >= counted["step_seconds_count"] == asked.settings.steps
