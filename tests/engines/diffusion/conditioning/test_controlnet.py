"""ControlNets: results equal diffusers'; strength and interval are per sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest
from inpainting.engines.diffusion.conditioning import controlnet
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.device_memory import InUse
from inpainting.engines.diffusion.serving.loading import adapter_loading
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
from tests.engines.diffusion.pipelines import CPU, KINDS, SIDE, ignore_step
from tests.support import tiny_adapters, tiny_models
from tests.support.matrix import each_value_once, first_alone

HALF: dict[str, Any] = {"control_strength": 0.5}
MIDDLE: dict[str, Any] = {"control_start": 0.2, "control_end": 0.8}


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[tuple[str, bool], ModelSpec]:
    return {
        (family, inpainting): tiny_models.saved(
            folder / f"{family}-{inpainting}".lower(), family, inpainting=inpainting
        )
        for family, inpainting in KINDS
    }


@pytest.fixture(scope="module")
def canny(folder: Path) -> dict[str, ModelSpec]:
    return {
        family: tiny_adapters.saved_controlnet(folder / f"canny-{family}", family, ControlImageKind.CANNY)
        for family in tiny_adapters.TEXT_FEATURES
    }


@pytest.mark.parametrize(
    ("family", "inpainting", "changes"),
    each_value_once(KINDS, [{}, HALF, MIDDLE, {"guidance_scale": 1.0}, {"strength": 0.6}]),
)
def test_a_controlnet_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], ModelSpec],
    canny: dict[str, ModelSpec],
    family: str,
    inpainting: bool,
    changes: dict[str, Any],
) -> None:
    spec, part = models[family, inpainting], canny[family]
    requested = request(control=part.slug, **changes)
    (latents,) = denoised_latents(spec, [requested], [part])
    close(latents, diffusers_result(spec, requested, [part]))
    assert differ(latents, denoised_latents(spec, [requested])[0])
    if changes:
        usual = replace(
            requested, settings=replace(requested.settings, control_strength=1, control_start=0, control_end=1)
        )
        assert differ(latents, denoised_latents(spec, [usual], [part])[0]) or changes.keys().isdisjoint(
            {**HALF, **MIDDLE}
        )


@pytest.mark.parametrize(
    ("family", "control"),
    each_value_once(
        ["sd", "sdxl"], [image_kind for image_kind in ControlImageKind if image_kind is not ControlImageKind.UNION]
    ),
)
def test_each_control_gets_the_kind_of_image_it_was_trained_on(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], family: str, control: ControlImageKind
) -> None:
    spec, part = models[family, True], replace(canny[family], control=control)
    requested = request(control=part.slug)
    (latents,) = denoised_latents(spec, [requested], [part])
    close(latents, diffusers_result(spec, requested, [part]))
    if control is not ControlImageKind.CANNY:
        assert differ(latents, denoised_latents(spec, [requested], [canny[family]])[0])


def input_of(spec: ModelSpec, requested: InpaintRequest) -> NDArray[np.float32]:
    return controlnet.conditioning_image(
        spec, ControlUse(spec.slug), requested, requested.conditioning_images.get("control_image")
    )


def test_conditioning_images_of_inpaint_canny_depth_and_tile(canny: dict[str, ModelSpec]) -> None:
    requested = request()
    hole = input_of(replace(canny["sd"], control=ControlImageKind.INPAINT), requested)
    assert (hole[requested.mask > 127] == -1).all()
    kept = requested.mask == 0
    assert np.array_equal((hole[kept] * 255).round(), requested.image.pixels[kept])
    edges = input_of(canny["sd"], requested)
    assert set(np.unique(edges)) == {0, 1}
    depth = replace(canny["sd"], control=ControlImageKind.DEPTH)
    grey = CanonicalImage(np.ascontiguousarray(np.asarray(SENT.pixels, np.uint8)[:, :, :1]))
    sent = input_of(depth, replace(requested, conditioning_images={"control_image": grey}))
    assert np.array_equal((sent * 255).round(), np.repeat(grey.pixels, 3, axis=2))
    tile = input_of(replace(depth, control=ControlImageKind.TILE), replace(requested, conditioning_images={}))
    assert np.array_equal((tile * 255).round(), requested.image.pixels)


@pytest.mark.parametrize("control", [ControlImageKind.DEPTH, ControlImageKind.SCRIBBLE])
def test_a_request_without_a_required_control_image_fails(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], control: ControlImageKind
) -> None:
    part = replace(canny["sd"], control=control)
    with pytest.raises(EngineFailed, match=f"needs a control image \\({control}\\)") as failed:
        painted(batcher(), request(control=part.slug, control_image=None), models["sd", True], [part])
    assert failed.value.code == "control_image_missing"


@pytest.mark.parametrize("family", first_alone("sd", "sdxl"))
def test_samples_of_a_batch_are_controlled_as_they_are_alone(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], family: str
) -> None:
    spec, part = models[family, True], canny[family]
    requested = [
        request(control=part.slug, seed=seed, steps=steps, **changes)
        for seed, (steps, changes) in enumerate(
            [(5, {}), (7, HALF), (6, MIDDLE), (5, {"control_end": 0.2}), (4, {"control_start": 0.75})]
        )
    ]
    together = denoised_latents(spec, requested, [part])
    for sent, latents in zip(requested, together, strict=True):
        close(latents, denoised_latents(spec, [sent], [part])[0])
        assert differ(latents, denoised_latents(spec, [sent])[0])


def test_the_controlnet_is_called_once_for_all_samples_and_not_in_steps_without_any(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec]
) -> None:
    spec, part = models["sd", True], canny["sd"]
    calls: list[int] = []
    loop = batcher()
    network = loop.cache.adapter(part)
    network.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    requested = [
        request(control=part.slug, seed=1, control_end=0.4),
        request(control=part.slug, seed=2, control_start=0.2, control_end=0.6),
    ]
    denoised_latents(spec, requested, [part], by=loop)
    assert calls == [2, 4, 2]  # the first, second and third of five steps; two rows a sample


def test_a_strength_of_zero_changes_nothing(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec]
) -> None:
    spec, part = models["sd", True], canny["sd"]
    ways: list[dict[str, Any]] = [{"control_strength": 0.0}, {"control_start": 0.5, "control_end": 0.5}]
    for without_effect in ways:
        assert torch.equal(
            denoised_latents(spec, [request(control=part.slug, **without_effect)], [part])[0],
            denoised_latents(spec, [request()])[0],
        )


def test_a_controlnet_applied_in_no_step_gives_a_note(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec]
) -> None:
    spec, part, loop = models["sd", True], canny["sd"], batcher()
    for end, expected in ((0.3, (controlnet.NEVER_APPLIED.format(name=part.slug),)), (0.4, ())):
        requested = request(control=part.slug, steps=4, strength=0.75, control_end=end)  # three steps
        assert loop.paint(requested, spec, ignore_step, (), [part])[1] == expected


def test_an_adapter_for_another_shape_is_refused_without_effect_on_other_jobs(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], folder: Path
) -> None:
    spec, loop = models["sd", True], batcher()
    before = painted(loop, request(), spec)
    others: list[dict[str, Any]] = [
        {"cross_attention_dim": 48},
        {"block_out_channels": (16, 16)},
        {"layers_per_block": 2},
        {"conditioning_channels": 1},
        {"in_channels": 9},
    ]
    for number, shape in enumerate(others):
        wrong = tiny_adapters.saved_controlnet(folder / f"wrong-{number}", "sd", ControlImageKind.CANNY, **shape)
        with pytest.raises(EngineFailed, match="does not fit") as failed:
            painted(loop, request(), spec, [wrong])
        assert failed.value.code == "adapter_unfit"
    assert np.array_equal(painted(loop, request(), spec), before)
    controlled = painted(loop, request(), spec, [canny["sd"]])
    assert np.array_equal(controlled, painted(batcher(), request(), spec, [canny["sd"]]))


def test_a_missing_or_damaged_controlnet_is_an_error(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], folder: Path
) -> None:
    spec = models["sd", True]
    broken = tiny_adapters.saved_controlnet(folder / "broken", "sd", ControlImageKind.CANNY)
    weights = folder / "broken" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for part, code in ((replace(broken, path=folder / "gone"), "adapter_unavailable"), (broken, "adapter_refused")):
        with pytest.raises(EngineFailed) as failed:
            painted(batcher(), request(), spec, [part])
        assert failed.value.code == code


def test_adapters_count_as_weights_and_are_evicted_before_models(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec]
) -> None:
    spec, other, part = models["sd", True], models["sd", False], canny["sd"]
    cache = ModelCache(CPU, 10**9)
    model = cache.get(spec)
    empty = cache.used_bytes
    network = cache.adapter(part, InUse([model]))
    assert cache.used_bytes > empty
    assert cache.adapter(part, InUse([model])) is network
    cache.budget_bytes = empty + cache.get(other).byte_count
    assert cache.has_room(replace(other, slug="another")) is False
    assert cache.evict(InUse([model], [part]))
    assert cache.loaded(other) is None
    assert cache.has_room(other)
    assert not cache.has_room(other, InUse(adapters=[part]))
    cache.get(other, InUse([model]))
    assert cache.used_bytes == cache.budget_bytes
    assert cache.adapter(part, InUse([model, cache.get(other)])) is not network


def test_a_job_that_cannot_start_for_lack_of_memory_fails_and_the_next_succeeds(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, part, loop = models["sd", True], canny["sd"], batcher()
    painted(loop, request(), spec, [part])
    with monkeypatch.context() as short:

        def too_large(*arguments: Any) -> None:
            raise torch.OutOfMemoryError("out of memory")

        short.setattr(loop.cache.get(spec), "start", too_large)
        with pytest.raises(EngineFailed) as failed:
            painted(loop, request(), spec, [part])
    assert failed.value.code == "gpu_out_of_memory"
    assert np.array_equal(painted(loop, request(), spec, [part]), painted(batcher(), request(), spec, [part]))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_an_adapter_is_loaded_after_evicting_others_when_memory_is_short(
    models: dict[tuple[str, bool], ModelSpec],
    canny: dict[str, ModelSpec],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    spec, other, part, loop = models["sd", True], models["sd", False], canny["sd"], batcher()
    loop.cache.get(other)
    read = adapter_loading.load_network

    def too_large(*arguments: Any) -> Any:
        raise error

    def large(*arguments: Any) -> Any:
        return too_large() if loop.cache.loaded(other) is not None else read(*arguments)

    with monkeypatch.context() as short:
        short.setattr(adapter_loading, "load_network", too_large)
        with pytest.raises(EngineFailed) as failed:
            painted(batcher(), request(), spec, [part])
        assert failed.value.code == "gpu_out_of_memory"
        short.setattr(adapter_loading, "load_network", large)
        assert painted(loop, request(), spec, [part]).shape == (SIDE, SIDE, 3)


def test_samples_of_a_batch_that_ran_out_of_memory_are_painted_in_smaller_batches(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, part = models["sd", True], canny["sd"]
    loop = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    network = loop.cache.adapter(part)
    forward, seen = network.forward, []

    def small_only(sample: torch.Tensor, *arguments: Any, **more: Any) -> Any:
        seen.append(len(sample))
        if len(sample) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(sample, *arguments, **more)

    monkeypatch.setattr(network, "forward", small_only)
    requested = request(control=part.slug, num_images=2)
    images, _ = loop.paint(requested, spec, ignore_step, (), [part])
    assert max(seen) == 4
    alone = batcher(1).paint(requested, spec, ignore_step, (), [part])[0]
    for image, expected in zip(images, alone, strict=True):
        assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.fixture(scope="module")
def union(folder: Path) -> ModelSpec:
    return tiny_adapters.saved_controlnet(folder / "union", "sdxl", ControlImageKind.UNION, modes=8)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(None, HALF), ("inpaint", MIDDLE), ("depth", {}), ("tile", {"guidance_scale": 1.0}), ("openpose", {})],
)
def test_a_union_equals_the_reference_pipeline(
    models: dict[tuple[str, bool], ModelSpec],
    union: ModelSpec,
    kind: str | None,
    changes: dict[str, Any],
) -> None:
    spec = models["sdxl", False]  # diffusers' pipeline takes no UNet of 9 channels
    requested = request(control=union.slug, control_type=kind, **changes)
    (latents,) = denoised_latents(spec, [requested], [union])
    close(latents, diffusers_result(spec, requested, [union]))
    other = request(control=union.slug, control_type="segment", **changes)
    assert differ(latents, denoised_latents(spec, [other], [union])[0])


def test_kinds_of_a_union_share_the_calls_of_the_unet(
    models: dict[tuple[str, bool], ModelSpec], union: ModelSpec
) -> None:
    spec = models["sdxl", True]
    requested = [
        request(seed=number, control=union.slug, control_type=kind)
        for number, kind in enumerate(["depth", "canny", "depth", "tile"])
    ]
    together = denoised_latents(spec, requested, [union])
    for sent, latents in zip(requested, together, strict=True):
        close(latents, denoised_latents(spec, [sent], [union])[0])


def test_a_union_without_promax_refuses_tile_and_a_plain_one_is_no_union(
    models: dict[tuple[str, bool], ModelSpec], canny: dict[str, ModelSpec], folder: Path
) -> None:
    spec, six = (
        models["sdxl", True],
        tiny_adapters.saved_controlnet(folder / "six", "sdxl", ControlImageKind.UNION, modes=6),
    )
    for part, message in (
        (six, "tile"),
        (replace(canny["sdxl"], control=ControlImageKind.UNION), "the catalog states a ControlNet-Union."),
        (
            replace(six, control=ControlImageKind.CANNY),
            "those of a ControlNet-Union; the catalog states a ControlNet for one",
        ),
    ):
        with pytest.raises(EngineFailed) as failed:
            painted(batcher(), request(control=part.slug, control_type="tile"), spec, [part])
        assert failed.value.code == "adapter_unfit"
        assert message in failed.value.message
