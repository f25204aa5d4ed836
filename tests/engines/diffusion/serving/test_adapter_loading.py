"""Adapters are read beside the steps of others: whoever paints already waits for no file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind, LoraSpec, ModelSpec
from inpainting.core.request import InpaintRequest, LoraUse
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware, Offload
from inpainting.networks.load_lock import LOAD_LOCK
from tests.engines.diffusion.conditioning.adapter_requests import request
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.support import tiny_adapters, tiny_embeddings, tiny_loras, tiny_models, tiny_vaes

SERVING = "inpainting.engines.diffusion.serving"
LOADED_BY = {
    "lora": "inpainting.engines.diffusion.conditioning.lora_adapters.load_file",
    "controlnet": f"{SERVING}.loading.adapter_loading.load_network",
    "ip-adapter": "inpainting.engines.diffusion.conditioning.ip_adapter.load_file",
    "vae": f"{SERVING}.loading.adapter_loading.load_network",
    "embedding": "inpainting.engines.diffusion.conditioning.textual_inversion.load_file",
    "preview": f"{SERVING}.loading.adapter_loading.load_network",
}
"""The function that reads the files of each kind of adapter."""
NAMED: dict[str, dict[str, Any]] = {
    "lora": {"loras": (LoraUse("ink"),)},
    "controlnet": {"control": "canny"},
    "ip-adapter": {"ip_adapter": "look"},
    "vae": {"vae": "vae"},
    "embedding": {"embeddings": ("word",), "prompt": "a <word>"},
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="module")
def adapters(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, pipeline = tmp_path_factory.mktemp("adapters"), load(spec, CPU).pipeline
    lora = tiny_loras.saved(folder / "ink.safetensors", tiny_loras.weights(pipeline))
    return {
        "lora": LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=lora),
        "controlnet": tiny_adapters.saved_controlnet(folder / "canny", "sd", ControlImageKind.CANNY),
        "ip-adapter": tiny_adapters.saved_adapter(folder / "look", "sd", tiny_adapters.adapter(pipeline.unet)),
        "vae": tiny_vaes.saved(folder / "vae"),
        "embedding": tiny_embeddings.saved(folder / "word.safetensors", "sd"),
    }


class Held:
    """A function that waits for `go` on every thread but that of the test."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.begun, self.go = threading.Event(), threading.Event()
        self.threads: set[str] = set()

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        self.begun.set()
        assert self.go.wait(60)
        return self.function(*arguments, **more)


def held(monkeypatch: pytest.MonkeyPatch, kind: str) -> Held:
    module, _, name = LOADED_BY[kind].rpartition(".")
    function = Held(getattr(__import__(module, fromlist=[name]), name))
    monkeypatch.setattr(LOADED_BY[kind], function)
    return function


def paint(
    batcher: Batcher, requested: InpaintRequest, spec: ModelSpec, kind: str = "", adapter: Any = None
) -> NDArray[np.uint8]:
    loras = [adapter] if kind == "lora" else []
    embeddings = [adapter] if kind == "embedding" else []
    networks = [adapter] if kind in ("controlnet", "ip-adapter", "vae") else []
    return batcher.paint(requested, spec, ignore_step, loras, networks, embeddings)[0][0]


@pytest.mark.parametrize("kind", NAMED)
def test_images_are_painted_while_an_adapter_is_read(
    spec: ModelSpec, adapters: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    tiny_embeddings.allow(monkeypatch)
    batcher = Batcher(ModelCache(CPU, 10**9))
    plain, wanted = request(), request(**NAMED[kind])
    alone = paint(batcher, plain, spec)
    reading = held(monkeypatch, kind)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(paint, batcher, wanted, spec, kind, adapters[kind])
        try:
            assert reading.begun.wait(30)
            assert np.array_equal(paint(batcher, plain, spec), alone)
        finally:
            reading.go.set()
        assert not np.array_equal(waiting.result(60), alone)
    assert "diffusion" not in reading.threads


def test_adapters_of_one_job_are_loaded_one_after_another(spec: ModelSpec, adapters: dict[str, Any]) -> None:
    loras = [adapters["lora"], replace(adapters["lora"], slug="same", digest="same")]
    uses = (LoraUse("ink", 0.5), LoraUse("same", 0.5))
    networks = [adapters[kind] for kind in ("controlnet", "ip-adapter", "vae")]
    named = {**NAMED["controlnet"], **NAMED["ip-adapter"], **NAMED["vae"]}
    both = Batcher(ModelCache(CPU, 10**9)).paint(request(**named, loras=uses), spec, ignore_step, loras, networks)
    once = Batcher(ModelCache(CPU, 10**9)).paint(
        request(**named, loras=(LoraUse("ink"),)), spec, ignore_step, loras[:1], networks
    )
    assert np.abs(both[0][0].astype(int) - once[0][0]).max() <= 1, "half a LoRA twice is that LoRA"


def test_layers_of_an_adapter_are_not_added_while_a_network_is_built(
    spec: ModelSpec, adapters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_models.saved(tmp_path / "other", seed=1)
    batcher, named = Batcher(ModelCache(CPU, 10**9)), NAMED["ip-adapter"]
    for model_spec in (spec, other):
        batcher.cache.get(model_spec)
    paint(batcher, request(**named), spec, "ip-adapter", adapters["ip-adapter"])
    begun, go = threading.Event(), threading.Event()

    def build(spec: ModelSpec, hardware: Hardware, offload: Offload) -> Any:
        with LOAD_LOCK:
            begun.set()
            assert go.wait(60)
            return load(spec, hardware, offload)

    monkeypatch.setattr(f"{SERVING}.loading.loads.load", build)
    with ThreadPoolExecutor(2) as pool:
        building = pool.submit(paint, batcher, request(), tiny_models.saved(tmp_path / "third", seed=2))
        try:
            assert begun.wait(30)
            waiting = pool.submit(paint, batcher, request(**named), other, "ip-adapter", adapters["ip-adapter"])
            assert paint(batcher, request(), other).any()
            assert not waiting.done()
        finally:
            go.set()
        assert building.result(60).any()
        assert waiting.result(60).any()


def test_others_paint_while_another_thread_loads_a_network(spec: ModelSpec, adapters: dict[str, Any]) -> None:
    """Such as that of a segmenter: only an image whose adapter adds layers waits for it."""
    batcher = Batcher(ModelCache(CPU, 10**9))
    paint(batcher, request(), spec)
    batcher.cache.adapter(adapters["ip-adapter"])
    with ThreadPoolExecutor(1) as another, ThreadPoolExecutor(1) as pool:
        another.submit(LOAD_LOCK.acquire).result()
        try:
            named = request(**NAMED["ip-adapter"])
            waiting = pool.submit(paint, batcher, named, spec, "ip-adapter", adapters["ip-adapter"])
            while not batcher.workload.waiting:
                time.sleep(0.001)
            painted = ThreadPoolExecutor(1).submit(paint, batcher, request(), spec)
            assert painted.result(60).any()
            assert not waiting.done()
        finally:
            another.submit(LOAD_LOCK.release).result()
        assert waiting.result(60).any()


def test_the_preview_decoder_is_loaded_beside_the_model(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_vaes.saved(tmp_path / "taesd", kind="AutoencoderTiny")
    reading = held(monkeypatch, "preview")
    reading.go.set()
    paint(Batcher(ModelCache(CPU, 10**9, models_dir=tmp_path)), request(), spec)
    assert len(reading.threads) == 1
    assert "diffusion" not in reading.threads
