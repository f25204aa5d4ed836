"""LoRAs: results equal diffusers', each generation has its own, and the model is unchanged afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import LoraKind, LoraSpec, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest, LoraUse
from inpainting.engines.diffusion.conditioning import delta_layers, lora_adapters
from inpainting.engines.diffusion.conditioning.lora_adapters import active_loras
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_memory import InUse
from inpainting.engines.diffusion.serving.loading.model_loading import load, weights_bytes
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.families.sd.network import StableDiffusion
from inpainting.networks.device.hardware import Hardware
from tests.engines.diffusion.pipelines import (
    CPU,
    FAMILIES,
    ddim_request,
    denoised,
    ignore_step,
    loaded_reference,
    run_reference,
)
from tests.support import tiny_loras, tiny_models, tiny_vaes
from tests.support.matrix import each_value_once, first_alone


@pytest.fixture(scope="module")
def loras(specs: dict[str, ModelSpec], tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoraSpec]:
    """By family and number: the first in diffusers' names, the second in kohya-ss's, the third for the UNet alone."""
    folder = tmp_path_factory.mktemp("loras")
    found = {}
    for family, spec in ((family, specs[family]) for family in FAMILIES):
        pipeline = load(spec, CPU).pipeline
        ways: list[dict[str, Any]] = [{}, {"kohya": True, "rank": 2}, {"parts": ["unet"]}]
        for number, way in enumerate(ways):
            slug = f"{family}-{number}"
            path = tiny_loras.saved(folder / f"{slug}.safetensors", tiny_loras.weights(pipeline, seed=number, **way))
            found[slug] = LoraSpec(slug=slug, label=slug, family=family, digest=slug, path=path)
    return found


def denoised_latents(model: StableDiffusion, requested: InpaintRequest, used: list[LoraSpec]) -> torch.Tensor:
    """The final latents of our loop."""
    on = active_loras(requested.settings.loras, used)
    for lora in model.loras.missing(on):
        model.loras.load(lora)
    model.loras.activate(on)
    return denoised(model, requested)


def diffusers_result(spec: ModelSpec, requested: InpaintRequest, used: list[LoraSpec], **more: Any) -> Any:
    """The result of diffusers' pipeline with the LoRAs loaded by its own loader. more: scheduler arguments."""
    reference = loaded_reference(spec, requested, **more)
    for lora in used:
        assert lora.path is not None
        reference.load_lora_weights(
            str(lora.path.parent), weight_name=lora.path.name, adapter_name=lora.slug, local_files_only=True
        )
    if used:
        reference.set_adapters([lora.slug for lora in used], [use.weight for use in requested.settings.loras])
    return run_reference(reference, spec, requested)


@pytest.mark.parametrize(
    ("family", "uses"),
    each_value_once(FAMILIES, [[(0, 1.0)], [(1, 0.7)], [(0, 0.6), (1, -0.4)], [(2, 1.5), (0, 0.3)]]),
)
def test_loras_equal_the_reference_pipeline(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], family: str, uses: list[tuple[int, float]]
) -> None:
    active = [loras[f"{family}-{number}"] for number, _ in uses]
    requested = ddim_request(loras=tuple(LoraUse(f"{family}-{number}", weight) for number, weight in uses))
    latents = denoised_latents(load(specs[family], CPU), requested, active)
    torch.testing.assert_close(latents, diffusers_result(specs[family], requested, active), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(latents, diffusers_result(specs[family], requested, []), atol=1e-2)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"use_rslora": True, "lora_alpha": 8},
        {"lora_alpha": 2, "alpha_pattern": {"attn2.to_q": 16, "^mid.*to_v": 12}},
    ],
)
def test_a_configuration_of_peft_in_a_file_equals_the_reference_pipeline(
    specs: dict[str, ModelSpec], tmp_path: Path, values: dict[str, Any]
) -> None:
    model = load(specs["sd"], CPU)
    tensors = tiny_loras.weights(model.pipeline, parts=["unet"])
    path = tiny_loras.saved_by_peft(tmp_path / "configured.safetensors", tensors, **values)
    lora = LoraSpec(slug="configured", label="", family="sd", digest="configured", path=path)
    requested = ddim_request(loras=(LoraUse("configured"),))
    latents = denoised_latents(model, requested, [lora])
    torch.testing.assert_close(latents, diffusers_result(specs["sd"], requested, [lora]), rtol=1e-4, atol=1e-4)
    bare = replace(lora, digest="bare", path=tiny_loras.saved(tmp_path / "bare.safetensors", tensors))
    assert not torch.allclose(latents, diffusers_result(specs["sd"], requested, [bare]), atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_from_before_diffusers_used_peft_are_read_as_it_reads_them(
    specs: dict[str, ModelSpec], tmp_path: Path, family: str
) -> None:
    model = load(specs[family], CPU)
    tensors = {earlier_name(name): tensor for name, tensor in tiny_loras.weights(model.pipeline).items()}
    path = tiny_loras.saved(tmp_path / "earlier.safetensors", tensors)
    lora = LoraSpec(slug="earlier", label="", family=family, digest="earlier", path=path)
    requested = ddim_request(loras=(LoraUse("earlier", 0.7),))
    latents = denoised_latents(model, requested, [lora])
    assert model.loras.notes(active_loras(requested.settings.loras, [lora])) == ()
    torch.testing.assert_close(latents, diffusers_result(specs[family], requested, [lora]), rtol=1e-4, atol=1e-4)


def earlier_name(name: str) -> str:
    layer, way = name.removesuffix(".weight").rsplit(".", 1)
    half = {"lora_A": "down", "lora_B": "up"}[way]
    attention, _, part = layer.removesuffix(".0").rpartition(".")
    if layer.startswith("text_encoder"):
        return f"{attention}.to_{part.removesuffix('_proj')}_lora.{half}.weight"
    return f"{attention}.processor.{part}_lora.{half}.weight"


@pytest.mark.parametrize("family", FAMILIES)
def test_loras_change_the_text_encoders_too(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], family: str
) -> None:
    model, requested = load(specs[family], CPU), ddim_request(loras=(LoraUse(f"{family}-0"),))
    before = tiny_models.encoded(model, requested.settings, requested.image.size)
    denoised_latents(model, requested, [loras[f"{family}-0"]])
    after = tiny_models.encoded(model, requested.settings, requested.image.size)
    assert not torch.allclose(before.embeds, after.embeds, atol=1e-2)
    skipped = ddim_request(clip_skip=2).settings
    assert not torch.allclose(tiny_models.encoded(model, skipped, requested.image.size).embeds, after.embeds, atol=1e-2)


@pytest.mark.parametrize("family", first_alone("sdxl", "sd"))
def test_after_loras_the_model_is_bit_identical_to_before(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], family: str
) -> None:
    model = load(specs[family], CPU)
    before = denoised_latents(model, ddim_request(), [])
    denoised_latents(model, ddim_request(loras=(LoraUse(f"{family}-0"),)), [loras[f"{family}-0"]])
    assert torch.equal(denoised_latents(model, ddim_request(), []), before)


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
@pytest.mark.parametrize("max_rows", first_alone(32, 1))
def test_jobs_with_different_loras_run_at_once_with_the_results_they_have_alone(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], family: str, max_rows: int
) -> None:
    first, second, third = (f"{family}-{number}" for number in range(3))
    requested = [
        ddim_request(seed=seed, loras=tuple(LoraUse(slug, weight) for slug, weight in uses))
        for seed, uses in enumerate(
            [
                *([(first, 1.0)], [(second, 0.8)], [], [(first, 0.5), (third, 1.0)]),
                *([(third, 1.0), (first, 0.5)], [(first, 1.0)], [(first, -1.0)], []),
            ]
        )
    ]

    def paint(batcher: Batcher, request: InpaintRequest) -> NDArray[np.uint8]:
        active = [loras[use.slug] for use in request.settings.loras]
        return batcher.paint(request, specs[family], ignore_step, active)[0][0]

    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=max_rows)
    with ThreadPoolExecutor(len(requested)) as pool:
        results = [future.result(60) for future in [pool.submit(paint, batcher, request) for request in requested]]
    for request, result in zip(requested, results, strict=True):
        alone = paint(Batcher(ModelCache(CPU, 10**9), max_rows=1), request)
        assert np.abs(result.astype(int) - alone).max() <= (0 if max_rows == 1 else 1)
    assert len({result.tobytes() for result in results}) == len(requested)


def test_only_jobs_with_the_same_loras_and_weights_share_unet_calls(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec]
) -> None:
    spec, batcher = specs["sd"], Batcher(ModelCache(CPU, 10**9), max_rows=32)
    uses = [(LoraUse("sd-0", 0.5), LoraUse("sd-1")), (LoraUse("sd-1"), LoraUse("sd-0", 0.5)), (LoraUse("sd-0"),)]
    for adapter_use in uses:
        ticket_worn = active_loras(adapter_use, [loras[use.slug] for use in adapter_use])
        assert (ticket_worn == active_loras(uses[0], [loras[use.slug] for use in uses[0]])) == (len(adapter_use) == 2)
    batcher.paint(ddim_request(loras=uses[0]), spec, ignore_step, [loras[use.slug] for use in uses[0]])
    batcher.paint(ddim_request(loras=uses[1]), spec, ignore_step, [loras[use.slug] for use in uses[1]])
    assert len(batcher.workload.known_keys) == 1
    batcher.paint(ddim_request(loras=uses[2]), spec, ignore_step, [loras["sd-0"]])
    assert len(batcher.workload.known_keys) == 2


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DDIMScheduler"])
def test_few_step_loras_use_trailing_timesteps(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], name: str
) -> None:
    quick = replace(loras["sd-2"], kind=LoraKind.LIGHTNING)
    requested = ddim_request(steps=4, guidance_scale=1.0, scheduler=name, loras=(LoraUse("sd-2"),))
    latents = denoised_latents(load(specs["sd"], CPU), requested, [quick])
    expected = diffusers_result(specs["sd"], requested, [quick], timestep_spacing="trailing")
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(latents, diffusers_result(specs["sd"], requested, [quick]), atol=1e-2)


def test_a_lora_for_another_shape_is_refused_without_effect_on_other_jobs(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], tmp_path: Path
) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    good = batcher.paint(ddim_request(), specs["sd"], ignore_step)[0][0]
    pipeline = load(specs["sd"], CPU).pipeline
    for wrong in ("unet", "text_encoder"):
        tensors = tiny_loras.weights(pipeline)
        for name, tensor in tensors.items():
            if name.startswith(f"{wrong}.") and "lora_A" in name:
                tensors[name] = torch.randn(tensor.shape[0], tensor.shape[1] + 8)
        path = tiny_loras.saved(tmp_path / f"{wrong}.safetensors", tensors)
        other = LoraSpec(slug=f"other-{wrong}".replace("_", "-"), label="Other", family="sd", path=path)
        with pytest.raises(EngineFailed) as failed:
            batcher.paint(ddim_request(loras=(LoraUse(other.slug),)), specs["sd"], ignore_step, [other])
        assert failed.value.code == "lora_unfit"
        assert other.slug in failed.value.message
    assert np.array_equal(batcher.paint(ddim_request(), specs["sd"], ignore_step)[0][0], good)
    with_lora = ddim_request(loras=(LoraUse("sd-0"),))
    (alone,), _ = Batcher(ModelCache(CPU, 10**9), max_rows=1).paint(
        with_lora, specs["sd"], ignore_step, [loras["sd-0"]]
    )
    (beside,), _ = batcher.paint(with_lora, specs["sd"], ignore_step, [loras["sd-0"]])
    assert np.abs(beside.astype(int) - alone).max() <= 1


def test_a_missing_file_is_an_error(specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    gone = LoraSpec(slug="gone", label="Gone", family="sd", path=tmp_path / "gone.safetensors")
    with pytest.raises(EngineFailed) as failed:
        Batcher(ModelCache(CPU, 10**9)).paint(ddim_request(loras=(LoraUse("gone"),)), specs["sd"], ignore_step, [gone])
    assert failed.value.code == "lora_unavailable"


def test_the_numbers_of_a_file_are_read_one_by_one_in_the_precision_of_the_network(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a file of float32 would else be in memory beside what is kept."""
    model = load(specs["sd"], replace(CPU, dtype=torch.bfloat16))
    (lora,) = active_loras([LoraUse("sd-0")], [loras["sd-0"]])
    seen: set[torch.dtype] = set()
    deltas_of = delta_layers.deltas_of

    def looking(tensors: dict[str, torch.Tensor], *more: Any) -> Any:
        seen.update(tensor.dtype for tensor in tensors.values() if tensor.ndim > 1)
        return deltas_of(tensors, *more)

    monkeypatch.setattr(lora_adapters, "deltas_of", looking)
    assert model.loras.read(lora).deltas
    assert seen == {torch.bfloat16}
    norms = lora_adapters.in_memory("x.dora_scale", torch.ones(4, 1), torch.device("cpu"), torch.bfloat16)
    assert norms.dtype == torch.float32


def test_a_lora_that_free_memory_is_too_small_for_is_not_read(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = Batcher(ModelCache(CPU, 10**9))
    batcher.paint(ddim_request(steps=1), specs["sd"], ignore_step)
    takes = weights_bytes(loras["sd-0"], torch.float32)
    requested = ddim_request(steps=1, loras=(LoraUse("sd-0"),))
    with monkeypatch.context() as patched:
        patched.setattr(Hardware, "free_bytes", lambda *_: takes - 1)
        patched.setattr(lora_adapters, "load_file", None)
        with pytest.raises(EngineFailed) as failed:
            batcher.paint(requested, specs["sd"], ignore_step, [loras["sd-0"]])
    assert failed.value.code == "gpu_out_of_memory"
    monkeypatch.setattr(Hardware, "free_bytes", lambda *_: takes)
    assert batcher.paint(requested, specs["sd"], ignore_step, [loras["sd-0"]])[0]


def test_idle_loras_are_evicted_when_memory_for_weights_is_short(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec]
) -> None:
    active = {slug: active_loras([LoraUse(slug)], [loras[slug]]) for slug in ("sd-0", "sd-1", "sd-2")}
    spec, cache = specs["sd"], ModelCache(CPU, 10**9)
    model = cache.get(spec)
    bare = cache.used_bytes

    def loaded() -> list[str]:
        return [slug for slug, adapter in active.items() if not model.loras.missing(adapter)]

    for slug in ("sd-0", "sd-2"):
        cache.ensure_loras_loaded(active[slug], model)
    cache.budget_bytes = cache.used_bytes
    in_use = InUse([model], loras=[active["sd-0"][0].name])
    cache.ensure_loras_loaded(active["sd-1"], model, in_use)
    assert loaded() == ["sd-0", "sd-1"], "a LoRA in use stays"
    assert cache.used_bytes <= cache.budget_bytes
    assert cache.evict(in_use)
    assert loaded() == ["sd-0"]
    assert not cache.evict(in_use)
    other = replace(spec, slug="another")
    cache.budget_bytes = bare + weights_bytes(other, torch.float32)
    assert not cache.has_room(other, in_use)
    assert cache.has_room(other, InUse([model]))
    assert cache.evict(InUse([model]))
    assert cache.models == [model]
    assert cache.used_bytes == bare
    assert torch.equal(
        denoised_latents(model, ddim_request(), []), denoised_latents(load(spec, CPU), ddim_request(), [])
    )


def test_active_loras_stay_loaded_when_another_is_evicted_as_a_sample_starts(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], tmp_path: Path
) -> None:
    spec, vae = specs["sd"], tiny_vaes.saved(tmp_path / "vae")
    quick, idle = replace(loras["sd-2"], kind=LoraKind.LIGHTNING), loras["sd-0"]
    requested = ddim_request(steps=4, guidance_scale=1.0, loras=(LoraUse("sd-2"),), vae="vae")
    expected = Batcher(ModelCache(CPU, 10**9)).paint(requested, spec, ignore_step, [quick], [vae])[0][0]
    batcher = Batcher(ModelCache(CPU, 10**9))
    held = batcher.cache.get(spec).loras
    for lora in (idle, quick):
        (active,) = active_loras([LoraUse(lora.slug)], [lora])
        held.load(active)
    batcher.cache.budget_bytes = batcher.cache.used_bytes
    assert np.array_equal(batcher.paint(requested, spec, ignore_step, [quick], [vae])[0][0], expected)
    assert len(held.missing(active_loras([LoraUse("sd-0")], [idle]))) == 1


def test_a_bounded_number_of_loras_stays_loaded_and_their_bytes_count(
    specs: dict[str, ModelSpec], loras: dict[str, LoraSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora_adapters, "MAX_IDLE_LORAS", 1)
    cache = ModelCache(CPU, 10**9)
    model = cache.get(specs["sd"])
    empty = model.byte_count
    for slug in ("sd-0", "sd-1", "sd-2"):
        active = active_loras([LoraUse(slug)], [loras[slug]])
        cache.ensure_loras_loaded(active, model)
        model.loras.activate(active)
    assert model.byte_count > empty
    assert len(model.loras.missing(active_loras([LoraUse("sd-0")], [loras["sd-0"]]))) == 1
    assert len(model.loras.missing(active_loras([LoraUse("sd-1")], [loras["sd-1"]]))) == 0
    assert torch.equal(
        denoised_latents(model, ddim_request(), []), denoised_latents(load(specs["sd"], CPU), ddim_request(), [])
    )
