"""Every field of the native API with every model family: it changes the result, or is listed as ignored, or refused.

The test fails for a field or a family without an entry, and for a field that is ignored without being listed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="diffusion is not installed")
pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

from django.test import Client
from skimage import data

from inpainting import families
from inpainting.api.native.fields import Img2ImgForm
from inpainting.catalog.specs import ControlImageKind
from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import GUIDANCE_SETTINGS, INSERT_SETTINGS
from inpainting.families.declaration import MODERATION
from inpainting.models import Generation, InferenceModel
from tests.api.bodies import shape_a, upload
from tests.conftest import png
from tests.support import (
    tiny_adapters,
    tiny_checker,
    tiny_embeddings,
    tiny_loras,
    tiny_models,
    tiny_networks,
    tiny_vaes,
)
from tests.support.catalog_entries import add_lora, add_model

pytestmark = pytest.mark.django_db(transaction=True)

WORKS, IGNORED, TAKEN, SILENT = "works", "ignored", "taken", "silently ignored"
QUICK_FILL = "quick-fill"
IN_FULL = set(families.generating()) - {"sd"}
"""Families that read the same settings as `sd` or fewer; .ci/full runs them."""
MODELS = [
    pytest.param(name, marks=[pytest.mark.full] * (name in IN_FULL)) for name in [*families.generating(), QUICK_FILL]
]
DIFFUSION_FAMILIES = set(families.names(engine=DIFFUSION))
FILE_FIELDS = {"output_format", "quality", "max_file_kilobytes", "keep_metadata"}
"""Fields of the result files; the pixels of the stored PNG are always the same."""
WITHOUT_EFFECT_ON_RESULT = {"engine", "model", "model_name", "webhook_url", "step_down", *FILE_FIELDS}
WITHOUT_EFFECT_ON_RESULT |= {"include_shadow"}  # nothing casts a shadow here; `test_shadow.py` has one
WITHOUT_EFFECT_ON_RESULT |= {"cache"}  # the few steps here differ too much; `test_first_block_cache.py` lets them pass
WITHOUT_EFFECT_ON_RESULT |= {"max_upscaling"}  # the model sees the whole photo here; `test_windows.py` has a larger one
"""Further fields that choose an engine or a model, or notify the caller, and never change the result."""
IMAGE = "an image"
ALTERNATIVES: dict[str, Any] = {
    "prompt": "an orange cat",
    "negative_prompt": "grass",
    "regions": json.dumps([{"prompt": "a blue boat", "weight": 0.9}]),
    "denoising_strength": "0.4",
    "seed": "8",
    "num_images": "2",
    "output_format": "jpeg",
    "quality": "30",
    "max_file_kilobytes": "1",
    "keep_metadata": "all",
    "steps": "5",
    "guidance_scale": "2.7",
    "guidance_start": "0.3",
    "guidance_end": "0.3",
    "guidance_rescale": "0.5",
    "scheduler": "HeunDiscreteScheduler",
    "sampler_name": "heun",
    "lanpaint_steps": "2",
    "clip_skip": "2",
    "cache": "fast",
    "use_karras_sigmas": "true",
    "algorithm_type": "sde-dpmsolver++",
    "width": "80",
    "height": "128",
    "only_masked_padding": "4",
    "context_factor": "1.1",
    "max_upscaling": "1",
    "tiled": "true",
    "masked_content": "nothing",
    "mask_grow": "3",
    "mask_blur": "6",
    "include_shadow": "true",
    "mask_polarity": "white_repaints",
    "insert_x": "46",
    "insert_y": "33",
    "insert_width": "30",
    "insert_rotation": "40",
    "insert_mode": "start",
    "loras": json.dumps([{"slug": "ink", "weight": 1.5}]),
    "embeddings": json.dumps(["cat"]),
    "vae": "soft",
    "control": "edges",
    "control_strength": "0.5",
    "control_start": "0.1",
    "control_end": "0.9",
    "control_type": "inpaint",
    "ip_adapters": json.dumps([{"slug": "look"}, {"slug": "look", "scale": 0.5}]),
    "controls": json.dumps([{"slug": "edges"}, {"slug": "all", "type": "inpaint", "strength": 0.5}]),
    "ip_adapter": "look",
    "ip_adapter_scale": "0.5",
    "preset": "draft",
    "step_down": "true",
    "safety_checker": "true",
    "safety_checker_type": "black",
    "engine": "auto",
    "model": "MODEL",
    "model_name": "MODEL",
    "outpaint_left": "9",
    "outpaint_top": "9",
    "outpaint_right": "9",
    "outpaint_bottom": "9",
    "outpaint_size": "120x90",
    "outpaint_ratio": "2:1",
    "outpaint_anchor": "left",
    "outpaint_fit": "contain",
    "webhook_url": "https://203.0.114.9/told",
}
"""Field -> a value that differs from what the others have."""
NEEDED_FIELDS: dict[str, dict[str, str]] = {
    "masked_content": {"denoising_strength": "0.5"},
    "safety_checker_type": {"safety_checker": "true"},
    "embeddings": {"prompt": "a <cat>"},
    "regions": {"region_mask": IMAGE},
    **{name: {"insert_image": IMAGE, "denoising_strength": "0.5"} for name in INSERT_SETTINGS},
    **{name: {"output_format": "webp"} for name in ("quality", "max_file_kilobytes")},
    **{name: {"control": "edges"} for name in ("control_strength", "control_start", "control_end")},
    "control_type": {"control": "all"},
    "ip_adapter": {"ip_adapter_image": IMAGE},
    "outpaint_anchor": {"outpaint_size": "120x90"},
    "outpaint_fit": {"outpaint_size": "120x90"},
    "ip_adapter_scale": {"ip_adapter": "look", "ip_adapter_image": IMAGE},
    "ip_adapters": {"ip_adapter_image": IMAGE, "ip_adapter_image_2": IMAGE},
}
"""Further fields that a field needs to have an effect."""
ADAPTER_FIELDS = {"embeddings", "vae", "control", "control_strength", "control_start", "control_end", "ip_adapter"} | {
    "ip_adapter_scale",
    "control_type",
    "controls",
    "ip_adapters",
}
"""Fields that name a VAE or an adapter, or are numbers of one."""


def ignored_settings(family: str) -> frozenset[str]:
    """Settings that change nothing with the tiny model of the family and its defaults."""
    if family not in DIFFUSION_FAMILIES:
        return frozenset()
    known = families.get(family)
    ignored = known.ignored_settings if known.caches_blocks else known.ignored_settings | {"cache"}
    is_guided = InferenceModel.objects.get(slug=f"tiny-{family}").guidance_scale != 1
    return ignored if is_guided else ignored | GUIDANCE_SETTINGS


def expected(field: str, model: str) -> str:
    """The expected outcome. By the rule, fields that only diffusion reads are ignored by all others."""
    others = DIFFUSION_FAMILIES - {"sd"}  # the adapters of this test are for the family sd
    takers = {family for family in DIFFUSION_FAMILIES if families.get(family).max_reference_images}
    exceptions: dict[tuple[str, str], str] = {
        **{("loras", family): "lora_unfit" for family in others},
        **{("preset", family): "preset_unavailable" for family in others},
        **{(name, family): "adapter_unfit" for name in ADAPTER_FIELDS for family in others},
        **{(name, model): IGNORED for name in ignored_settings(model)},
        **{("lanpaint_steps", family): IGNORED for family in ("sd", "sdxl", "flux-fill")},  # these are trained to fill
        # It is the default of models that take no reference images; the place of a reference image is ignored.
        **{("insert_mode", family): SILENT for family in DIFFUSION_FAMILIES - takers},
        **{(name, family): IGNORED for name in INSERT_SETTINGS - {"insert_mode"} for family in takers},
        ("insert_mode", QUICK_FILL): "insert_mode_unfit",
        **{(name, QUICK_FILL): WORKS for name in INSERT_SETTINGS - {"insert_mode"}},
        ("seed", "lama"): IGNORED,
        ("seed", "migan"): IGNORED,
        ("model", QUICK_FILL): IGNORED,
        ("model_name", QUICK_FILL): IGNORED,
    }
    if (field, model) in exceptions:
        return exceptions[field, model]
    if field.startswith(("safety_checker", "outpaint_")):
        return WORKS
    if field in {"mask_polarity", "mask_grow", "mask_blur", "num_images", "seed"}:
        return WORKS
    if field in WITHOUT_EFFECT_ON_RESULT - {"step_down", "max_upscaling", "cache"}:
        return TAKEN
    if model in DIFFUSION_FAMILIES:
        return TAKEN if field in WITHOUT_EFFECT_ON_RESULT else WORKS
    return IGNORED


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny model of each family, and adapters."""
    folder = tmp_path_factory.mktemp("files")
    for family in DIFFUSION_FAMILIES:
        tiny_models.saved(folder / family, family)
    (folder / "lama").write_bytes(tiny_networks.lama())
    (folder / "migan").write_bytes(tiny_networks.migan())
    for family in ("lama", "migan"):
        (folder / family).rename(folder / f"{family}.onnx")
    tiny_checker.saved(folder / "safety-checker", tiny_checker.suspicious())
    tiny_loras.saved(folder / "ink.safetensors", tiny_loras.weights(tiny_models.sd(folder / "words"), seed=0))
    tiny_embeddings.saved(folder / "cat.safetensors")
    tiny_vaes.saved(folder / "soft")
    tiny_vaes.saved(folder / "rough", kind="AutoencoderTiny")
    tiny_adapters.saved_controlnet(folder / "edges", "sd", ControlImageKind.CANNY)
    tiny_adapters.saved_controlnet(folder / "all", "sd", ControlImageKind.UNION, modes=8)
    tiny_adapters.saved_adapter(folder / "look", "sd", tiny_adapters.adapter(tiny_models.sd(folder / "words").unet))
    return folder


@pytest.fixture
def everything(files: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_embeddings.allow(monkeypatch)
    for family in [*families.generating(), *families.names(engine=MODERATION)]:
        origin = files / (f"{family}.onnx" if family in ("lama", "migan") else family)
        add_model(f"tiny-{family}", origin, family=family, width=64, height=64, steps=3)
    add_lora("ink", files / "ink.safetensors")
    add_lora("quick", files / "ink.safetensors", "--kind", "lcm", "--steps", "2")
    for slug, name, *kind in (
        ("cat", "cat.safetensors", "embedding"),
        ("soft", "soft", "vae"),
        ("rough", "rough", "vae"),
        ("edges", "edges", "controlnet", "--control", "canny"),
        ("all", "all", "controlnet", "--control", "union"),
        ("look", "look", "ip-adapter"),
    ):
        add_model(slug, files / name, "--kind", *kind)


class Caller:
    """Send requests to one model or engine; digests of results without the tested field are cached."""

    def __init__(self, client: Client, photo_png: bytes, mask_png: bytes, model: str) -> None:
        self.client, self.images, self.model = client, (photo_png, mask_png), model
        self.base = {"prompt": "a stone path", "denoising_strength": "1", "seed": "7", "engine": QUICK_FILL}
        if model != QUICK_FILL:
            self.base |= {"engine": "auto", "model": f"tiny-{model}"}
        self.without: dict[str, str] = {}

    def outcome(self, field: str) -> str:
        value = self.base.get("model", "tiny-sd") if ALTERNATIVES[field] == "MODEL" else ALTERNATIVES[field]
        needed = NEEDED_FIELDS.get(field, {})
        key = json.dumps(needed, sort_keys=True)
        if key not in self.without:
            without = self.send({**self.base, **needed})
            if without["status"] != "success":
                return str(without["code"])
            self.without[key] = self.digest(without)
        answer = self.send({**self.base, **needed, field: value})
        if answer.get("status") != "success":
            return str(answer["code"])
        name = {"sampler_name": "scheduler", "model_name": "model"}.get(field, field)
        is_ignored = name in answer["metadata"]["ignored"]
        is_other = self.digest(answer) != self.without[key]
        if is_ignored:
            return f"{IGNORED}, and yet it changes the image" if is_other else IGNORED
        if field in WITHOUT_EFFECT_ON_RESULT:
            return TAKEN
        return WORKS if is_other else SILENT

    def send(self, fields: Mapping[str, str]) -> dict[str, Any]:
        sent = {name: upload(self.images[0]) if value is IMAGE else value for name, value in fields.items()}
        answer: dict[str, Any] = self.client.post("/api/img2img", shape_a(*self.images, **sent)).json()
        return answer

    def digest(self, answer: Mapping[str, Any]) -> str:
        """Return a digest of all results."""
        assert answer["status"] == "success", answer
        images = Generation.objects.latest("created_at").images.all()
        return hashlib.sha256(b"".join(image.read().pixels.tobytes() for image in images)).hexdigest()


def test_the_table_has_every_field() -> None:
    assert set(ALTERNATIVES) == set(Img2ImgForm.model_fields)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("everything")
def test_no_field_is_silently_ignored(model: str, alices_program: Client, mask_png: bytes) -> None:
    photo = png(data.chelsea()[100:164, 100:196])  # fur, which quick-fill continues in another way for each seed
    caller = Caller(alices_program, photo, mask_png, model)
    seen = {field: caller.outcome(field) for field in ALTERNATIVES}
    assert seen == {field: expected(field, model) for field in ALTERNATIVES}
