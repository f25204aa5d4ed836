"""Quantised networks give nearly the same image from fewer bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import BitsAndBytesConfig

from inpainting.catalog.specs import LoraSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.loading import model_loading
from inpainting.engines.diffusion.serving.loading.model_loading import load, weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.networks.device import compilation, quantization
from inpainting.networks.device.hardware import Hardware, Offload
from inpainting.networks.device.quantization import BITSANDBYTES, NETWORKS, QUANTIZATIONS, TORCHAO, dequantize
from tests.engines.diffusion.checkpoints import copy_configuration, spec_of
from tests.engines.diffusion.compiling import Backend, stepped
from tests.engines.diffusion.pipelines import CPU, denoised, ignore_step, request
from tests.engines.diffusion.serving.devices import give_the_cpu_one_name
from tests.support import original_layout, tiny_delta_loras, tiny_loras, tiny_models

installed = pytest.mark.parametrize(
    "word",
    [
        pytest.param(
            word, marks=pytest.mark.skipif(not quantization.is_installed(kind.library), reason="needs its library")
        )
        for word, kind in QUANTIZATIONS.items()
    ],
)
with_torchao = pytest.mark.skipif(not quantization.is_installed(TORCHAO), reason="needs torchao")
with_bitsandbytes = pytest.mark.skipif(not quantization.is_installed(BITSANDBYTES), reason="needs bitsandbytes")


ON_GPUS = "float8-dynamic"
"""It needs bfloat16, and a GPU."""


def hardware(word: str, **more: Any) -> Hardware:
    dtype = torch.bfloat16 if word == ON_GPUS else torch.float32
    return Hardware(torch.device("cpu"), dtype, word, **more)


@pytest.fixture(autouse=True)
def _cpu_for_a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchao takes the CPU, which computes the same products, for a GPU."""
    if quantization.is_installed(TORCHAO) and "refused" not in request.node.name:
        monkeypatch.setattr("torchao.quantization.quant_api._check_hardware_support", lambda _: None)


@installed
@pytest.mark.parametrize("family", ["sd", "flux-fill", "file"])
def test_a_quantised_network_takes_fewer_bytes_for_nearly_the_same_image(
    tmp_path: Path, family: str, word: str
) -> None:
    spec = tiny_models.saved(tmp_path / "model", "sd" if family == "file" else family)
    if family == "file":
        path = original_layout.saved(tiny_models.sd(tmp_path), tmp_path / "one" / "mine.safetensors")
        copy_configuration(tmp_path / "model", "sd", path)
        spec = spec_of(path, "sd")
    scheduler = "FlowMatchEulerDiscreteScheduler" if family == "flux-fill" else "DDIMScheduler"
    requested = request(scheduler=scheduler, strength=1.0, negative_prompt="")
    whole, small = (Batcher(ModelCache(device, 10**9)) for device in (CPU, hardware(word)))
    expected = whole.paint(requested, spec, ignore_step)[0][0].astype(int)
    difference = np.abs(small.paint(requested, spec, ignore_step)[0][0] - expected)
    assert 0 < difference.mean() < 3
    bytes_of = [image.cache.get(spec).byte_count for image in (whole, small)]
    assert bytes_of[1] < bytes_of[0]
    predicted = weights_bytes(spec, hardware(word).dtype, word)
    assert abs(predicted - bytes_of[1]) < 0.1 * bytes_of[1]


@installed
@pytest.mark.filterwarnings("ignore:TorchaoLoraLinear")
@pytest.mark.parametrize("kind", ["hooks", "layers of peft"])
def test_a_lora_changes_a_quantised_network(tmp_path: Path, word: str, kind: str) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    save, weight = (tiny_loras.saved, 1.0) if kind == "hooks" else (tiny_loras.saved_by_peft, 4 / 32)
    path = save(tmp_path / "ink.safetensors", tiny_loras.weights(load(spec, CPU).pipeline, parts=["unet"]))
    lora = LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)
    whole, small, without = (
        Batcher(ModelCache(device, 10**9))
        .paint(request(loras=(LoraUse("ink", share * weight),), strength=1.0), spec, ignore_step, [lora])[0][0]
        .astype(int)
        for device, share in ((CPU, 1), (hardware(word), 1), (CPU, 0))
    )
    assert np.abs(whole - small).mean() < 0.5 * np.abs(whole - without).mean()


@installed
def test_a_dora_reads_the_weights_of_a_quantised_network(tmp_path: Path, word: str) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    tensors = tiny_delta_loras.tensors(tiny_delta_loras.injected(load(spec, CPU).pipeline.unet, "dora"))
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tensors)
    lora = LoraSpec(slug="ink", label="Ink", family="sd", digest="ink", path=path)
    whole, small = (
        Batcher(ModelCache(device, 10**9)).paint(
            request(loras=(LoraUse("ink"),), strength=1.0), spec, ignore_step, [lora]
        )[0][0]
        for device in (CPU, hardware(word))
    )
    assert np.abs(whole.astype(int) - small).mean() < 3


@with_torchao
def test_a_token_of_zeros_is_quantised_to_zeros() -> None:
    """As the empty prompts of SDXL and the padding of Z-Image are."""
    from torchao.quantization.quantize_.common import quantize_tensor_kwargs

    network = torch.nn.Sequential(torch.nn.Linear(32, 32)).bfloat16()
    quantization.quantize(network, ON_GPUS, torch.device("cpu"))
    given = torch.ones(2, 32, dtype=torch.bfloat16)
    given[1] = 0
    how = network[0].weight.act_quant_kwargs
    quantized = quantize_tensor_kwargs._choose_quant_func_and_quantize_tensor(given, how)
    assert torch.equal(quantized.dequantize(), given)


@with_torchao
@pytest.mark.parametrize("kind", [word for word, kind in QUANTIZATIONS.items() if kind.library == TORCHAO])
def test_a_row_of_zeros_is_quantised_to_zeros(kind: str) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(32, 32)).bfloat16()
    with torch.no_grad():
        network[0].weight[3] = 0
    quantization.quantize(network, kind, torch.device("cpu"))
    weight = dequantize(network[0].weight)
    assert torch.equal(weight[3], torch.zeros_like(weight[3]))
    assert weight.isfinite().all()


@with_bitsandbytes
@pytest.mark.parametrize("family", ["sd", "flux-fill"])
def test_nf4_equals_the_network_that_diffusers_quantises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer

    # diffusers asks for a GPU, which bitsandbytes itself does not need.
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda *_, **__: None)
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "update_device_map", lambda *_: {"": "cpu"})
    spec: Any = tiny_models.saved(tmp_path / "model", family)
    model: Any = load(spec, hardware("nf4"))
    (name,) = (name for name in NETWORKS if hasattr(model.pipeline, name))
    network = getattr(model.pipeline, name)
    reference = type(network).from_pretrained(
        spec.path / name,
        torch_dtype=torch.float32,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
        ),
    )
    layers, expected_layers = dict(network.named_modules()), dict(reference.named_modules())
    assert {place: type(layer) for place, layer in layers.items()} == {
        place: type(layer) for place, layer in expected_layers.items()
    }
    weights, expected = dict(network.named_parameters()), dict(reference.named_parameters())
    assert weights.keys() == expected.keys()
    for place, weight in weights.items():
        assert torch.equal(weight, expected[place]), place
        assert torch.equal(dequantize(weight), dequantize(expected[place])), place


@with_bitsandbytes
def test_nf4_takes_the_bytes_that_were_predicted() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(128, 64))
    quantization.quantize(network, "nf4", torch.device("cpu"))
    shapes = {"0.weight": [64, 128], "0.bias": [64]}
    header = {name: {"shape": shape, "dtype": "F32"} for name, shape in shapes.items()}
    stored = sum(quantization.stored_bytes(tensor) for tensor in network.parameters())
    assert stored == quantization.predicted_bytes(header, 4, "nf4") == 64 * 128 * 4.5 / 8 + 64 * 4


@with_bitsandbytes
@pytest.mark.parametrize("offload", [Offload.COMPONENTS, Offload.LAYERS])
def test_a_network_in_nf4_paints_the_same_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offload: Offload
) -> None:
    give_the_cpu_one_name(monkeypatch)
    spec = tiny_models.saved(tmp_path / "model")
    model: Any = load(spec, hardware("nf4"), offload)
    whole: Any = load(spec, hardware("nf4"))
    assert torch.equal(denoised(model, request()), denoised(whole, request()))
    assert not any(tensor.is_meta for tensor in model.pipeline.unet.parameters())
    model.leave_device()
    model.enter_device(Offload.NONE)
    assert torch.equal(denoised(model, request()), denoised(whole, request()))


@with_bitsandbytes
def test_a_bitsandbytes_that_does_not_support_the_device_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_models.saved(tmp_path / "model")
    monkeypatch.delattr("bitsandbytes.supported_torch_devices")
    with pytest.raises(EngineFailed, match="does not support the device cpu") as failed:
        load(spec, hardware("nf4"))
    assert failed.value.code == "model_unavailable"


@with_torchao
def test_products_of_8_bits_are_refused_where_the_device_has_none(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="compute capability") as failed:
        load(tiny_models.saved(tmp_path / "model"), hardware(ON_GPUS))
    assert failed.value.code == "model_unavailable"


@with_torchao
def test_the_layers_multiply_numbers_of_8_bits() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(64, 64)).to(torch.bfloat16)
    quantization.quantize(network, ON_GPUS, torch.device("cpu"))
    with torch.inference_mode(), torch.profiler.profile() as profiler:
        network(torch.ones(2, 64, dtype=torch.bfloat16))
    assert "aten::_scaled_mm" in {event.key for event in profiler.key_averages()}


@with_torchao
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
def test_quantised_blocks_are_compiled_for_all_sizes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend()
    monkeypatch.setitem(compilation.OPTIONS, "backend", backend)
    spec = tiny_models.saved(tmp_path / "model", "flux-fill")
    plain, fast = load(spec, hardware(ON_GPUS)), load(spec, hardware(ON_GPUS, compilation="blocks"))
    for width in (64, 96, 128):
        expected = stepped(plain, width, 64, 2)
        assert (stepped(fast, width, 64, 2) - expected).norm() <= 1e-2 * expected.norm()
    assert backend.graphs == 2
    assert not fast.compilation_notes
    torch._dynamo.reset()


def test_an_error_of_the_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("No kernel for this device.")

    monkeypatch.setattr(model_loading, "quantize", fail)
    with pytest.raises(EngineFailed, match=r"cannot be loaded: No kernel for this device\.") as failed:
        load(tiny_models.saved(tmp_path / "model"), hardware("nf4"))
    assert failed.value.code == "model_unavailable"


@pytest.mark.parametrize("word", QUANTIZATIONS)
def test_without_the_library_the_error_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(quantization, "is_installed", lambda library: False)
    with pytest.raises(EngineFailed, match=f"pip install {QUANTIZATIONS[word].library}") as failed:
        load(tiny_models.saved(tmp_path / "model"), hardware(word))
    assert failed.value.code == "model_unavailable"
