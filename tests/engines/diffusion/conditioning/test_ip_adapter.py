"""IP-Adapters: results equal diffusers', each sample has its own, and the model is unchanged afterwards."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inpainting.catalog.specs import ControlImageKind, LoraSpec, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import LoraUse
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.jobs import InFlightSample, WaitingSample
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from tests.engines.diffusion.conditioning.adapter_requests import (
    SENT,
    batcher,
    close,
    denoised_latents,
    differ,
    diffusers_result,
    painted,
    request,
)
from tests.engines.diffusion.pipelines import CPU, FAMILIES, KINDS
from tests.support import tiny_adapters, tiny_loras, tiny_models
from tests.support.matrix import each_value_once, first_alone


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[tuple[str, bool], ModelSpec]:
    return {
        (family, inpainting): tiny_models.saved(
            folder / f"{family}-{inpainting}".lower(), family, inpainting=inpainting
        )
        for family, inpainting in KINDS
    }


@pytest.fixture(scope="module")
def adapters(folder: Path, models: dict[tuple[str, bool], ModelSpec]) -> dict[tuple[str, str], ModelSpec]:
    found = {}
    for family in FAMILIES:
        unet = load(models[family, True], CPU).unet
        for seed, kind in enumerate(("plain", "plus", "full")):
            tensors = tiny_adapters.adapter(unet, kind=kind, seed=seed)
            found[family, kind] = tiny_adapters.saved_adapter(folder / f"{family}-{kind}", family, tensors, seed=seed)
    return found


@pytest.fixture(scope="module")
def lora(folder: Path, models: dict[tuple[str, bool], ModelSpec]) -> dict[str, LoraSpec]:
    found = {}
    for family in FAMILIES:
        tensors = tiny_loras.weights(load(models[family, True], CPU).pipeline)
        path = tiny_loras.saved(folder / f"{family}-lora.safetensors", tensors)
        found[family] = LoraSpec(slug=f"{family}-lora", label="LoRA", family=family, digest="d", path=path)
    return found


@pytest.mark.parametrize(
    ("family", "inpainting", "changes", "kind"),
    each_value_once(KINDS, [{}, {"ip_adapter_scale": 0.4}, {"guidance_scale": 1.0}], ["plain", "plus", "full"]),
)
def test_an_ip_adapter_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], ModelSpec],
    adapters: dict[tuple[str, str], ModelSpec],
    family: str,
    inpainting: bool,
    kind: str,
    changes: dict[str, Any],
) -> None:
    spec, part = models[family, inpainting], adapters[family, kind]
    requested = request(ip_adapter=part.slug, **changes)
    (latents,) = denoised_latents(spec, [requested], [part])
    close(latents, diffusers_result(spec, requested, [part]))
    assert differ(latents, denoised_latents(spec, [requested])[0])
    if "ip_adapter_scale" in changes:
        assert differ(latents, denoised_latents(spec, [request(ip_adapter=part.slug)], [part])[0])


def test_the_image_prompt_may_be_grey_or_16_bit_and_changes_the_result(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec]
) -> None:
    spec, part = models["sd", True], adapters["sd", "plus"]
    deep = CanonicalImage(np.asarray(SENT.pixels, np.uint16) * np.uint16(257))
    grey = CanonicalImage(np.ascontiguousarray(np.asarray(SENT.pixels, np.uint8)[:, :, :1]))
    cat, coffee, same, other = (
        denoised_latents(spec, [one], [part])[0]
        for one in (
            request(),
            request(ip_adapter_image=SENT),
            request(ip_adapter_image=deep),
            request(ip_adapter_image=grey),
        )
    )
    assert differ(cat, coffee)
    assert torch.equal(coffee, same)
    assert differ(coffee, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scale_of_zero_changes_nothing(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec], family: str
) -> None:
    spec, part = models[family, True], adapters[family, "plain"]
    assert torch.equal(
        denoised_latents(spec, [request(ip_adapter_scale=0.0)], [part])[0], denoised_latents(spec, [request()])[0]
    )


@pytest.mark.parametrize(("family", "kind"), each_value_once(FAMILIES, ["plain", "plus"]))
def test_after_an_ip_adapter_the_model_is_bit_identical_to_before(
    models: dict[tuple[str, bool], ModelSpec],
    adapters: dict[tuple[str, str], ModelSpec],
    family: str,
    kind: str,
) -> None:
    spec, loop = models[family, True], batcher()
    before = denoised_latents(spec, [request()], by=loop)[0]
    unet = loop.cache.get(spec).unet
    names, processors = list(unet.state_dict()), dict(unet.attn_processors)
    denoised_latents(spec, [request()], [adapters[family, kind]], by=loop)
    assert list(unet.state_dict()) == names
    assert unet.attn_processors == processors
    assert torch.equal(denoised_latents(spec, [request()], by=loop)[0], before)


def test_it_is_removed_from_the_model_even_when_the_step_fails(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec]
) -> None:
    spec, part, loop = models["sd", True], adapters["sd", "plain"], batcher()
    before = painted(loop, request(), spec)
    unet = loop.cache.get(spec).unet

    def fail(*arguments: Any) -> None:
        raise RuntimeError("no")

    hook = unet.mid_block.register_forward_pre_hook(fail)
    with pytest.raises(EngineFailed) as failed:
        painted(loop, request(), spec, [part])
    assert failed.value.code == "model_failed"
    hook.remove()
    assert np.array_equal(painted(loop, request(), spec), before)


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
def test_in_one_batch_each_has_its_own_image_prompt_and_scale(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec], family: str
) -> None:
    spec, part = models[family, True], adapters[family, "plus"]
    requested = [
        request(seed=1, steps=5),
        request(seed=1, steps=6, ip_adapter_scale=0.3),
        request(seed=1, steps=5, ip_adapter_image=SENT),
    ]
    together = denoised_latents(spec, requested, [part])
    for sent, latents in zip(requested, together, strict=True):
        close(latents, denoised_latents(spec, [sent], [part])[0])
    assert differ(together[0], together[2])


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
@pytest.mark.parametrize("max_rows", first_alone(32, 1))
def test_jobs_with_different_ip_adapters_and_without_one_run_at_once(
    models: dict[tuple[str, bool], ModelSpec],
    adapters: dict[tuple[str, str], ModelSpec],
    family: str,
    max_rows: int,
) -> None:
    spec, loop = models[family, True], batcher(max_rows)
    plain, plus = adapters[family, "plain"], adapters[family, "plus"]
    adapter_lists = [[plain], [plus], [], [plain], [], [plus]]
    requested = [request(seed=seed) for seed in range(len(adapter_lists))]
    with ThreadPoolExecutor(len(requested)) as pool:
        waiting = [
            pool.submit(painted, loop, sent, spec, parts) for sent, parts in zip(requested, adapter_lists, strict=True)
        ]
        results = [future.result(60) for future in waiting]
    for sent, parts, result in zip(requested, adapter_lists, results, strict=True):
        alone = painted(batcher(1), sent, spec, parts)
        assert np.abs(result.astype(int) - alone).max() <= (0 if max_rows == 1 else 1)


@pytest.mark.parametrize(
    ("family", "inpainting", "kind"),
    [
        ("sd", True, "plus"),
        *(pytest.param(*kind, marks=pytest.mark.full) for kind in [("sd", False, "plain"), ("sdxl", True, "plain")]),
    ],
)
def test_a_controlnet_a_lora_and_an_ip_adapter_together_equal_the_reference_pipeline(
    models: dict[tuple[str, bool], ModelSpec],
    adapters: dict[tuple[str, str], ModelSpec],
    lora: dict[str, LoraSpec],
    folder: Path,
    family: str,
    inpainting: bool,
    kind: str,
) -> None:
    spec, adapter = models[family, inpainting], adapters[family, kind]
    control = tiny_adapters.saved_controlnet(folder / f"depth-{family}", family, ControlImageKind.DEPTH)
    requested = request(
        control=control.slug,
        loras=(LoraUse(lora[family].slug, 0.7),),
        control_strength=0.8,
        control_end=0.6,
        ip_adapter_scale=0.5,
    )
    parts, loras = [control, adapter], [lora[family]]
    (latents,) = denoised_latents(spec, [requested], parts, loras)
    close(latents, diffusers_result(spec, requested, parts, loras))
    bare = replace(requested, settings=replace(requested.settings, loras=()))
    for less in (
        denoised_latents(spec, [requested], [control], loras),
        denoised_latents(spec, [requested], [adapter], loras),
        denoised_latents(spec, [bare], parts),
    ):
        assert differ(latents, less[0])


def test_models_share_its_weights(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec]
) -> None:
    part, loop = adapters["sd", "plus"], batcher()
    for spec in (models["sd", True], models["sd", False]):
        denoised_latents(spec, [request()], [part], by=loop)
    network = loop.cache.adapter(part)
    places = [
        {
            processor.to_k_ip[0].weight.data_ptr()
            for _, processor in network.attention_processors(loop.cache.get(spec).unet)
        }
        for spec in (models["sd", True], models["sd", False])
    ]
    assert places[0] == places[1]
    assert len(places[0]) > 1


def test_its_bytes_count_and_it_is_evicted_for_a_model(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec]
) -> None:
    spec, other, part = models["sd", True], models["sd", False], adapters["sd", "plain"]
    loop = batcher()
    painted(loop, request(), spec)
    empty = loop.cache.used_bytes
    painted(loop, request(), spec, [part])
    files = sum(path.stat().st_size for path in (part.path or Path()).rglob("*.safetensors"))
    assert loop.cache.used_bytes - empty > 0.8 * files
    loop.cache.budget_bytes = loop.cache.used_bytes
    painted(loop, request(), other)
    assert loop.cache.loaded(other) is not None
    assert loop.cache.used_bytes <= loop.cache.budget_bytes


def test_without_an_image_prompt_a_request_fails(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec]
) -> None:
    with pytest.raises(EngineFailed, match="none was sent") as failed:
        painted(batcher(), request(ip_adapter_image=None), models["sd", True], [adapters["sd", "plain"]])
    assert failed.value.code == "ip_adapter_image_missing"


def test_an_adapter_for_another_shape_is_refused_without_effect_on_other_jobs(
    models: dict[tuple[str, bool], ModelSpec], adapters: dict[tuple[str, str], ModelSpec], folder: Path
) -> None:
    spec, loop = models["sd", True], batcher()
    before = painted(loop, request(), spec)
    unet = loop.cache.get(spec).unet
    good = tiny_adapters.adapter(unet)
    narrow = {name: tensor[..., :8] if ".to_k_ip." in name else tensor for name, tensor in good.items()}
    short = {name: tensor for name, tensor in good.items() if not name.startswith("ip_adapter.3.")}
    long = good | {f"ip_adapter.99.to_{way}_ip.weight": good["ip_adapter.1.to_k_ip.weight"].clone() for way in "kv"}
    words = tiny_adapters.adapter(unet, features=48)
    tokens = {name: words[name] if name.startswith("image_proj.") else tensor for name, tensor in good.items()}
    wrong = {"narrow": narrow, "short": short, "long": long, "words": words, "tokens": tokens}
    for name, tensors in wrong.items():
        part = tiny_adapters.saved_adapter(folder / name, "sd", tensors)
        with pytest.raises(EngineFailed, match="does not fit this model") as failed:
            painted(loop, request(), spec, [part])
        assert failed.value.code == "adapter_unfit"
    assert np.array_equal(painted(loop, request(), spec), before)
    part = adapters["sd", "plain"]
    assert np.array_equal(painted(loop, request(), spec, [part]), painted(batcher(), request(), spec, [part]))


def test_an_unknown_format_or_a_wrong_encoder_is_refused(
    models: dict[tuple[str, bool], ModelSpec], folder: Path
) -> None:
    spec = models["sd", True]
    tensors = tiny_adapters.adapter(load(spec, CPU).unet)
    faces = {
        "image_proj.proj.0.weight": torch.zeros(32, 16),
        "image_proj.proj.0.bias": torch.zeros(32),
        "image_proj.proj.2.weight": torch.zeros(4 * 32, 32),
        "image_proj.proj.2.bias": torch.zeros(4 * 32),
        "image_proj.norm.weight": torch.ones(32),
        "image_proj.norm.bias": torch.zeros(32),
    }
    faces |= {name: tensor for name, tensor in tensors.items() if name.startswith("ip_adapter.")}
    wrong = {
        "identity of a face": tiny_adapters.saved_adapter(folder / "faces", "sd", faces),
        "its image encoder gives 8": tiny_adapters.saved_adapter(folder / "encoder", "sd", tensors, embedding_size=8),
        "weights are missing": tiny_adapters.saved_adapter(folder / "empty", "sd", tensors),
    }
    config = folder / "empty" / "models" / "image_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 4}))
    for message, part in wrong.items():
        with pytest.raises(EngineFailed, match=message) as failed:
            painted(Batcher(ModelCache(CPU, 10**9)), request(), spec, [part])
        assert failed.value.code == "adapter_refused"
        assert part.slug in failed.value.message


def test_replacing_the_files_does_not_change_running_jobs(
    models: dict[tuple[str, bool], ModelSpec], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, loop = models["sd", True], batcher()
    unet = load(spec, CPU).unet
    part = tiny_adapters.saved_adapter(folder / "replaced", "sd", tiny_adapters.adapter(unet, seed=3))
    requested = [request(seed=1), request(seed=2)]
    (before,) = denoised_latents(spec, requested[:1], [part])
    start = loop.admission.start

    def with_files_replaced(sample: WaitingSample) -> InFlightSample | Exception:
        started = start(sample)
        tiny_adapters.saved_adapter(folder / "replaced", "sd", tiny_adapters.adapter(unet, seed=4))
        os.utime(folder / "replaced", (1, 1))
        return started

    monkeypatch.setattr(loop.admission, "start", with_files_replaced)
    first, second = denoised_latents(spec, requested, [part], by=loop)
    close(first, before)
    close(second, denoised_latents(spec, requested[1:], [part])[0])
