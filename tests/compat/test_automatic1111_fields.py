"""Every field of AUTOMATIC1111's img2img: with a model it has an effect or is listed, without one it is listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from inpainting.api.compat.automatic1111.body import ExtrasBody, ImageBody
from inpainting.api.compat.samplers import AUTOMATIC1111_SAMPLERS, WEB_UI_SAMPLERS, find_sampler
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import InpaintRequest, LoraUse
from inpainting.models import Generation
from tests.compat.automatic1111 import IMG2IMG, TXT2IMG, check_error, encoded, image_of, painted, post
from tests.conftest import png
from tests.support import fake_diffusion, tiny_embeddings
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

Check = Callable[[InpaintRequest, dict[str, Any]], bool]


def setting(name: str, value: object) -> Check:
    return lambda request, answer: Generation.objects.latest("created_at").settings[name] == value


WORKS: dict[str, tuple[Any, Check]] = {
    "prompt": ("a <lora:ink:-0.5> lawn", lambda request, answer: request.settings.loras == (LoraUse("ink", -0.5),)),
    "negative_prompt": ("people", setting("negative_prompt", "people")),
    "seed": (5, lambda request, answer: answer["info"]["all_seeds"] == [5]),
    "steps": (9, setting("steps", 9)),
    "cfg_scale": (3.5, setting("guidance_scale", 3.5)),
    "sampler_name": ("Euler a", setting("scheduler", "EulerAncestralDiscreteScheduler")),
    "sampler_index": ("DPM++ 2M Karras", setting("use_karras_sigmas", True)),
    "scheduler": ("uniform", setting("use_karras_sigmas", False)),
    "width": (128, setting("width", 128)),
    "height": (128, setting("height", 128)),
    "batch_size": (2, lambda request, answer: len(answer["images"]) == 2),
    "n_iter": (3, lambda request, answer: len(answer["images"]) == 3),
    "override_settings": (
        {"sd_model_checkpoint": "tiny", "sd_vae": "small.safetensors", "CLIP_stop_at_last_layers": 2},
        lambda request, answer: (request.settings.vae, request.settings.clip_skip) == ("small", 2),
    ),
    "alwayson_scripts": (
        {"controlnet": {"args": [{"model": "depth", "image": "{photo}", "weight": 0.5, "guidance_end": 0.8}]}},
        lambda request, answer: (
            [(use.slug, use.strength, use.end) for use in request.settings.control_uses] == [("depth", 0.5, 0.8)]
            and list(request.conditioning_images) == ["control_image"]
        ),
    ),
    "send_images": (False, lambda request, answer: answer["images"] == []),
    "save_images": (True, lambda request, answer: Generation.objects.latest("created_at").images.count() == 1),
    "mask": ("{inverted}", lambda request, answer: bool(request.mask[0, 0])),
    "mask_blur": (9, setting("mask_blur", 9)),
    "mask_blur_x": (8, setting("mask_blur", 8)),
    "mask_blur_y": (7, setting("mask_blur", 7)),
    "inpainting_fill": (2, setting("masked_content", "noise")),
    "inpaint_full_res": (False, lambda request, answer: request.image.size.width == 512),
    "inpaint_full_res_padding": (24, setting("only_masked_padding", 24)),
    "inpainting_mask_invert": (1, lambda request, answer: bool(request.mask[0, 0])),
    "denoising_strength": (0.4, setting("strength", 0.4)),
}
"""Field -> a value, and whether it has the effect."""
ELSEWHERE = {"script_name", "init_images", "mask_round", "resize_mode"}
"""Fields that `test_automatic1111.py` tests."""
LISTED: dict[str, Any] = {
    **{"styles": ["photo"], "subseed_strength": 0.5, "seed_resize_from_w": 512, "restore_faces": True, "tiling": True},
    **{"do_not_save_samples": True, "do_not_save_grid": True, "eta": 0.5, "s_churn": 1, "s_tmax": 1, "s_tmin": 1},
    **{"s_noise": 1.1, "initial_noise_multiplier": 0.9, "image_cfg_scale": 2, "include_init_images": True},
    **{"override_settings_restore_afterwards": False, "force_task_id": "a", "infotext": "a", "save_images": False},
    **{"refiner_checkpoint": "a", "refiner_switch_at": 0.8, "script_args": [1], "latent_mask": "a", "firstpass": 1},
}
"""Fields that have an effect in the service, and are listed here."""


@pytest.fixture
def engine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """The requests that the diffusion engine received. A tiny model, and a LoRA, a VAE and an embedding for it."""
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models_and_adapters(tmp_path)
    return fake_diffusion.record_requests(monkeypatch)


@pytest.fixture
def body(photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    return {"init_images": [encoded(photo_png)], "mask": encoded(png(hole)), "prompt": "a lawn"}


def test_the_table_has_every_field() -> None:
    assert WORKS.keys() | ELSEWHERE == ImageBody.model_fields.keys() | {"mask"}


@pytest.mark.parametrize("name", WORKS)
def test_a_field_works(
    alices_program: Client,
    engine: list[InpaintRequest],
    body: dict[str, Any],
    photo_png: bytes,
    hole: NDArray[np.uint8],
    name: str,
) -> None:
    value, has_effect = WORKS[name]
    if name == "alwayson_scripts":
        value["controlnet"]["args"][0]["image"] = encoded(photo_png)
    if name in ("mask_blur_x", "mask_blur_y"):
        body |= {"mask_blur_x": value, "mask_blur_y": value}
    sent = encoded(png(255 - hole)) if value == "{inverted}" else value
    answer = painted(post(alices_program, IMG2IMG, {**body, name: sent}))
    assert has_effect(engine[-1], answer)
    assert answer["meta"]["ignored"] == []


def test_further_fields_are_listed(alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]) -> None:
    answer = painted(post(alices_program, IMG2IMG, {**body, **LISTED}))
    assert set(answer["meta"]["ignored"]) == LISTED.keys()
    answer = painted(post(alices_program, IMG2IMG, {**body, "mask": None, "resize_mode": 3}))
    assert answer["meta"]["ignored"] == ["resize_mode"]


@pytest.mark.parametrize("fill", range(4))
def test_the_fill_is_what_the_model_starts_from(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any], fill: int
) -> None:
    painted(post(alices_program, IMG2IMG, {**body, "inpainting_fill": fill, "denoising_strength": 0.5}))
    assert engine[0].settings.masked_content == ("fill", "original", "noise", "nothing")[fill]


def test_without_a_model_its_fields_are_listed(alices_program: Client, body: dict[str, Any]) -> None:
    of_models = {"steps": 9, "cfg_scale": 3, "sampler_name": "Euler", "denoising_strength": 0.5, "inpainting_fill": 1}
    answer = painted(post(alices_program, IMG2IMG, {**body, **of_models, "mask_blur": 2, "seed": 4}))
    assert set(answer["meta"]["ignored"]) == {"prompt", *of_models}


def test_what_is_not_sent_is_the_models(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    painted(post(alices_program, IMG2IMG, body))
    requested = Generation.objects.get().requested_settings.settings
    assert requested == {
        "prompt": "a lawn",
        **{"strength": 0.75, "mask_blur": 4, "masked_content": "fill"},  # as in the service
    }


def test_networks_in_a_prompt_are_used_or_listed(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    prompt = "a <lora:Ink.safetensors> lawn <lora:other:1> <hypernet:x:1>"
    answer = painted(post(alices_program, IMG2IMG, {**body, "prompt": prompt}))
    assert engine[0].settings.loras == (LoraUse("ink", 1.0),)
    assert engine[0].settings.prompt == "a  lawn"
    assert answer["meta"]["ignored"] == ["prompt.lora"]
    assert any("other is not installed" in warning for warning in answer["meta"]["warnings"])
    assert "<lora:ink:1>" in answer["info"]["infotexts"][0]
    painted(post(alices_program, IMG2IMG, {**body, "prompt": "<lora:ink:9>"}))
    assert engine[1].settings.loras == (LoraUse("ink", 2.0),)
    check_error(post(alices_program, IMG2IMG, {**body, "prompt": "<lora:ink:nan>"}), 400)


def test_an_embedding_is_used_where_a_word_names_it(
    alices_program: Client,
    engine: list[InpaintRequest],
    body: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_embeddings.allow(monkeypatch)
    tiny_embeddings.saved(tmp_path / "cat.safetensors")
    add_model("cat", tmp_path / "cat.safetensors", "--kind", "embedding")
    painted(post(alices_program, IMG2IMG, {**body, "prompt": "a Cat", "negative_prompt": "cats"}))
    assert engine[0].settings.embeddings == ("cat",)
    assert (engine[0].settings.prompt, engine[0].settings.negative_prompt) == ("a <cat>", "cats")
    assert list(alices_program.get("/sdapi/v1/embeddings").json()["loaded"]) == ["cat"]


@pytest.mark.parametrize("name", AUTOMATIC1111_SAMPLERS)
def test_every_listed_sampler_is_used(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any], name: str
) -> None:
    answer = painted(post(alices_program, IMG2IMG, {**body, "sampler_name": name}))
    assert (engine[0].settings.scheduler, answer["info"]["sampler_name"]) == (WEB_UI_SAMPLERS[name].scheduler, name)


def test_samplers_are_found_by_their_names() -> None:
    assert find_sampler("dpm++ 2m karras") == ("DPM++ 2M", "Karras")
    assert find_sampler("k_euler_a") == ("Euler a", "")
    for name in ("", "Karras", "DPM fast", "Euler Exponential"):
        with pytest.raises(InvalidRequest):
            find_sampler(name)


def test_a_control_image_of_another_preprocessor_is_used_as_it_is(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any], hole: NDArray[np.uint8]
) -> None:
    unit = {"model": "depth", "module": "depth_midas", "input_image": encoded(png(hole)), "pixel_perfect": True}
    units = [unit, {"enabled": False, "model": "x"}]
    for path, sent in ((IMG2IMG, body), (TXT2IMG, {"width": 96, "height": 64})):
        answer = painted(post(alices_program, path, {**sent, "alwayson_scripts": {"ControlNet": {"args": units}}}))
        assert [use.slug for use in engine[-1].settings.control_uses] == ["depth"]
        assert engine[-1].conditioning_images["control_image"].size == engine[-1].image.size
        assert answer["meta"]["ignored"] == ["alwayson_scripts.controlnet.module"]


def test_without_a_mask_the_whole_image_is_repainted_at_the_size_that_was_sent(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    answer = painted(post(alices_program, IMG2IMG, {**body, "mask": None, "width": 128, "height": 64}))
    assert image_of(answer["images"][0]).size == (128, 64)
    assert engine[0].mask.min() == 255
    assert (engine[0].settings.strength, engine[0].settings.mask_blur) == (0.75, 0)


def test_fields_of_enlarging_that_do_nothing_are_listed(alices_program: Client, photo_png: bytes) -> None:
    sent = {"gfpgan_visibility": 1, "codeformer_visibility": 0.5, "extras_upscaler_2_visibility": 1}
    assert sent.keys() <= ExtrasBody.model_fields.keys()
    body = {"image": encoded(photo_png), "upscaler_1": "lanczos", "upscaling_resize": 1.5, **sent}
    assert set(post(alices_program, "/sdapi/v1/extra-single-image", body).json()["meta"]["ignored"]) == sent.keys()
