"""Every field of the native API against every family: it changes what is painted, or is said to be ignored, or refused.

The table is whole: a field or a family that is not in it fails the test, and so does one that is silently ignored.
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

from inpainting.api.fields import Img2ImgForm
from inpainting.catalog import families
from inpainting.catalog.specs import Control
from inpainting.models import Generation
from tests import tiny_checker, tiny_embeddings, tiny_loras, tiny_models, tiny_networks, tiny_parts, tiny_vaes
from tests.api.bodies import shape_a, upload
from tests.catalogued import add_lora, add_model

pytestmark = pytest.mark.django_db(transaction=True)

WORKS, IGNORED, TAKEN, SILENT = "works", "ignored", "taken", "silently ignored"
QUICK_FILL = "quick-fill"
PAINTERS = [*families.generating(), QUICK_FILL]
DREAMING = {"sd", "sdxl", "flux-fill"}
BESIDE_PAINTING = {"engine", "model", "model_name", "webhook_url", "step_down"}
"""What changes who paints, or whom is told, and not the picture by the same painter."""
PICTURE = "a picture"
ALTERNATIVES: dict[str, Any] = {
    "prompt": "an orange cat",
    "negative_prompt": "grass",
    "denoising_strength": "0.4",
    "seed": "8",
    "num_images": "2",
    "steps": "5",
    "guidance_scale": "3",
    "guidance_start": "0.3",
    "guidance_end": "0.7",
    "scheduler": "HeunDiscreteScheduler",
    "sampler_name": "heun",
    "clip_skip": "2",
    "use_karras_sigmas": "true",
    "algorithm_type": "sde-dpmsolver++",
    "width": "128",
    "height": "128",
    "only_masked_padding": "4",
    "mask_grow": "3",
    "mask_blur": "6",
    "mask_polarity": "white_repaints",
    "loras": json.dumps([{"slug": "ink", "weight": 1.5}]),
    "embeddings": json.dumps(["cat"]),
    "vae": "soft",
    "control": "edges",
    "control_strength": "0.5",
    "control_start": "0.1",
    "control_end": "0.9",
    "ip_adapter": "look",
    "ip_adapter_scale": "0.5",
    "preset": "draft",
    "step_down": "true",
    "safety_checker": "true",
    "safety_checker_type": "black",
    "engine": "auto",
    "model": "MODEL",
    "model_name": "MODEL",
    "webhook_url": "https://203.0.114.9/told",
}
"""Field -> a value that differs from what the others have."""
BESIDE: dict[str, dict[str, str]] = {
    "safety_checker_type": {"safety_checker": "true"},
    "embeddings": {"prompt": "a <cat>"},
    **{name: {"control": "edges"} for name in ("control_strength", "control_start", "control_end")},
    "ip_adapter": {"ip_adapter_image": PICTURE},
    "ip_adapter_scale": {"ip_adapter": "look", "ip_adapter_image": PICTURE},
}
"""What a field means nothing without."""
WORN = {"embeddings", "vae", "control", "control_strength", "control_start", "control_end", "ip_adapter"} | {
    "ip_adapter_scale"
}
"""Fields that name a part, or are numbers of one."""


def expected(field: str, painter: str) -> str:
    """The table, by the rule: what only diffusion reads is ignored by all others."""
    others = DREAMING - {"sd"}  # what a model may wear is for the family sd here
    exceptions: dict[tuple[str, str], str] = {
        **{("loras", family): "lora_unfit" for family in others},
        **{("preset", family): "preset_unavailable" for family in others},
        **{(name, family): "part_unfit" for name in WORN for family in others},
        **dict.fromkeys(((name, "flux-fill") for name in families.get("flux-fill").ignored_settings), IGNORED),
        ("seed", "lama"): IGNORED,
        ("seed", "migan"): IGNORED,
        ("model", QUICK_FILL): IGNORED,
        ("model_name", QUICK_FILL): IGNORED,
    }
    if (field, painter) in exceptions:
        return exceptions[field, painter]
    if field.startswith("safety_checker") or field in {"mask_polarity", "mask_grow", "mask_blur", "num_images", "seed"}:
        return WORKS
    if field in BESIDE_PAINTING - {"step_down"}:
        return TAKEN
    if painter in DREAMING:
        return TAKEN if field in BESIDE_PAINTING else WORKS
    return IGNORED


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny model of each family, and what it may wear."""
    folder = tmp_path_factory.mktemp("files")
    for family in DREAMING:
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
    tiny_parts.saved_controlnet(folder / "edges", "sd", Control.CANNY)
    tiny_parts.saved_adapter(folder / "look", "sd", tiny_parts.adapter(tiny_models.sd(folder / "words").unet))
    return folder


@pytest.fixture
def everything(files: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_embeddings.allow(monkeypatch)
    for family in families.names():
        origin = files / (f"{family}.onnx" if family in ("lama", "migan") else family)
        add_model(f"tiny-{family}", origin, family=family, width=64, height=64, steps=3)
    add_lora("ink", files / "ink.safetensors")
    add_lora("quick", files / "ink.safetensors", "--kind", "lcm", "--steps", "2")
    for slug, name, *kind in (
        ("cat", "cat.safetensors", "embedding"),
        ("soft", "soft", "vae"),
        ("rough", "rough", "vae"),
        ("edges", "edges", "controlnet", "--control", "canny"),
        ("look", "look", "ip-adapter"),
    ):
        add_model(slug, files / name, "--kind", *kind)


class Caller:
    """Asks one painter, and knows what it paints without a field."""

    def __init__(self, client: Client, photo_png: bytes, mask_png: bytes, painter: str) -> None:
        self.client, self.pictures, self.painter = client, (photo_png, mask_png), painter
        self.base = {"prompt": "a stone path", "denoising_strength": "1", "seed": "7", "engine": QUICK_FILL}
        if painter != QUICK_FILL:
            self.base |= {"engine": "auto", "model": f"tiny-{painter}"}
        self.without: dict[str, str] = {}

    def outcome(self, field: str) -> str:
        value = self.base.get("model", "tiny-sd") if ALTERNATIVES[field] == "MODEL" else ALTERNATIVES[field]
        beside = BESIDE.get(field, {})
        key = json.dumps(beside, sort_keys=True)
        if key not in self.without:
            without = self.ask({**self.base, **beside})
            if without["status"] != "success":
                return str(without["code"])
            self.without[key] = self.painted(without)
        answer = self.ask({**self.base, **beside, field: value})
        if answer.get("status") != "success":
            return str(answer["code"])
        name = {"sampler_name": "scheduler", "model_name": "model"}.get(field, field)
        is_ignored = name in answer["metadata"]["ignored"]
        is_other = self.painted(answer) != self.without[key]
        if is_ignored:
            return f"{IGNORED}, and yet it changes the picture" if is_other else IGNORED
        if field in BESIDE_PAINTING:
            return TAKEN
        return WORKS if is_other else SILENT

    def ask(self, fields: Mapping[str, str]) -> dict[str, Any]:
        sent = {name: upload(self.pictures[0]) if value is PICTURE else value for name, value in fields.items()}
        answer: dict[str, Any] = self.client.post("/api/img2img", shape_a(*self.pictures, **sent)).json()
        return answer

    def painted(self, answer: Mapping[str, Any]) -> str:
        """A digest of all results."""
        assert answer["status"] == "success", answer
        images = Generation.objects.latest("created_at").images.all()
        return hashlib.sha256(b"".join(image.read().pixels.tobytes() for image in images)).hexdigest()


def test_the_table_has_every_field() -> None:
    assert set(ALTERNATIVES) == set(Img2ImgForm().fields)


@pytest.mark.parametrize("painter", PAINTERS)
@pytest.mark.usefixtures("everything")
def test_no_field_is_silently_ignored(painter: str, alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    caller = Caller(alices_program, photo_png, mask_png, painter)
    seen = {field: caller.outcome(field) for field in ALTERNATIVES}
    assert seen == {field: expected(field, painter) for field in ALTERNATIVES}
