"""Models in memory that are no engine's: each is loaded once, and its load holds up no other model."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from inpainting.catalog import families
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.specs import ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.engines.loaded_models import MAX_LOADED, LoadedModels

SPEC: Any = SimpleNamespace(slug="counted-tool")


def value(name: str) -> float:
    return (
        REGISTRY.get_sample_value(
            f"dreamlayer_model_{name}", {"model": SPEC.slug, **({"source": "disk"} if "load" in name else {})}
        )
        or 0.0
    )


def test_a_load_holds_up_only_requests_for_the_same_model() -> None:
    models, started, may_end, loads = LoadedModels(), threading.Event(), threading.Event(), []

    def load(spec: Any, path: Path) -> str:
        loads.append(path.name)
        if path.name == "slow":
            started.set()
            assert may_end.wait(60)
        return path.name

    assert models.get(load, SPEC, Path("other")) == "other"
    with ThreadPoolExecutor(3) as pool:
        try:
            slow = [pool.submit(models.get, load, SPEC, Path("slow")) for _ in range(2)]
            assert started.wait(60)
            assert pool.submit(models.get, load, SPEC, Path("other")).result(60) == "other"
        finally:
            may_end.set()
        assert [one.result(60) for one in slow] == ["slow"] * 2
    assert loads == ["other", "slow"]


def test_the_least_recently_used_model_is_evicted_and_a_failed_load_is_tried_again() -> None:
    models, loads = LoadedModels(), []
    before = {name: value(name) for name in ("load_seconds_count", "evictions_total")}

    def load(spec: Any, path: Path) -> str:
        loads.append(path.name)
        if loads == ["0"]:
            raise RuntimeError
        return path.name

    names = ["0", *(str(number) for number in range(MAX_LOADED)), "0", "new", "0", "1"]
    for name in names:
        try:
            models.get(load, SPEC, Path(name))
        except RuntimeError:
            assert loads == ["0"]
    assert loads == ["0", *(str(number) for number in range(MAX_LOADED)), "new", "1"]
    assert [value(name) - then for name, then in before.items()] == [len(loads), len(loads) - 1 - MAX_LOADED]


@pytest.mark.parametrize("slug", ["slimsam", "blip-base", "depth-anything-v2-small"])
def test_of_the_catalog_a_missing_library_or_missing_files_are_told(
    slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = (tool for tool in SHIPPED_TOOLS if tool.slug == slug)
    with pytest.raises(EngineFailed, match=f"pull_model {slug}"):
        LoadedModels().of(spec)

    def load(self: object, spec: ModelSpec, path: Path) -> Any:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr(type(families.get(spec.family).load_implementation()), "load", load)
    with pytest.raises(EngineFailed, match=f"lacks transformers, which {spec.label} needs") as caught:
        LoadedModels().of(replace(spec, path=tmp_path))
    assert caught.value.code == "model_unavailable"
