"""Every field of FooocusAPI: it works, or is ignored and listed, and an invalid value is refused with its error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pytest_django import Settings

from inpainting.api.compat.fooocus.body import GenerateBody
from inpainting.core.request import InpaintRequest, LoraUse
from inpainting.generations import submit
from inpainting.models import Generation, Lora
from tests.compat.fooocus import base64_of, post, stored_mask, task_of
from tests.conftest import png
from tests.support import fake_diffusion
from tests.support.strategies import examples

pytestmark = pytest.mark.django_db(transaction=True)

OTHER_MASK = np.zeros((64, 96), np.uint8)
OTHER_MASK[4:8, 4:8] = 255
Effect = Callable[[InpaintRequest, dict[str, Any]], object]
"""What a field did to the request that the engine received, and to the task."""

WORKS: dict[str, tuple[Any, Effect]] = {
    "prompt": ("a lawn", lambda request, task: request.settings.prompt.startswith("a lawn, fine detail")),
    "negative_prompt": ("mud", lambda request, task: request.settings.negative_prompt.startswith("mud, blurry")),
    "inpaint_additional_prompt": ("a ball", lambda request, task: request.settings.prompt.startswith("a ball, ")),
    "style_selections": (["SAI Anime"], lambda request, task: request.settings.prompt.startswith("anime illustr")),
    "performance_selection": ("Quality", lambda request, task: request.settings.steps == 60),
    "overwrite_step": (7, lambda request, task: request.settings.steps == 7),
    "image_number": (2, lambda request, task: len(task["result"]) == 2),
    "image_seed": (77, lambda request, task: request.settings.seed == task["req_params"]["image_seed"] == 77),
    "output_format": ("webp", lambda request, task: task["result"][0].endswith(".webp")),
    "save_name": ("oak", lambda request, task: task["result"][0].endswith("/oak-1.png")),
    "guidance_scale": (9, lambda request, task: request.settings.guidance_scale == 9),
    "base_model_name": ("tiny", lambda request, task: request.settings.model == task["meta"]["model"] == "tiny"),
    "loras": (
        [{"enabled": True, "model_name": "styles/Ink.safetensors", "weight": -0.5}],
        lambda request, task: request.settings.loras == (LoraUse("ink", -0.5),),
    ),
    "vae_name": ("small", lambda request, task: request.settings.vae == "small"),
    "sampler_name": (
        "dpmpp_2m_sde_gpu",
        lambda request, task: (
            (request.settings.scheduler, request.settings.algorithm_type)
            == ("DPMSolverMultistepScheduler", "sde-dpmsolver++")
        ),
    ),
    "scheduler_name": ("karras", lambda request, task: request.settings.use_karras_sigmas is True),
    "clip_skip": (3, lambda request, task: request.settings.clip_skip == 3),
    "inpaint_input_image": (base64_of(png(np.zeros((64, 96, 3), np.uint8))), lambda request, task: request),
    "inpaint_mask_image_upload": (
        base64_of(png(OTHER_MASK)),
        lambda request, task: np.array_equal(stored_mask(), OTHER_MASK),
    ),
    "inpaint_strength": (0.25, lambda request, task: request.settings.strength == 0.25),
    "inpaint_respective_field": (1.0, lambda request, task: request.settings.only_masked_padding == 38),
    "inpaint_erode_or_dilate": (2, lambda request, task: stored_mask()[18, 50] == 255),
    "outpaint_selections": (["Top"], lambda request, task: stored_mask().shape == (64 + 21, 96)),
    "stream_output": (False, lambda request, task: task["task_status"] == "finished"),
    "async_process": (False, lambda request, task: task["task_status"] == "finished"),
    "webhook_url": (
        "https://hooks.example/done",
        lambda request, task: task["webhook_url"] == "https://hooks.example/done",
    ),
    "disable_preview": (True, lambda request, task: task["req_params"]["disable_preview"]),
    "uov_method": ("Disabled", lambda request, task: True),
}
IMAGE_PROMPT = {"cn_img": base64_of(png(np.full((5, 7, 3), 9, np.uint8))), "cn_weight": 0.3}
IGNORED: dict[str, Any] = {
    "aspect_ratios_selection": "64*128",  # has an effect in text-to-image, see test_fooocus.py
    "overwrite_width": 64,
    "overwrite_height": 64,
    "outpaint_distance": [1, 2, 3, 4],  # for sides that are not selected
    "adaptive_cfg": 5,
    "adm_scaler_end": 0.5,
    "adm_scaler_negative": 1,
    "adm_scaler_positive": 1,
    "canny_high_threshold": 200,
    "canny_low_threshold": 10,
    "controlnet_image": [{"cn_img": "abc", "cn_type": "CPDS"}],
    "controlnet_softness": 0.5,
    "current_tab": "inpaint",
    "debugging_cn_preprocessor": True,
    "debugging_dino": True,
    "debugging_enhance_masks_checkbox": True,
    "debugging_inpaint_preprocessor": True,
    "dino_erode_or_dilate": 3,
    "disable_intermediate_results": True,
    "disable_seed_increment": True,
    "enhance_checkbox": True,
    "enhance_ctrls": [{"enhance_enabled": True}],
    "enhance_input_image": "abc",
    "enhance_uov_method": "Upscale (2x)",
    "enhance_uov_processing_order": "After Last Enhancement",
    "enhance_uov_prompt_type": "Last Filled Enhancement Prompts",
    "freeu_b1": 2,
    "freeu_b2": 2,
    "freeu_enabled": True,
    "freeu_s1": 2,
    "freeu_s2": 2,
    "generate_image_grid": True,
    "inpaint_advanced_masking_checkbox": True,
    "inpaint_disable_initial_latent": True,
    "inpaint_engine": "v1",
    "input_image_checkbox": True,
    "invert_mask_checkbox": True,
    "metadata_scheme": "a1111",
    "mixing_image_prompt_and_inpaint": True,
    "mixing_image_prompt_and_vary_upscale": True,
    "overwrite_switch": 3,
    "overwrite_upscale_strength": 0.5,
    "overwrite_vary_strength": 0.5,
    "preset": "anime",
    "read_wildcards_in_order": True,
    "refiner_model_name": "refiner.safetensors",
    "refiner_swap_method": "vae",
    "refiner_switch": 0.8,
    "require_base64": True,
    "save_metadata_to_images": False,
    "sharpness": 9,
    "skipping_cn_preprocessor": True,
    "uov_input_image": "abc",
    "upscale_multiple": 2,
}
LOWERED_OR_UNKNOWN: dict[str, Any] = {
    "image_number": 9,
    "clip_skip": 12,
    "guidance_scale": 30,
    "overwrite_step": 500,
    "style_selections": ["An unknown style"],
    "loras": [{"enabled": True, "model_name": "missing.safetensors"}],
    "vae_name": "missing.safetensors",
    "sampler_name": "dpmpp_3m_sde",
    "scheduler_name": "align_your_steps",
    "performance_selection": "Lightning",
    "image_seed": 0,
}
REFUSED: dict[str, tuple[Any, str]] = {
    "prompt": (None, "string_type"),
    "negative_prompt": (3, "string_type"),
    "inpaint_additional_prompt": ("a" * 10_001, "string_too_long"),
    "style_selections": ("SAI Anime", "list_type"),
    "performance_selection": ("Fast", "enum"),
    "overwrite_step": ("x", "int_parsing"),
    "aspect_ratios_selection": (None, "string_type"),
    "overwrite_width": (2049, "less_than_equal"),
    "overwrite_height": (-2, "greater_than_equal"),
    "image_number": (33, "less_than_equal"),
    "image_seed": (0.5, "int_from_float"),
    "output_format": ("gif", "enum"),
    "save_name": (None, "string_type"),
    "guidance_scale": (31, "less_than_equal"),
    "base_model_name": (None, "string_type"),
    "loras": ([{"enabled": True}], "missing"),
    "vae_name": (1, "string_type"),
    "sampler_name": (1, "string_type"),
    "scheduler_name": (1, "string_type"),
    "clip_skip": (13, "less_than_equal"),
    "inpaint_input_image": (5, "string_type"),
    "inpaint_mask_image_upload": ({}, "string_type"),
    "inpaint_strength": (-0.1, "greater_than_equal"),
    "inpaint_respective_field": (1.1, "less_than_equal"),
    "inpaint_erode_or_dilate": (65, "less_than_equal"),
    "outpaint_selections": (["top"], "enum"),
    "outpaint_distance": ([1, 2, 3], "too_short"),
    "stream_output": ("perhaps", "bool_parsing"),
    "async_process": (2, "bool_parsing"),
    "webhook_url": (1, "string_type"),
    "uov_method": ("Upscale", "enum"),
    "disable_preview": (None, "bool_type"),
    "sharpness": (31, "less_than_equal"),
    "refiner_switch": (0, "greater_than_equal"),
    "metadata_scheme": ("none", "enum"),
    "controlnet_image": ([{"cn_type": "Depth"}], "enum"),
    "uov_input_image": (1, "string_type"),
}


@pytest.fixture
def engine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """The requests that the diffusion engine received. A tiny model, a LoRA and a VAE of its family are installed."""
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models_and_adapters(tmp_path)
    return fake_diffusion.record_requests(monkeypatch)


@pytest.fixture
def body(photo_png: bytes, hole: Any) -> dict[str, Any]:
    return {"inpaint_input_image": base64_of(photo_png), "inpaint_mask_image_upload": base64_of(png(hole))}


def test_the_tables_have_every_field() -> None:
    assert WORKS.keys() | IGNORED.keys() == GenerateBody.model_fields.keys() - {"black_out_nsfw"}


def test_every_field_works(alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]) -> None:
    for name, (value, has_effect) in WORKS.items():
        task = task_of(post(alices_program, {**body, name: value}))
        assert has_effect(engine[-1], task), name
        assert task["meta"]["ignored"] == [], name


def test_a_respective_field_is_used_where_it_is_sent_also_as_its_default(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    for sent in ({}, {"inpaint_respective_field": 0.618}, {"inpaint_respective_field": 0.619}):
        post(alices_program, {**body, **sent})
    paddings = [request.settings.only_masked_padding for request in engine]
    assert paddings[0] is None
    assert paddings[1] is not None
    assert paddings[1:] == [paddings[1]] * 2


def test_black_out_nsfw_needs_the_safety_checker(alices_program: Client, body: dict[str, Any]) -> None:
    response = post(alices_program, {**body, "black_out_nsfw": True})
    assert response.status_code == 400
    assert "safety checker" in response.json()["detail"]


def test_fields_without_effect_are_listed(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    response = post(alices_program, {**body, **IGNORED})
    assert set(task_of(response)["meta"]["ignored"]) == IGNORED.keys()
    assert set(response["X-DreamLayer-Ignored"].split(", ")) == IGNORED.keys()
    assert set(Generation.objects.get().ignored_fields) == IGNORED.keys()
    defaults = GenerateBody().model_dump(mode="json", include=IGNORED.keys() - {"base_model_name"})
    assert task_of(post(alices_program, {**body, **defaults}))["meta"]["ignored"] == []


def test_values_without_effect_are_listed(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    for name, value in LOWERED_OR_UNKNOWN.items():
        task = task_of(post(alices_program, {**body, name: value}))
        assert (task["meta"]["ignored"], len(task["meta"]["warnings"])) == ([name], 1), name


@pytest.mark.parametrize("name", REFUSED)
def test_an_invalid_value_is_refused(alices_program: Client, body: dict[str, Any], name: str) -> None:
    value, kind = REFUSED[name]
    response = post(alices_program, {**body, name: value})
    (error,) = response.json()["detail"]
    assert (response.status_code, error["type"], error["loc"][:2]) == (422, kind, ["body", name])
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("sent", "listed"),
    [
        ({}, []),
        ({"cn_weight": 1.5, "cn_stop": 0.2}, ["controlnet_image.cn_stop", "controlnet_image.cn_weight"]),
        ({"cn_type": "CPDS"}, ["controlnet_image", "mixing_image_prompt_and_inpaint"]),
        ({"cn_type": "FaceSwap"}, ["controlnet_image", "mixing_image_prompt_and_inpaint"]),
    ],
)
def test_a_control_image_is_the_image_prompt_of_an_installed_adapter(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any], sent: dict[str, Any], listed: list[str]
) -> None:
    prompts = {"controlnet_image": [{**IMAGE_PROMPT, **sent}], "mixing_image_prompt_and_inpaint": True}
    task = task_of(post(alices_program, {**body, **prompts}))
    assert task["meta"]["ignored"] == listed
    (request,) = engine
    if "cn_type" in sent:
        assert (request.settings.ip_adapter, request.conditioning_images.get("ip_adapter_image")) == (None, None)
    else:
        assert (request.settings.ip_adapter, request.settings.ip_adapter_scale) == ("look", 1 if sent else 0.3)
        assert request.conditioning_images["ip_adapter_image"].pixels.shape == (5, 7, 3)


def test_inpainting_reads_control_images_only_where_they_are_mixed(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    prompts: dict[str, Any] = {"controlnet_image": [IMAGE_PROMPT, IMAGE_PROMPT]}
    assert task_of(post(alices_program, {**body, **prompts}))["meta"]["ignored"] == ["controlnet_image"]
    drawn = task_of(post(alices_program, {**prompts, "prompt": "a lawn", "overwrite_width": 64}))
    assert drawn["meta"]["ignored"] == []
    assert [len(request.settings.ip_adapters) for request in engine] == [0, 2]


def test_up_to_four_control_images_are_image_prompts(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    """Images of other types are left out, and do not count."""

    def canonical(value: int, **more: Any) -> dict[str, Any]:
        return {"cn_img": base64_of(png(np.full((5, 7, 3), value, np.uint8))), **more}

    prompts = [
        canonical(10, cn_weight=0.3),
        canonical(20, cn_type="PyraCanny"),
        canonical(30, cn_weight=1.5),
        canonical(40),
        {"cn_img": ""},
        canonical(50),
        canonical(60),
    ]
    task = task_of(post(alices_program, {**body, "controlnet_image": prompts, "mixing_image_prompt_and_inpaint": True}))
    (request,) = engine
    assert [use.scale for use in request.settings.ip_adapters] == [0.3, 1.0, 0.6, 0.6]
    assert [int(image.pixels[0, 0, 0]) for image in request.conditioning_images.values()] == [10, 30, 40, 50]
    assert task["meta"]["ignored"] == ["controlnet_image", "controlnet_image.cn_weight"]
    assert "controlnet_image: no adapter for PyraCanny is installed for the model." in task["meta"]["warnings"]
    assert "controlnet_image: only its first 4 image prompts were used." in task["meta"]["warnings"]


def test_a_fast_performance_uses_the_lora_of_its_kind(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any]
) -> None:
    Lora.objects.update(kind="lightning")
    task = task_of(post(alices_program, {**body, "performance_selection": "Lightning"}))
    assert (engine[0].settings.steps, engine[0].settings.loras) == (4, (LoraUse("ink", 1.0),))
    assert task["meta"]["ignored"] == []


@pytest.mark.parametrize("name", ["juggernautXL_v8Rundiffusion.safetensors", "sdxl", "None", ""])
def test_a_model_that_is_not_installed_leaves_the_choice_to_the_server(
    alices_program: Client, engine: list[InpaintRequest], body: dict[str, Any], name: str
) -> None:
    task = task_of(post(alices_program, {**body, "base_model_name": name, "prompt": "a lawn"}))
    assert (task["meta"]["engine"], task["meta"]["ignored"]) == (
        "diffusion",
        ["base_model_name"] if "s" in name else [],
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=9), children, max_size=3),
    max_leaves=6,
)


@hypothesis.settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=st.dictionaries(st.sampled_from(sorted(GenerateBody.model_fields)), JSON, max_size=4))
def test_no_body_is_answered_with_an_internal_error(
    sent: dict[str, Any], bodies: tuple[Client, dict[str, Any]]
) -> None:
    client, body = bodies
    response = post(client, {**body, **sent})
    assert response.status_code in (200, 400, 422, 501, 503), response.content


@pytest.fixture
def bodies(
    alices_program: Client, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Client, dict[str, Any]]:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: None)
    return alices_program, {**body, "async_process": True}
