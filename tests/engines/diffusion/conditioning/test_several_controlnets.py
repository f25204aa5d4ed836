"""Several ControlNets of one request are applied together, as by diffusers' MultiControlNetModel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.controlnets.multicontrolnet_union import MultiControlNetUnionModel
from PIL import Image

from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.request import ControlUse, InpaintRequest
from tests.engines.diffusion.conditioning.adapter_requests import (
    UNION_NUMBERS,
    WITH_CONTROLNET,
    WITH_UNION,
    batcher,
    close,
    control_image,
    denoised_latents,
    differ,
    request,
)
from tests.engines.diffusion.pipelines import loaded_reference, run_reference
from tests.support import tiny_adapters, tiny_models

EDGES, HOLE, MAP = ControlUse("edges", 0.5, 0.0, 0.6), ControlUse("hole", 1.5), ControlUse("map", 0.8, 0.2, 1.0)


@pytest.fixture(scope="module")
def parts(folder: Path) -> dict[str, dict[str, ModelSpec]]:
    """Family -> the ControlNets of that family by their slugs."""
    kinds = {"edges": ControlImageKind.CANNY, "hole": ControlImageKind.INPAINT, "map": ControlImageKind.DEPTH}
    return {
        family: {
            slug: replace(
                tiny_adapters.saved_controlnet(folder / f"{slug}-{family}", family, kind, seed=seed), slug=slug
            )
            for seed, (slug, kind) in enumerate(kinds.items())
        }
        for family in tiny_adapters.TEXT_FEATURES
    }


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, ModelSpec]:
    return {family: tiny_models.saved(folder / family, family) for family in tiny_adapters.TEXT_FEATURES}


def named(specs: dict[str, ModelSpec], *uses: ControlUse) -> list[ModelSpec]:
    return list({use.slug: specs[use.slug] for use in uses}.values())


def reference(spec: ModelSpec, requested: InpaintRequest, specs: dict[str, ModelSpec], **more: Any) -> torch.Tensor:
    """The result of diffusers' pipeline with a list of ControlNets."""
    uses = requested.settings.controls
    is_union = specs[uses[0].slug].control is ControlImageKind.UNION
    network_class = diffusers.ControlNetUnionModel if is_union else diffusers.ControlNetModel
    networks = [network_class.from_pretrained(specs[use.slug].path) for use in uses]
    pipelines = WITH_UNION if is_union else WITH_CONTROLNET
    components = {"controlnet": MultiControlNetUnionModel(networks) if is_union else networks}
    pipeline = loaded_reference(spec, requested, pipelines=pipelines, components=components)
    images = [
        control_image(
            specs[use.slug],
            replace(requested, settings=replace(requested.settings, controls=(), control_type=use.type)),
        )
        for use in uses
    ]
    arguments = {"control_image": images, **more}
    latents: torch.Tensor = run_reference(
        pipeline,
        spec,
        requested,
        controlnet_conditioning_scale=[use.strength for use in uses],
        control_guidance_start=[use.start for use in uses],
        control_guidance_end=[use.end for use in uses],
        **arguments,
    )
    return latents


@pytest.mark.parametrize(
    ("family", "uses"),
    [("sd", (EDGES, MAP)), ("sd", (HOLE, MAP, EDGES)), ("sdxl", (MAP, EDGES)), ("sdxl", (EDGES, HOLE))],
    ids=["sd-two", "sd-three", "sdxl-two", "sdxl-with-inpaint"],
)
def test_several_controlnets_equal_the_reference_pipeline(
    models: dict[str, ModelSpec],
    parts: dict[str, dict[str, ModelSpec]],
    family: str,
    uses: tuple[ControlUse, ...],
) -> None:
    spec, specs = models[family], parts[family]
    requested = request(controls=uses)
    (latents,) = denoised_latents(spec, [requested], named(specs, *uses))
    close(latents, reference(spec, requested, specs))
    for left_out in uses:
        fewer = tuple(use for use in uses if use is not left_out)
        others = denoised_latents(spec, [request(controls=fewer)], named(specs, *fewer))
        assert differ(latents, others[0])


def test_a_union_used_for_two_kinds_equals_the_reference_pipeline(folder: Path) -> None:
    plain = tiny_models.saved(folder / "plain", "sdxl", inpainting=False)  # diffusers' pipeline takes no other
    union = tiny_adapters.saved_controlnet(folder / "union", "sdxl", ControlImageKind.UNION, modes=8)
    uses = ControlUse("union", 0.7, type="depth"), ControlUse("union", 1.2, 0.2, 0.8, type="inpaint")
    requested = request(controls=uses)
    (latents,) = denoised_latents(plain, [requested], [union])
    modes = [UNION_NUMBERS[str(use.type)] for use in uses]
    close(latents, reference(plain, requested, {"union": union}, control_mode=modes))


def test_one_listed_controlnet_equals_that_of_the_single_settings(
    models: dict[str, ModelSpec], parts: dict[str, dict[str, ModelSpec]]
) -> None:
    spec, specs = models["sd"], parts["sd"]
    (listed,) = denoised_latents(spec, [request(controls=(EDGES,))], [specs["edges"]])
    single = request(control="edges", control_strength=0.5, control_end=0.6)
    assert torch.equal(listed, denoised_latents(spec, [single], [specs["edges"]])[0])


def test_samples_with_the_same_controlnets_share_steps_and_equal_those_alone(
    models: dict[str, ModelSpec], parts: dict[str, dict[str, ModelSpec]]
) -> None:
    """Their strengths and intervals differ, so in a step a row has none, one or both of the ControlNets."""
    spec, specs, loop = models["sd"], parts["sd"], batcher()
    both = named(specs, EDGES, MAP)
    late = ControlUse("map", 1.0, 0.6)
    requested = [
        request(seed=1, controls=(EDGES, MAP)),
        request(seed=2, controls=(replace(EDGES, strength=1.5, end=0.2), late)),
        request(seed=3, controls=(replace(EDGES, start=0.4), late), guidance_scale=1.0),
    ]
    calls: list[int] = []
    network = loop.cache.adapter(specs["edges"])
    network.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    together = denoised_latents(spec, requested, both, by=loop)
    assert calls == [4, 2, 3]  # of five steps; a guided sample has two rows
    for sent, latents in zip(requested, together, strict=True):
        close(latents, denoised_latents(spec, [sent], both)[0])


def test_a_tile_is_computed_where_the_control_image_is_another_controlnets(
    models: dict[str, ModelSpec], parts: dict[str, dict[str, ModelSpec]]
) -> None:
    spec, depth = models["sd"], parts["sd"]["map"]
    tile = replace(parts["sd"]["hole"], slug="tile", control=ControlImageKind.TILE)
    uses = ControlUse("map"), ControlUse("tile")
    (beside,) = denoised_latents(spec, [request(controls=uses)], [depth, tile])
    requested = request(controls=uses)
    photo = {"tile": requested.image, "map": requested.conditioning_images["control_image"]}
    networks = {"tile": tile, "map": depth}
    alone = [replace(requested, conditioning_images={"control_image": photo[use.slug]}) for use in uses]
    images = [control_image(networks[use.slug], previews) for use, previews in zip(uses, alone, strict=True)]
    close(beside, reference(spec, requested, networks, control_image=images))


def test_each_has_its_own_control_image(models: dict[str, ModelSpec], parts: dict[str, dict[str, ModelSpec]]) -> None:
    """Two that were trained on different kinds, which cannot share one; the tile has the second image."""
    spec, depth = models["sd"], parts["sd"]["map"]
    tile = replace(parts["sd"]["hole"], slug="tile", control=ControlImageKind.TILE)
    scribble = replace(parts["sd"]["edges"], slug="lines", control=ControlImageKind.SCRIBBLE)
    uses = ControlUse("map"), ControlUse("tile", 0.7), ControlUse("lines", 0.5)
    shared = request(controls=uses)
    pixels = np.asarray(shared.conditioning_images["control_image"].pixels, np.uint8)
    second, third = CanonicalImage(np.ascontiguousarray(pixels[::-1])), CanonicalImage(255 - pixels)
    own = {"control_image_2": second, "control_image_3": third}
    requested = replace(shared, conditioning_images={**shared.conditioning_images, **own})
    networks = {"map": depth, "tile": tile, "lines": scribble}
    (latents,) = denoised_latents(spec, [requested], list(networks.values()))
    images = [
        Image.fromarray(np.asarray(one.pixels)) for one in (shared.conditioning_images["control_image"], second, third)
    ]
    close(latents, reference(spec, requested, networks, control_image=images))
    assert differ(latents, denoised_latents(spec, [shared], list(networks.values()))[0])
