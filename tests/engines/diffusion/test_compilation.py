"""Compiled networks: compared with the plain ones beside the steps of others, and not used where they differ.

The backends of these tests generate no code: they compute the captured graphs, right, wrong or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import Control, Kind, LoraSpec, ModelSpec
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion import compilation, engine
from inpainting.engines.diffusion.compilation import THREAD, CompiledNetwork, shape_of, wrap
from inpainting.engines.diffusion.engine import Diffusion, Options
from inpainting.engines.diffusion.hardware import Hardware, Offload
from inpainting.engines.diffusion.kernels import BLOCKS, GRAPHS, OFF
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests import tiny_adapters, tiny_loras, tiny_models
from tests.engines.diffusion.conditioning import adapter_requests
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import STEPS, request, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")

Compute = Callable[..., Any]


class Backend:
    """A backend of torch.compile. changed: of each output; compiling: called for each captured graph."""

    def __init__(
        self,
        changed: Callable[[torch.Tensor], torch.Tensor] = torch.clone,
        compiling: Callable[[], Any] = lambda: None,
    ) -> None:
        self.changed, self.compiling = changed, compiling
        self.calls = 0
        self.threads: set[str] = set()

    def __call__(self, graph: torch.fx.GraphModule, inputs: Sequence[Any], **options: Any) -> Compute:
        self.compiling()

        def compute(*arguments: Any) -> Any:
            self.calls += 1
            self.threads.add(threading.current_thread().name)
            return tuple(map(self.changed, graph.forward(*arguments)))

        return compute


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    yield
    wait_until(lambda: not THREAD.is_busy)
    torch._dynamo.reset()


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return tiny_models.saved(tmp_path / "model")


def batcher(monkeypatch: pytest.MonkeyPatch, backend: Any, kind: str = BLOCKS, device: Hardware = CPU) -> Batcher:
    monkeypatch.setitem(compilation.OPTIONS, kind, {"backend": backend})
    return Batcher(ModelCache(replace(device, compilation=kind), 10**9))


def painted(one: Batcher, spec: ModelSpec, **more: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    images, notes = one.paint(request(), spec, ignore_step, **more)
    return images[0].astype(int), notes


def compared(one: Batcher, spec: ModelSpec) -> CompiledNetwork:
    """The compiled network of a model, after the comparison that ran."""
    network = one.cache.get(spec).step_network
    network.wait()
    return network


@pytest.mark.parametrize("family", tiny_models.BUILDERS)
def test_the_blocks_of_every_family_are_compiled(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, backend = tiny_models.saved(tmp_path / family, family), Backend()
    one = batcher(monkeypatch, backend)
    wanted = request(scheduler=None)
    expected = Batcher(ModelCache(CPU, 10**9)).paint(wanted, spec, ignore_step)[0][0].astype(int)
    first = one.paint(wanted, spec, ignore_step)[0][0].astype(int)
    assert np.abs(first - expected).max() <= 1
    assert compared(one, spec).rejection is None
    before = backend.calls
    second, notes = one.paint(wanted, spec, ignore_step)
    assert backend.calls > before
    assert np.abs(second[0].astype(int) - expected).max() <= 1
    assert backend.threads == {"compiled-networks"}
    assert not notes


@pytest.mark.parametrize("kind", [BLOCKS, GRAPHS])
def test_each_shape_is_compiled_and_compared_once_by_torchs_own_code(
    spec: ModelSpec, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = batcher(monkeypatch, "aot_eager", kind)
    expected, _ = painted(Batcher(ModelCache(CPU, 10**9)), spec)
    comparisons: list[Any] = []
    relative_error = compilation.relative_error

    def noted(found: Any, expected: Any) -> float | None:
        comparisons.append(relative_error(found, expected))
        return comparisons[-1]

    monkeypatch.setattr(compilation, "relative_error", noted)
    painted(one, spec)
    compared(one, spec)
    for _ in range(2):
        image, notes = painted(one, spec)
        assert np.abs(image - expected).max() <= 1
        assert not notes
    assert len(comparisons) == 1
    assert comparisons[0] < 1e-4


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda output: output * 1.5, "computed something else (0."),
        (lambda output: output * torch.nan, "computed something else (nan)"),
    ],
    ids=["half as much again", "nan"],
)
def test_a_network_that_computes_something_else_is_not_used(
    spec: ModelSpec, changed: Any, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend(changed)
    one = batcher(monkeypatch, backend)
    expected, _ = painted(Batcher(ModelCache(CPU, 10**9)), spec)
    painted(one, spec)
    compared(one, spec)
    before = backend.calls
    image, notes = painted(one, spec)
    assert backend.calls == before
    assert np.array_equal(image, expected)
    assert [reason in note for note in notes] == [True]
    assert reason in caplog.text
    model = one.cache.get(spec)
    model.use_bfloat16()
    assert model.compilation_notes == notes


def test_a_network_that_cannot_be_compiled_is_computed_without(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise NotImplementedError("this operation")

    one = batcher(monkeypatch, Backend(compiling=fail))
    expected, _ = painted(Batcher(ModelCache(CPU, 10**9)), spec)
    painted(one, spec)
    compared(one, spec)
    image, notes = painted(one, spec)
    assert np.array_equal(image, expected)
    assert len(notes) == 1
    assert notes[0].startswith("The network could not be compiled (")
    assert "this operation" in caplog.text


def test_a_network_that_fails_in_a_step_is_computed_without(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    is_broken = threading.Event()

    def changed(output: torch.Tensor) -> torch.Tensor:
        if is_broken.is_set():
            raise RuntimeError("broken")
        return output.clone()

    one = batcher(monkeypatch, Backend(changed))
    expected, _ = painted(one, spec)
    compared(one, spec)
    is_broken.set()
    image, notes = painted(one, spec)
    assert np.abs(image - expected).max() <= 1
    assert notes == ("The compiled network failed (RuntimeError); it was computed without.",)


def test_a_step_never_compiles(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch would, for a difference that `shape_of` does not know."""
    backend = Backend()
    one = batcher(monkeypatch, backend)
    monkeypatch.setattr(compilation, "shape_of", lambda inputs: "one for all")
    painted(one, spec)
    compared(one, spec)
    backend.compiling = lambda: pytest.fail("compiled in a step")
    expected = Batcher(ModelCache(CPU, 10**9)).paint(request(num_images=2), spec, ignore_step)[0]
    images, notes = one.paint(request(num_images=2), spec, ignore_step)
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(images, expected, strict=True))
    assert ["The compiled network failed" in note for note in notes] == [True]


def test_others_paint_while_a_network_is_compiled(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(60)

    one = batcher(monkeypatch, Backend(compiling=hold))
    steps: list[Any] = []
    try:
        one.paint(request(), spec, steps.append)
        assert begun.wait(60)
        one.paint(request(num_images=2), spec, steps.append)
        assert THREAD.is_busy
    finally:
        go.set()
    assert max(step.done for step in steps) == 2 * STEPS


def test_a_model_that_is_loaded_early_is_compiled_early(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    one = batcher(monkeypatch, backend)
    one.warm(spec)
    wait_until(lambda: one.arrival_count == 0 and one.is_idle)
    assert compared(one, spec).rejection is None
    assert backend.calls > 0


def test_steps_with_loras_are_computed_without(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", compilation.__name__)
    backend = Backend()
    one, plain = batcher(monkeypatch, backend), Batcher(ModelCache(CPU, 10**9))
    weights = tiny_loras.weights(plain.cache.get(spec).pipeline)
    path = tiny_loras.saved(tmp_path / "ink.safetensors", weights)
    ink = LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)
    wanted = request(loras=(LoraUse("ink"),))
    painted(one, spec)
    compared(one, spec)
    before = backend.calls
    image = one.paint(wanted, spec, ignore_step, [ink])[0][0]
    assert backend.calls == before
    assert np.array_equal(image, plain.paint(wanted, spec, ignore_step, [ink])[0][0])
    assert caplog.text.count("without compiled parts with LoRAs") == 1
    painted(one, spec)
    assert backend.calls > before


def test_an_offloaded_model_is_computed_without(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", compilation.__name__)
    monkeypatch.setattr(Hardware, "offload", lambda self, pipeline, offload: None)
    model = batcher(monkeypatch, Backend()).cache.get(spec)
    assert isinstance(model.step_network, CompiledNetwork)
    model.offload_to(Offload.COMPONENTS)
    assert model.step_network is model.unet
    assert "without compiled parts while its weights wait" in caplog.text
    model.leave_device()
    model.enter_device(Offload.NONE)
    assert isinstance(model.step_network, CompiledNetwork)


def test_the_compiled_network_follows_another_precision(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    one = batcher(monkeypatch, backend)
    model = one.cache.get(spec)
    painted(one, spec)
    compared(one, spec)
    model.use_bfloat16()
    painted(one, spec)
    assert compared(one, spec).rejection is None
    before = backend.calls
    painted(one, spec)
    assert backend.calls > before


def test_the_weights_are_not_copied(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model = batcher(monkeypatch, Backend()).cache.get(spec)
    twin = model.step_network._twin
    own = {tensor.data_ptr() for tensor in model.unet.parameters()}
    assert {tensor.data_ptr() for tensor in twin.parameters()} == own
    assert not {id(module) for module in twin.modules()} & {id(module) for module in model.unet.modules()}


def test_no_more_shapes_are_compiled_than_allowed(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "MAX_SHAPES", 1)
    graphs: list[int] = []
    one = batcher(monkeypatch, Backend(compiling=lambda: graphs.append(1)))
    painted(one, spec)
    compared(one, spec)
    count = len(graphs)
    one.paint(request(num_images=2), spec, ignore_step)
    compared(one, spec)
    assert len(graphs) == count > 0


def test_inputs_that_compiled_code_tells_apart_differ_in_shape() -> None:
    rows = torch.zeros(2, 4, 8, 8)
    alike = [rows, torch.ones(2, 4, 8, 8)]
    others = [rows[:1], rows.half(), rows.transpose(2, 3), [rows], None, rows.to(memory_format=torch.channels_last)]
    assert len({shape_of({"sample": one}) for one in alike}) == 1
    assert len({shape_of({"sample": one}) for one in (rows, *others)}) == 1 + len(others)
    assert shape_of({"text": rows}) != shape_of({"sample": rows})


def test_graphs_are_those_of_torch_compile_for_the_whole_network(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: given.append(options))
    wrap(torch.nn.Linear(1, 1), GRAPHS)
    assert given == [{"mode": "reduce-overhead", "fullgraph": True, "dynamic": False}]


def test_nothing_is_compiled_by_default_or_in_the_deterministic_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    def compilation_of(**options: Any) -> str:
        return Diffusion(Options(device="cpu", **options)).batcher.cache.hardware.compilation

    assert compilation_of() == ""
    assert compilation_of(compilation=GRAPHS) == GRAPHS
    assert compilation_of(compilation=GRAPHS, max_rows=1) == ""


def test_the_compiler_is_imported_before_the_imports_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(compilation, "import_compiler", lambda: done.append("compiler"))
    monkeypatch.setattr(engine, "freeze_imports", lambda of: done.append(of))
    for word, expected in ((OFF, ["diffusers"]), (BLOCKS, ["compiler", "diffusers"])):
        done.clear()
        assert Diffusion(Options(device="cpu", compilation=word)).batcher.is_idle
        assert done == expected


@pytest.mark.parametrize(("kind", "is_compiled"), [(Kind.CONTROLNET, True), (Kind.IP_ADAPTER, False)])
def test_controlnets_are_inputs_of_the_compiled_network_and_image_prompts_layers_of_the_plain_one(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, kind: Kind, is_compiled: bool
) -> None:
    backend = Backend()
    one, plain = batcher(monkeypatch, backend), Batcher(ModelCache(CPU, 10**9))
    if kind is Kind.CONTROLNET:
        part = tiny_adapters.saved_controlnet(tmp_path / "edges", "sd", Control.CANNY)
        wanted = adapter_requests.request(control="edges")
    else:
        part = tiny_adapters.saved_adapter(tmp_path / "look", "sd", tiny_adapters.adapter(plain.cache.get(spec).unet))
        wanted = adapter_requests.request()
    expected = adapter_requests.painted(plain, wanted, spec, [part]).astype(int)
    adapter_requests.painted(one, wanted, spec, [part])
    compared(one, spec)
    before = backend.calls
    image = adapter_requests.painted(one, wanted, spec, [part])
    assert np.abs(image - expected).max() <= 1
    assert (backend.calls > before) == is_compiled
