"""Compiled networks compute what the plain ones do, and where they cannot be compiled the plain ones compute.

The backends of these tests generate no code: they compute the captured graphs, or fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ModelMixin
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind, Kind, LoraSpec, ModelSpec
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion import engine
from inpainting.engines.diffusion.engine import Diffusion, Options
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device import compilation
from inpainting.networks.device.compilation import CompiledNetwork
from inpainting.networks.device.hardware import Hardware, Offload
from inpainting.networks.device.quantization import OFF
from tests.engines.diffusion.conditioning import adapter_requests
from tests.engines.diffusion.pipelines import CPU, ignore_step
from tests.engines.diffusion.serving.batches import request, wait_until
from tests.support import tiny_adapters, tiny_loras, tiny_models
from tests.support.matrix import first_alone

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")

Compute = Callable[..., Any]


class Backend:
    """A backend of torch.compile. compiling: called for each captured graph. changed: of each output."""

    def __init__(
        self,
        compiling: Callable[[], Any] = lambda: None,
        changed: Callable[[torch.Tensor], torch.Tensor] = torch.clone,
    ) -> None:
        self.compiling, self.changed = compiling, changed
        self.calls = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Sequence[Any], **options: Any) -> Compute:
        self.compiling()

        def compute(*arguments: Any) -> Any:
            self.calls += 1
            return tuple(map(self.changed, graph.forward(*arguments)))

        return compute


def fail(*_: Any) -> Any:
    raise NotImplementedError("this operation")


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return tiny_models.saved(tmp_path / "model")


def batcher(monkeypatch: pytest.MonkeyPatch, backend: Any) -> Batcher:
    monkeypatch.setitem(compilation.OPTIONS, "backend", backend)
    return Batcher(ModelCache(replace(CPU, compilation="blocks"), 10**9))


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


def test_a_model_that_is_loaded_early_is_compiled_early(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    batcher_ = batcher(monkeypatch, backend)
    batcher_.warm(spec)
    wait_until(lambda: batcher_.arrival_count == 0 and batcher_.is_idle)
    assert backend.calls > 0


def test_steps_with_loras_are_computed_without(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend()
    one, plain = batcher(monkeypatch, backend), plain_batcher()
    weights = tiny_loras.weights(plain.cache.get(spec).pipeline)
    path = tiny_loras.saved(tmp_path / "ink.safetensors", weights)
    ink = LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)
    wanted = request(loras=(LoraUse("ink"),))
    painted(one, spec)
    before = backend.calls
    image = one.paint(wanted, spec, ignore_step, [ink])[0][0]
    assert backend.calls == before
    assert np.array_equal(image, plain.paint(wanted, spec, ignore_step, [ink])[0][0])
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


def test_nothing_is_compiled_by_default() -> None:
    assert Diffusion(Options(device="cpu")).batcher.cache.hardware.compilation == ""
    assert Diffusion(Options(device="cpu", compilation="blocks")).batcher.cache.hardware.compilation == "blocks"


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
