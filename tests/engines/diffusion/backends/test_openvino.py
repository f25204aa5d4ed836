"""OpenVINO in place of torch: the same images, from models converted once; torch computes what OpenVINO cannot."""

from __future__ import annotations

import shutil
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.geometry import Size
from inpainting.core.request import LoraUse
from inpainting.engines.base import Step
from inpainting.engines.diffusion.backends.openvino import is_installed
from inpainting.engines.diffusion.backends.torch import TORCH
from inpainting.engines.diffusion.engine import Diffusion, Options
from inpainting.engines.diffusion.serving.backend_selection import BackendSelector
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_memory import InUse
from inpainting.engines.diffusion.serving.jobs import Job
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device.hardware import Hardware
from inpainting.networks.files import fingerprint
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import UNetCalls, has_arrived, request, wait_until
from tests.support import tiny_loras, tiny_models, tiny_vaes
from tests.support.matrix import first_alone

if not is_installed():
    pytest.skip("OpenVINO is not installed; “pip install .[diffusion]” installs it on x86-64.", allow_module_level=True)

from inpainting.catalog.store import converted_networks
from inpainting.engines.diffusion.backends.openvino import backend, conversion, library
from inpainting.engines.diffusion.backends.openvino.backend import CompilationPlan, OpenVinoBackend, OpenVinoNetwork
from inpainting.engines.diffusion.backends.openvino.selector import OpenVinoSelector, supports

HALF = Hardware(torch.device("cpu"), torch.bfloat16)
ROOM = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models folder, shared by all tests: a conversion is reused by later tests."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def specs(folder: Path) -> dict[str, ModelSpec]:
    return {
        "sd": tiny_models.saved(folder / "sd"),
        "plain": tiny_models.saved(folder / "plain", inpainting=False),
        "sdxl": tiny_models.saved(folder / "sdxl", "sdxl"),
    }


def convert_in_process(request: conversion.ConversionRequest) -> None:
    """Convert without a subprocess. No other thread may load a model meanwhile: diffusers cannot load two at once."""
    with request.store.lock():
        if not request.store.use(request.folder):
            conversion.convert(request)


def batcher_in(
    folder: Path,
    hardware: Hardware = CPU,
    convert: conversion.Convert = convert_in_process,
) -> Batcher:
    cache = ModelCache(hardware, ROOM)
    return Batcher(cache, max_rows=32, backends=OpenVinoSelector(cache, folder, ROOM, convert=convert))


def ready(batcher: Batcher) -> None:
    assert isinstance(batcher.backends, OpenVinoSelector)
    batcher.backends.wait()
    batcher.backends.collect()


def painted(batcher: Batcher, spec: ModelSpec, **settings: Any) -> tuple[NDArray[np.uint8], tuple[str, ...], str]:
    """Returns an image, the notes, and the backend that computed it."""
    steps: list[Step] = []
    loras, parts = settings.pop("lora_specs", []), settings.pop("parts", [])
    (image,), notes = batcher.paint(request(**settings), spec, steps.append, loras, parts)
    ways = {step.computed_by for step in steps if step.computed_by}
    assert len(ways) == 1, "the backend changed between steps"
    return image, notes, ways.pop()


def by_torch(spec: ModelSpec, hardware: Hardware = CPU, **settings: Any) -> NDArray[np.uint8]:
    return painted(Batcher(ModelCache(hardware, ROOM), max_rows=1), spec, **settings)[0]


def largest_difference(pixels: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(pixels.astype(int) - other).max())


class LeftToTorch:
    """A compiled network that always falls back to torch."""

    rejection = "left to torch"

    def __call__(self, inputs: Any, by_torch: Callable[[], torch.Tensor]) -> torch.Tensor:
        return by_torch()


def fake_backend(byte_count: int) -> OpenVinoBackend:
    """A fake compiled backend of the given size."""
    part: Any = LeftToTorch()
    return OpenVinoBackend(part, part, part, byte_count)


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """No network is converted until this event is set; compilations return fake backends."""
    event = threading.Event()
    monkeypatch.setattr(converted_networks.NetworkStore, "use", lambda *_: event.is_set())
    monkeypatch.setattr(backend, "compile_backend", lambda plan, **_: fake_backend(plan.byte_count))
    return event


def convert_after(go: threading.Event, convert: conversion.Convert = lambda request: None) -> conversion.Convert:
    def convert_when_set(request: conversion.ConversionRequest) -> None:
        assert go.wait(60)
        convert(request)

    return convert_when_set


def copy_from(folder: Path) -> conversion.Convert:
    """Convert by copying from the models folder `folder`, where each network is converted once for all tests."""

    def copy(request: conversion.ConversionRequest) -> None:
        original = replace(request, models_dir=str(folder))
        convert_in_process(original)
        shutil.copytree(original.folder, request.folder)

    return copy


def forbidden(request: conversion.ConversionRequest) -> None:
    raise AssertionError("converted again")


@pytest.mark.parametrize("slug", first_alone("sd", "plain", "sdxl"))
def test_torch_paints_the_first_image_and_openvino_the_same_images_afterwards(
    folder: Path, tmp_path: Path, specs: dict[str, ModelSpec], slug: str
) -> None:
    spec, batcher = specs[slug], batcher_in(tmp_path, convert=copy_from(folder))
    calls = UNetCalls(batcher, spec)
    requested: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2, "strength": 0.6}, {"seed": 3, "guidance_scale": 1.0}]
    first, notes, way = painted(batcher, spec, **requested[0])
    assert (notes, way) == ((), "torch, float32")
    ready(batcher)
    assert first.tobytes() == by_torch(spec, **requested[0]).tobytes()
    calls.rows.clear()
    for settings in requested:
        image, notes, way = painted(batcher, spec, **settings)
        assert (notes, way) == ((), "OpenVINO, float32")
        assert largest_difference(image, by_torch(spec, **settings)) <= 1
    assert calls.rows == [2], "torch answers once, to compare"


@pytest.mark.full
@pytest.mark.skipif(not library.has_bfloat16(), reason="this processor has no bfloat16")
def test_it_computes_in_bfloat16_as_torch_does(folder: Path, specs: dict[str, ModelSpec]) -> None:
    spec, batcher = specs["sd"], batcher_in(folder, HALF)
    painted(batcher, spec)
    ready(batcher)
    image, notes, way = painted(batcher, spec)
    assert (notes, way) == ((), "OpenVINO, bfloat16")
    exact = by_torch(spec).astype(float)
    noise = np.abs(by_torch(spec, HALF) - exact).mean()
    assert np.abs(image - exact).mean() < 3 * noise, "about as far from float32 as torch is"


def test_an_image_is_bit_identical_in_a_batch_and_alone(folder: Path, specs: dict[str, ModelSpec]) -> None:
    spec, batcher = specs["sd"], batcher_in(folder)
    painted(batcher, spec)
    ready(batcher)
    alone = [painted(batcher, spec, seed=seed)[0] for seed in range(4)]
    together, _ = batcher.paint(request(seed=0, num_images=4), spec, ignore_step)
    assert [one.tobytes() for one in together] == [previews.tobytes() for previews in alone]


@pytest.mark.full
def test_a_job_started_with_torch_ends_with_torch(folder: Path, tmp_path: Path, specs: dict[str, ModelSpec]) -> None:
    go, spec, before = threading.Event(), specs["sd"], batcher_in(folder)
    painted(before, spec)
    ready(before)
    batcher = batcher_in(tmp_path, convert=convert_after(go, copy_from(folder)))
    calls = UNetCalls(batcher, spec, held=True)
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(painted, batcher, spec, seed=5)
        assert calls.begun.wait(60)
        go.set()
        assert isinstance(batcher.backends, OpenVinoSelector)
        batcher.backends.wait()
        late = pool.submit(painted, batcher, spec, seed=6)
        wait_until(lambda: has_arrived(batcher, 1))
        calls.go.set()
        assert early.result(60)[2] == "torch, float32"
        assert late.result(60)[2] == "OpenVINO, float32"
    assert early.result()[0].tobytes() == by_torch(spec, seed=5).tobytes()


def test_one_conversion_serves_all_sizes_and_later_processes(folder: Path, specs: dict[str, ModelSpec]) -> None:
    before = batcher_in(folder)
    painted(before, specs["sd"])
    ready(before)
    batcher = batcher_in(folder, convert=forbidden)
    assert painted(batcher, specs["sd"])[2] == "OpenVINO, float32"
    assert isinstance(batcher.backends, OpenVinoSelector)
    assert batcher.backends.select(batcher.cache.get(specs["sd"]), Size(96, 128), (), 1) is not TORCH


@pytest.mark.full
def test_damaged_files_are_converted_again(folder: Path, specs: dict[str, ModelSpec]) -> None:
    before = batcher_in(folder)
    painted(before, specs["sd"])
    ready(before)
    made: list[str] = []

    def counting(request: conversion.ConversionRequest) -> None:
        made.append(request.kind)
        convert_in_process(request)

    request = conversion.make_request(
        "unet", before.cache.get(specs["sd"]), fingerprint(specs["sd"].path), (), folder, ROOM
    )
    weights = request.folder / "unet.bin"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.unlink()  # other tests keep the old file open
    weights.write_bytes(content)
    batcher = batcher_in(folder, convert=counting)
    painted(batcher, specs["sd"])
    ready(batcher)
    assert painted(batcher, specs["sd"])[2] == "OpenVINO, float32"
    assert made == ["unet"]


@pytest.mark.full
def test_a_network_that_differs_is_rejected_with_a_note(
    folder: Path, specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = batcher_in(folder)
    painted(before, specs["sd"])
    ready(before)
    spec, batcher = specs["sd"], batcher_in(folder)
    compute, counted = OpenVinoNetwork.compute, []

    def wrong(part: OpenVinoNetwork, inputs: Any) -> torch.Tensor:
        counted.append(part.what)
        return compute(part, inputs) * (1.1 if part.what == "unet" else 1)

    monkeypatch.setattr(OpenVinoNetwork, "compute", wrong)
    for _ in range(2):
        (image,), notes = batcher.paint(request(), spec, ignore_step)
        assert notes == ("OpenVINO's result differed from torch's at unet (0.1); torch computed that.",)
        assert largest_difference(image, by_torch(spec)) <= 1
    assert counted.count("unet") == 1


def test_after_a_failure_in_the_middle_torch_computes_the_rest(
    folder: Path, specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = batcher_in(folder)
    painted(batcher, specs["sd"])
    ready(batcher)
    compute, counted = OpenVinoNetwork.compute, []

    def breaking(part: OpenVinoNetwork, inputs: Any) -> torch.Tensor:
        counted.append(part.what)
        if part.what == "unet" and counted.count("unet") == 3:
            raise RuntimeError("no more")
        return compute(part, inputs)

    monkeypatch.setattr(OpenVinoNetwork, "compute", breaking)
    (image,), notes = batcher.paint(request(), specs["sd"], ignore_step)
    assert notes == ("OpenVINO failed at unet (RuntimeError); torch computed that.",)
    assert largest_difference(image, by_torch(specs["sd"])) <= 1
    assert counted.count("unet") == 3


def test_a_failed_conversion_gives_a_note_and_is_not_repeated(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "sd")
    tried: list[str] = []

    def failing(request: conversion.ConversionRequest) -> None:
        tried.append(request.kind)
        raise conversion.ConversionFailed("it could not be converted")

    batcher = batcher_in(tmp_path, convert=failing)
    painted(batcher, spec)
    ready(batcher)
    for _ in range(2):
        image, notes, way = painted(batcher, spec)
        assert (notes, way) == (("OpenVINO was not used: it could not be converted. Torch painted.",), "torch, float32")
    assert image.tobytes() == by_torch(spec).tobytes()
    assert tried == ["unet"]


@pytest.mark.full
def test_reused_loras_are_fused_and_paint_the_same_image(
    folder: Path, specs: dict[str, ModelSpec], tmp_path: Path
) -> None:
    spec = specs["sd"]
    tensors = tiny_loras.weights(load(spec, CPU).pipeline, seed=3)
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tensors)
    lora = LoraSpec(slug="ink", label="Ink", family=spec.family, digest="ink", path=path)
    requested: dict[str, Any] = {"loras": (LoraUse("ink", 0.7),), "lora_specs": [lora]}
    batcher, made = batcher_in(folder), []
    assert isinstance(batcher.backends, OpenVinoSelector)

    def counting(request: conversion.ConversionRequest) -> None:
        made.append(request.loras)
        convert_in_process(request)

    batcher.backends.convert = counting
    assert painted(batcher, spec, **requested)[2] == "torch, float32"
    ready(batcher)
    assert not any(made), "not for one image"
    assert painted(batcher, spec, **requested)[2] == "torch, float32"
    ready(batcher)
    image, notes, way = painted(batcher, spec, **requested)
    assert (notes, way) == ((), "OpenVINO, float32")
    assert largest_difference(image, by_torch(spec, **requested)) <= 1
    assert largest_difference(image, by_torch(spec)) > 3
    assert painted(batcher_in(folder, convert=forbidden), spec, **requested)[2] == "OpenVINO, float32", (
        "at hand from now on"
    )


@pytest.mark.parametrize("kind", first_alone("AutoencoderTiny", "AutoencoderKL"))
def test_with_another_vae_openvino_denoises_and_torch_decodes(
    folder: Path, specs: dict[str, ModelSpec], tmp_path: Path, kind: str
) -> None:
    spec, batcher = specs["sd"], batcher_in(folder)
    painted(batcher, spec)
    ready(batcher)
    requested: dict[str, Any] = {"vae": "other", "parts": [tiny_vaes.saved(tmp_path / "other", kind=kind)]}
    image, notes, way = painted(batcher, spec, **requested)
    assert (notes, way) == ((), "OpenVINO, float32")
    assert largest_difference(image, by_torch(spec, **requested)) <= 1
    assert largest_difference(image, by_torch(spec)) > 3


@pytest.mark.full
def test_concurrent_processes_convert_a_model_once(tmp_path: Path) -> None:
    spec = tiny_models.saved(tmp_path / "sd")
    model = load(spec, CPU)
    request = conversion.make_request("vae", model, 1, (), tmp_path, ROOM)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(conversion.convert_in_subprocess, [request, request]))
    assert request.store.use(request.folder)
    assert sorted(path.name for path in request.store.root.iterdir()) == [converted_networks.LOCK, "sd"]


def test_a_conversion_process_with_an_error_status_has_failed(
    folder: Path, specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = conversion.make_request("vae", load(specs["sd"], CPU), 1, (), folder, ROOM)
    for program, words in (("/bin/false", "see the server's log"), ("/nowhere", "FileNotFoundError")):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(conversion.ConversionFailed, match=words):
            conversion.convert_in_subprocess(request)


def test_unsupported_sizes_and_precisions_are_left_to_torch(folder: Path, specs: dict[str, ModelSpec]) -> None:
    model = load(specs["sd"], CPU)
    assert supports(model, Size(64, 96))
    assert not supports(model, Size(64, 72)), "a side of the latents that cannot be halved"
    assert not supports(load(specs["sd"], Hardware(torch.device("cpu"), torch.float16)), Size(64, 64))
    model.reduce_memory(Size(64, 64))
    assert not supports(model, Size(64, 64)), "in tiles"


def test_compiled_networks_count_as_weights_and_the_least_recently_used_is_evicted(
    folder: Path, specs: dict[str, ModelSpec]
) -> None:
    batcher = batcher_in(folder)
    networks = batcher.backends
    assert isinstance(networks, OpenVinoSelector)
    model = batcher.cache.get(specs["sd"])
    empty = batcher.cache.used_bytes
    small, wide, tall = Size(64, 64), Size(96, 64), Size(64, 96)
    for size in (small, wide):
        networks.select(model, size, (), 1)
        networks.wait()
        assert networks.select(model, size, (), 1) is not TORCH
    assert batcher.cache.used_bytes > 2 * empty - 10**6
    batcher.cache.budget_bytes = batcher.cache.used_bytes
    in_use = InUse(backends=[model.backends[small, ()]])
    networks.select(model, tall, (), 1, in_use=in_use)
    networks.wait()
    assert networks.select(model, tall, (), 1) is not TORCH
    assert set(model.backends) == {(small, ()), (tall, ())}, "a backend in use is not evicted"
    assert networks.select(model, wide, (), 1, in_use=InUse(backends=list(model.backends.values()))) is TORCH
    networks.wait()
    assert networks.select(model, wide, (), 1, in_use=InUse(backends=list(model.backends.values()))) is TORCH


SIZES = [Size(64, 64), Size(96, 64), Size(64, 96), Size(96, 96)]


def start_compilations(batcher: Batcher, spec: ModelSpec) -> OpenVinoSelector:
    """Request a backend for every size in `SIZES`."""
    model, networks = batcher.cache.get(spec), batcher.backends
    assert isinstance(networks, OpenVinoSelector)
    for size in SIZES:
        assert networks.select(model, size, (), 1) is TORCH
    return networks


def test_a_started_compilation_reserves_its_memory(
    folder: Path, specs: dict[str, ModelSpec], go: threading.Event
) -> None:
    batcher = batcher_in(folder, convert=convert_after(go))
    model = batcher.cache.get(specs["sd"])
    batcher.cache.budget_bytes = batcher.cache.used_bytes + 2 * CompilationPlan.for_model(model, SIZES[0]).byte_count
    start_compilations(batcher, specs["sd"])
    go.set()
    ready(batcher)
    assert set(model.backends) == {(size, ()) for size in SIZES[:2]}
    assert batcher.cache.reserved_bytes == 0
    assert batcher.cache.used_bytes == batcher.cache.budget_bytes


def test_compilation_does_not_read_the_model_while_it_changes(
    folder: Path, specs: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = batcher_in(folder, convert=forbidden)
    model, networks = batcher.cache.get(specs["sd"]), batcher.backends
    assert isinstance(networks, OpenVinoSelector)
    monkeypatch.setattr(backend, "OpenVinoNetwork", lambda what, path, shapes, dtype: (what, shapes[0], dtype))
    with pytest.MonkeyPatch.context() as painting:

        def remove_networks(*_: object) -> bool:
            """Called at the start of the compilation, on its thread."""
            painting.setattr(model, "vae", None)
            painting.setattr(model, "unet", None)
            return True

        painting.setattr(converted_networks.NetworkStore, "use", remove_networks)
        networks.select(model, SIZES[1], (), 1)
        networks.wait()
        networks.collect()
    (compiled,) = model.backends.values()
    unet, encoder, decoder = compiled.unet, compiled.encoder, compiled.decoder
    assert unet == ("unet", (1, 9, 8, 12), torch.float32)
    assert encoder[1:] == ((1, 3, 64, 96), torch.float32)
    assert decoder[1:] == ((1, 4, 8, 12), torch.float32)


def test_a_compiled_backend_is_dropped_if_its_memory_was_taken_meanwhile(
    folder: Path, specs: dict[str, ModelSpec], go: threading.Event
) -> None:
    batcher = batcher_in(folder, convert=convert_after(go))
    start_compilations(batcher, specs["sd"])
    assert batcher.cache.has_room(specs["plain"]), "a started compilation does not block a model"
    batcher.cache.budget_bytes = batcher.cache.used_bytes
    go.set()
    ready(batcher)
    assert batcher.cache.get(specs["sd"]).backends == {}


def test_nothing_is_evicted_for_a_backend_that_cannot_fit(folder: Path, specs: dict[str, ModelSpec]) -> None:
    batcher = batcher_in(folder)
    cache, networks, plain = batcher.cache, batcher.backends, batcher.cache.get(specs["plain"])
    assert isinstance(networks, OpenVinoSelector)
    plain.backends[SIZES[0], ()] = fake_backend(10)
    model = cache.get(specs["sd"])
    cache.budget_bytes = cache.used_bytes
    assert networks.select(model, SIZES[0], (), 1) is TORCH
    assert len(plain.backends) == 1


def test_an_evicted_backend_is_freed_even_if_it_was_used_last(folder: Path, specs: dict[str, ModelSpec]) -> None:
    batcher, spec = batcher_in(folder), specs["sd"]
    model = batcher.cache.get(spec)
    model.backends[SIZES[0], ()] = fake_backend(10)
    gone = weakref.ref(model.backends[SIZES[0], ()])
    painted(batcher, spec, steps=1)
    wait_until(lambda: batcher.is_idle)
    assert batcher.cache.evict(InUse([model]))
    wait_until(lambda: gone() is None)


def test_idle_compiled_networks_are_evicted_for_a_model(folder: Path, specs: dict[str, ModelSpec]) -> None:
    cache, spec, other = batcher_in(folder).cache, specs["sd"], specs["plain"]
    size = cache.get(other).byte_count
    assert cache.evict()
    model = cache.get(spec)
    found = model.backends[SIZES[0], ()] = fake_backend(size)
    cache.budget_bytes = cache.used_bytes
    assert not cache.has_room(other, InUse(backends=[found]))
    assert cache.has_room(other)
    cache.get(other)
    assert (model.backends, model in cache.models) == ({}, True)


def engine(**options: Any) -> Diffusion:
    return Diffusion(Options(device="cpu", precision="float32", **options))


def test_jobs_computed_by_torch_share_batches_as_without_openvino(folder: Path, specs: dict[str, ModelSpec]) -> None:
    loop, spec = batcher_in(folder), specs["sd"]
    loop.admission.max_rows = 2
    loop.cache.get(spec).backends[Size(64, 64), ()] = fake_backend(1)
    long = request(prompt="a red bus " * 40)
    for _ in range(5):
        loop.workload.add(Job(long, spec))
    loop.admission.admit()
    assert [batch.rows for batch in loop.workload.batches] == [2]
    assert len(loop.workload.waiting) == 4


def test_the_setting_and_the_deterministic_mode_disable_it(folder: Path) -> None:
    assert isinstance(engine(models_dir=folder).batcher.backends, OpenVinoSelector)
    assert type(engine(models_dir=folder, openvino="off").batcher.backends) is BackendSelector
    assert type(engine(models_dir=folder, max_rows=1).batcher.backends) is BackendSelector


def test_a_model_loaded_at_the_start_is_compiled_at_the_start(folder: Path, specs: dict[str, ModelSpec]) -> None:
    batcher = batcher_in(folder)
    batcher.warm(specs["sd"])
    wait_until(lambda: batcher.cache.loaded(specs["sd"]) is not None and batcher.is_idle)
    ready(batcher)
    assert painted(batcher, specs["sd"])[2] == "OpenVINO, float32"


def test_openvino_telemetry_is_disabled() -> None:
    from openvino.tools.ovc import telemetry_utils

    assert sys.modules["openvino_telemetry"] is None
    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")
