"""Compiled networks compute what the plain ones do, and where they cannot be compiled the plain ones compute.

The backends of these tests generate no code: they compute the captured graphs, or fail.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ModelMixin, UNet2DConditionModel
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind, Kind, LoraSpec, ModelSpec
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion import engine
from inpainting.engines.diffusion.engine import Diffusion, Options
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_watchdog import MIN_STEP_SECONDS
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device import compilation
from inpainting.networks.device.compilation import AUTO, BLOCKS, TRANSFORMERS, CompiledNetwork, compilation_for
from inpainting.networks.device.hardware import Hardware, Offload
from inpainting.networks.device.quantization import OFF
from tests.engines.diffusion.compiling import Backend, stepped
from tests.engines.diffusion.conditioning import adapter_requests
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import request, wait_until
from tests.support import tiny_adapters, tiny_loras, tiny_models
from tests.support.matrix import first_alone

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")


def fail(*_: Any) -> Any:
    raise NotImplementedError("this operation")


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return tiny_models.saved(tmp_path / "model")


def batcher(monkeypatch: pytest.MonkeyPatch, backend: Any, **more: Any) -> Batcher:
    monkeypatch.setitem(compilation.OPTIONS, "backend", backend)
    return Batcher(ModelCache(replace(CPU, compilation="blocks"), 10**9), **more)


def plain_batcher() -> Batcher:
    return Batcher(ModelCache(CPU, 10**9))


def painted(batcher_: Batcher, spec: ModelSpec, **more: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    images, notes = batcher_.paint(request(), spec, ignore_step, **more)
    return images[0].astype(int), notes


@pytest.mark.parametrize("family", first_alone(*tiny_models.BUILDERS))
def test_the_blocks_of_every_family_are_compiled(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, backend = tiny_models.saved(tmp_path / family, family), Backend()
    wanted = request(scheduler=None)
    expected = plain_batcher().paint(wanted, spec, ignore_step)[0][0].astype(int)
    images, notes = batcher(monkeypatch, backend).paint(wanted, spec, ignore_step)
    assert backend.calls > 0
    assert np.abs(images[0].astype(int) - expected).max() <= 1
    assert not notes


SERIES = [(64, 64, 1), (96, 64, 3), (64, 96, 2), (96, 96, 1)]
"""Width, height and number of images that share a step."""
MANY_FAMILIES = [
    family if family in ("sd", "z-image") else pytest.param(family, marks=pytest.mark.full)
    for family in tiny_models.BUILDERS
]


@pytest.mark.parametrize("family", MANY_FAMILIES)
def test_other_sizes_rows_and_prompts_are_not_compiled_again(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, backend = tiny_models.saved(tmp_path / family, family), Backend()
    monkeypatch.setitem(compilation.OPTIONS, "backend", backend)
    plain, model = load(spec, CPU), load(spec, replace(CPU, compilation="blocks"))
    graphs = []
    for series in SERIES:
        expected = stepped(plain, *series)
        assert (stepped(model, *series) - expected).norm() <= 1e-5 * expected.norm()
        graphs.append(backend.graphs)
    assert graphs[0] > 0
    assert graphs[1] <= 3 * graphs[0]  # the first of one row, and of several with a mask and without
    assert graphs[1:] == graphs[1:2] * (len(SERIES) - 1)
    model.leave_device()
    model.enter_device(Offload.NONE)
    stepped(model, *SERIES[0])
    assert backend.graphs == graphs[-1], "a model that comes back is not compiled again"


def test_blocks_of_several_widths_are_compiled_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the UNets of Stable Diffusion 1.5 and SDXL, also if at first there are as many pixels as tokens of text."""
    backend = Backend()
    monkeypatch.setitem(compilation.OPTIONS, "backend", backend)
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        layers_per_block=1,
        cross_attention_dim=8,
        norm_num_groups=8,
    )
    network = CompiledNetwork(unet, "wide")
    for rows, width, words in ((2, 8, 64), (4, 8, 77), (8, 16, 154)):
        with torch.inference_mode():
            network(torch.ones(rows, 4, 8, width), torch.ones(rows), torch.ones(rows, words, 8))
        assert backend.graphs == 2
    assert network.rejection is None


@pytest.mark.parametrize("backend", [Backend(compiling=fail), Backend(changed=fail)], ids=["compiling", "computing"])
def test_a_network_that_fails_is_computed_without(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, backend: Backend
) -> None:
    batcher_ = batcher(monkeypatch, backend)
    expected, _ = painted(plain_batcher(), spec)
    for _ in range(2):
        image, notes = painted(batcher_, spec)
        assert np.array_equal(image, expected)
        assert len(notes) == 1
        assert notes[0].startswith("The network could not be compiled (")
    assert caplog.text.count("is computed without compiled blocks") == 1
    assert "this operation" in caplog.text


def test_a_network_without_repeated_blocks_is_computed_without(spec: ModelSpec) -> None:
    plain = torch.nn.Linear(2, 2)
    plain.compile_repeated_blocks = partial(ModelMixin.compile_repeated_blocks, plain)
    plain._repeated_blocks = None  # as classes of diffusers that name none
    network = CompiledNetwork(plain, "plain")
    inputs = torch.ones(1, 2)
    assert torch.equal(network(inputs), plain(inputs))
    assert network.rejection is not None


@pytest.mark.parametrize(
    "family", ["sd", *(pytest.param(family, marks=pytest.mark.full) for family in ("flux-fill", "z-image"))]
)
def test_a_model_that_is_loaded_early_is_compiled_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    spec, limits = tiny_models.saved(tmp_path / family, family), []
    backend = Backend(compiling=lambda: limits.append(torch._dynamo.config.recompile_limit))
    batcher_ = batcher(monkeypatch, backend)
    batcher_.warm(spec)
    wait_until(lambda: batcher_.arrival_count == 0 and batcher_.is_idle)
    assert not batcher_.early_failures
    compiled = backend.graphs
    assert limits == [compilation.RECOMPILE_LIMIT] * compiled
    assert compiled > 0
    model = batcher_.cache.get(spec)
    for images in (1, 2):
        stepped(model, 64, 96, images)
    assert backend.graphs == compiled


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_step_that_compiles_is_not_taken_for_one_that_hangs(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, is_compiled: bool
) -> None:
    one = batcher(monkeypatch, Backend()) if is_compiled else plain_batcher()
    painted(one, spec)
    left: list[float] = []

    def measure(*_: Any) -> None:
        left.append((one.watchdog._deadline or 0.0) - time.monotonic())

    network = one.cache.get(spec).step_network
    (network._compiled if is_compiled else network).time_embedding.register_forward_pre_hook(measure)
    painted(one, spec)
    assert left
    assert (min(left) > MIN_STEP_SECONDS) == is_compiled


def ink(tmp_path: Path, plain: Batcher, spec: ModelSpec) -> LoraSpec:
    weights = tiny_loras.weights(plain.cache.get(spec).pipeline)
    path = tiny_loras.saved(tmp_path / "ink.safetensors", weights)
    return LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)


WITH_INK = request(loras=(LoraUse("ink"),))


def test_fused_loras_are_computed_by_the_blocks_that_are_compiled_already(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend()
    one, plain = batcher(monkeypatch, backend), plain_batcher()
    lora = ink(tmp_path, plain, spec)
    before, _ = painted(one, spec)
    calls, graphs = backend.calls, backend.graphs
    image = one.paint(WITH_INK, spec, ignore_step, [lora])[0][0].astype(int)
    assert one.cache.get(spec).loras.fused
    assert backend.calls == 2 * calls
    assert backend.graphs == graphs
    assert np.abs(image - plain.paint(WITH_INK, spec, ignore_step, [lora])[0][0]).max() <= 1
    assert np.abs(image - before).max() > 5
    assert np.array_equal(painted(one, spec)[0], before)


def test_loras_that_are_hooks_are_computed_without(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend()
    one, plain = batcher(monkeypatch, backend, max_rows=1), Batcher(ModelCache(CPU, 10**9), max_rows=1)
    lora = ink(tmp_path, plain, spec)
    painted(one, spec)
    before = backend.calls
    image = one.paint(WITH_INK, spec, ignore_step, [lora])[0][0]
    assert backend.calls == before
    assert np.array_equal(image, plain.paint(WITH_INK, spec, ignore_step, [lora])[0][0])
    painted(one, spec)
    assert backend.calls > before


def test_an_offloaded_model_is_computed_without(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hardware, "offload", lambda self, pipeline, offload: None)
    model = batcher(monkeypatch, Backend()).cache.get(spec)
    assert isinstance(model.step_network, CompiledNetwork)
    model.offload_to(Offload.COMPONENTS)
    assert model.step_network is model.unet
    model.use_bfloat16()
    assert model.step_network is model.unet, "its weights still wait in the machine's memory"
    model.leave_device()
    model.enter_device(Offload.NONE)
    assert isinstance(model.step_network, CompiledNetwork)


def test_the_compiled_network_follows_another_precision(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    batcher_ = batcher(monkeypatch, backend)
    painted(batcher_, spec)
    model = batcher_.cache.get(spec)
    model.use_bfloat16()
    before = backend.calls
    painted(batcher_, spec)
    assert backend.calls > before
    assert model.step_network.rejection is None


def test_the_weights_are_not_copied(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model = batcher(monkeypatch, Backend()).cache.get(spec)
    compiled = model.step_network._compiled
    assert {id(tensor) for tensor in compiled.parameters()} == {id(tensor) for tensor in model.unet.parameters()}


def test_nothing_is_compiled_on_a_cpu_unless_it_is_asked_for() -> None:
    for word, expected in ((OFF, ""), (AUTO, ""), (BLOCKS, BLOCKS)):
        assert Diffusion(Options(device="cpu", compilation=word)).batcher.cache.hardware.compilation == expected


@pytest.mark.parametrize(
    ("compiler", "capability", "expected"),
    [("/usr/bin/gcc", (9, 0), TRANSFORMERS), (None, (9, 0), ""), ("/usr/bin/gcc", (6, 1), "")],
)
def test_transformers_are_compiled_by_default_on_a_gpu_for_which_code_can_be_generated(
    monkeypatch: pytest.MonkeyPatch, compiler: str | None, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("shutil.which", lambda _: compiler)
    monkeypatch.setattr(compilation, "find_spec", lambda _: object())
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert compilation_for(AUTO, torch.device("cuda")) == expected


@pytest.mark.parametrize(("family", "is_compiled"), [("sd", False), ("flux-fill", True)])
def test_by_default_transformers_are_compiled_and_unets_are_not(
    tmp_path: Path, family: str, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compilation.OPTIONS, "backend", Backend())
    model = load(tiny_models.saved(tmp_path / family, family), replace(CPU, compilation=TRANSFORMERS))
    assert model.is_compiled is is_compiled
    assert isinstance(model.step_network, CompiledNetwork) is is_compiled


def test_images_that_must_be_the_same_are_not_compiled_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "compilation_for", lambda *_: TRANSFORMERS)
    for rows, expected in ((1, ""), (None, TRANSFORMERS)):
        options = Options(device="cpu", compilation=AUTO, max_rows=rows)
        assert Diffusion(options).batcher.cache.hardware.compilation == expected


def test_the_compiler_is_imported_before_the_imports_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(compilation, "import_compiler", lambda: done.append("compiler"))
    monkeypatch.setattr(engine, "freeze_imports", lambda package: done.append(package))
    for word, expected in ((OFF, ["diffusers"]), ("blocks", ["compiler", "diffusers"])):
        done.clear()
        assert Diffusion(Options(device="cpu", compilation=word)).batcher.is_idle
        assert done == expected


@pytest.mark.parametrize(("kind", "is_compiled"), [(Kind.CONTROLNET, True), (Kind.IP_ADAPTER, False)])
def test_controlnets_are_inputs_of_the_compiled_network_and_image_prompts_layers_of_the_plain_one(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, kind: Kind, is_compiled: bool
) -> None:
    backend = Backend()
    one, plain = batcher(monkeypatch, backend), plain_batcher()
    if kind is Kind.CONTROLNET:
        part = tiny_adapters.saved_controlnet(tmp_path / "edges", "sd", ControlImageKind.CANNY)
        wanted = adapter_requests.request(control="edges")
    else:
        part = tiny_adapters.saved_adapter(tmp_path / "look", "sd", tiny_adapters.adapter(plain.cache.get(spec).unet))
        wanted = adapter_requests.request()
    expected = adapter_requests.painted(plain, wanted, spec, [part]).astype(int)
    adapter_requests.painted(one, wanted, spec, [part])
    before = backend.calls
    image = adapter_requests.painted(one, wanted, spec, [part])
    assert np.abs(image - expected).max() <= 1
    assert (backend.calls > before) == is_compiled
