"""Every field of the published ModelsLab request: it changes the result, or is listed as ignored, or is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="diffusion is not installed")

from numpy.typing import NDArray

from inpainting import families
from inpainting.core.settings_table import SCHEDULERS
from inpainting.models import Generation, InferenceModel
from tests.compat.modelslab import INPAINT, NEEDED, REFUSED, VALUES, encoded, error, post, success, white_repaints
from tests.support import tiny_adapters, tiny_checker, tiny_loras, tiny_models, tiny_vaes
from tests.support.catalog_entries import add_lora, add_model

pytestmark = pytest.mark.django_db(transaction=True)

WORKS, IGNORED, TAKEN, SILENT = "works", "ignored", "taken", "silently ignored"
WITHOUT_EFFECT_ON_RESULT = {"algorithm_type", "base64", "temp", "webhook", "track_id"}
"""Fields that change the answer or notify; dpmsolver+++ is what the scheduler does anyway."""
ALWAYS_READ = {
    "init_image",
    "mask_image",
    "width",
    "height",
    "samples",
    "safety_checker",
    "safety_checker_type",
    "seed",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny_models.saved(folder / "sd")
    tiny_models.saved(folder / "flux-fill", "flux-fill")
    tiny_checker.saved(folder / "safety-checker", tiny_checker.suspicious())
    pipeline = tiny_models.sd(folder / "words")
    tiny_loras.saved(folder / "ink.safetensors", tiny_loras.weights(pipeline, seed=0))
    tiny_vaes.saved(folder / "soft")
    tiny_adapters.saved_adapter(folder / "look", "sd", tiny_adapters.adapter(pipeline.unet))
    return folder


@pytest.fixture
def models(files: Path, models_dir: Path) -> None:
    """Two models of one family, the second with few steps; a LoRA, a VAE, an IP-Adapter and a safety checker for it."""
    for slug, steps in (("tiny", 3), ("tiny-other", 4)):
        add_model(slug, files / "sd", width=64, height=64, steps=steps)
    add_model("tiny-checker", files / "safety-checker", family="safety-checker")
    add_lora("ink", files / "ink.safetensors")
    add_model("soft", files / "soft", "--kind", "vae")
    InferenceModel.objects.filter(slug="ip-adapter_sd15").delete()
    add_model("ip-adapter_sd15", files / "look", "--kind", "ip-adapter")


@pytest.fixture
def body(alices_key: str, photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "key": alices_key,
        "model_id": "tiny",
        "init_image": encoded(photo_png),
        "mask_image": encoded(white_repaints(hole)),
        "prompt": "a stone path",
        "width": 256,
        "height": 256,
        "seed": 7,
        "num_inference_steps": 3,
    }


class Caller:
    """Sends requests; digests of results without the tested field are cached."""

    def __init__(
        self, body: dict[str, Any], photo_png: bytes, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
    ) -> None:
        self.body = body
        self.images = {
            "IMAGE": encoded(photo_png),
            "OTHER IMAGE": encoded(white_repaints(255 - photo[:, :, 0])),
            "OTHER MASK": encoded(white_repaints(hole[::-1])),
        }
        self.without: dict[str, str] = {}

    def outcome(self, name: str) -> str:
        needed = NEEDED.get(name, {})
        # `steps` is the alias: num_inference_steps precedes it.
        base = {
            key: value
            for key, value in {**self.body, **needed}.items()
            if (key, name) != ("num_inference_steps", "steps")
        }
        key = json.dumps([needed, sorted(base)])
        if key not in self.without:
            self.without[key] = self.digest(self.send(base))
        answer = self.send({**base, name: VALUES[name]})
        is_ignored = name in answer["meta"]["ignored"]
        is_other = self.digest(answer) != self.without[key]
        if is_ignored:
            return f"{IGNORED}, and yet it changes the image" if is_other else IGNORED
        if name in WITHOUT_EFFECT_ON_RESULT:
            return TAKEN
        return WORKS if is_other else SILENT

    def send(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return success({name: self.images.get(str(value), value) for name, value in body.items()})

    def digest(self, answer: Mapping[str, Any]) -> str:
        images = Generation.objects.get(number=answer["id"]).images.all()
        return hashlib.sha256(b"".join(image.read().pixels.tobytes() for image in images)).hexdigest()


@pytest.fixture
def caller(body: dict[str, Any], photo_png: bytes, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> Caller:
    return Caller(body, photo_png, photo, hole)


@pytest.mark.usefixtures("models")
def test_no_field_is_silently_ignored_by_a_model(caller: Caller) -> None:
    seen = {name: caller.outcome(name) for name in VALUES}
    expected = {name: TAKEN if name in WITHOUT_EFFECT_ON_RESULT else WORKS for name in VALUES}
    # Equal weights; `meta.model` shows the choice.
    assert seen == {**expected, "model_id": SILENT}
    assert caller.send({**caller.body, "model_id": "tiny-other"})["meta"]["model"] == "tiny-other"


def test_every_field_without_effect_on_quick_fill_is_listed(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.compat.test_modelslab_fields.NEEDED", {})
    caller.body["model_id"] = "v51_inpainting"
    not_installed = {"vae", "lora_model", "ip_adapter_id", "safety_checker"}
    seen = {name: caller.outcome(name) for name in VALUES.keys() - {*not_installed, "model_id"}}
    taken = WITHOUT_EFFECT_ON_RESULT - {"algorithm_type"}
    always_read = ALWAYS_READ - {*not_installed, "safety_checker_type"}  # The safety checker is off.
    assert {name for name, outcome in seen.items() if outcome == WORKS} == always_read
    assert {name for name, outcome in seen.items() if outcome == TAKEN} == taken
    assert {name for name, outcome in seen.items() if outcome == IGNORED} == seen.keys() - always_read - taken


@pytest.mark.usefixtures("models")
def test_a_value_that_is_not_allowed_is_a_400(body: dict[str, Any]) -> None:
    def message(name: str, value: Any) -> str:
        sent = {**body, "lora_model": "ink", name: value}
        if name == "steps":
            del sent["num_inference_steps"]
        return error(post(INPAINT, sent), 400)

    wrong = [
        (name, value, message(name, value))
        for name, value, start in REFUSED
        if not message(name, value).startswith(start)
    ]
    assert wrong == []
    assert not Generation.objects.exists()


def test_every_field_has_a_value_that_is_refused() -> None:
    assert {name for name, _, _ in REFUSED} == VALUES.keys() - {"init_image", "mask_image"}  # see test_modelslab


@pytest.mark.usefixtures("models")
def test_every_published_scheduler_is_used(body: dict[str, Any]) -> None:
    metas = [success({**body, "scheduler": name})["meta"] for name in SCHEDULERS]
    assert [meta["scheduler"] for meta in metas] == list(SCHEDULERS)
    assert len(SCHEDULERS) == 18
    assert {(meta["engine"], *meta["ignored"]) for meta in metas} == {("diffusion",)}


@pytest.mark.usefixtures("models")
def test_several_loras_have_their_own_strengths(body: dict[str, Any], files: Path) -> None:
    add_lora("wool", files / "ink.safetensors")

    def strengths(**fields: Any) -> tuple[str, str]:
        meta = success({**body, **fields})["meta"]
        return meta["lora_model"], meta["lora_strength"]

    assert strengths(lora_model="ink, wool", lora_strength="0.5,0.25") == ("ink,wool", "0.5,0.25")
    assert strengths(lora_model="ink,wool", lora_strength=0.5) == ("ink,wool", "0.5,0.5")
    assert strengths(lora_model="ink,wool") == ("ink,wool", "1.0,1.0")


@pytest.mark.usefixtures("models")
def test_more_than_20_steps_are_capped(body: dict[str, Any]) -> None:
    meta = success({**body, "num_inference_steps": "150"})["meta"]
    assert (meta["steps"], meta["warnings"]) == (20, ["num_inference_steps was 150; 20 was used."])
    del body["num_inference_steps"]
    assert success(body)["meta"]["steps"] == 20
    assert success({**body, "steps": "31"})["meta"]["steps"] == 20
    assert success({**body, "steps": "3", "num_inference_steps": 2})["meta"]["steps"] == 2


@pytest.mark.usefixtures("models")
def test_an_adapter_image_without_its_adapter_is_listed(body: dict[str, Any]) -> None:
    meta = success({**body, "ip_adapter_image": body["init_image"], "ip_adapter_scale": 0.5})["meta"]
    assert set(meta["ignored"]) == {"ip_adapter_image", "ip_adapter_scale"}


@pytest.mark.usefixtures("models")
def test_of_several_vaes_the_first_is_used(body: dict[str, Any], files: Path) -> None:
    add_model("softer", files / "soft", "--kind", "vae")
    meta = success({**body, "vae": "softer,soft"})["meta"]
    assert (meta["vae"], meta["warnings"]) == ("softer", ["A model has one VAE; softer was used."])


@pytest.mark.usefixtures("models")
def test_a_published_model_is_painted_by_the_installed_one_of_its_family(body: dict[str, Any]) -> None:
    meta = success({**body, "model_id": "lazymixv4-inpaint"})["meta"]
    assert (meta["model_id"], meta["model"], meta["engine"]) == ("lazymixv4-inpaint", "tiny", "diffusion")


@pytest.mark.usefixtures("models")
def test_a_scheduler_that_the_family_does_not_support_is_listed(body: dict[str, Any], files: Path) -> None:
    add_model("tiny-flux", files / "flux-fill", family="flux-fill", width=64, height=64, steps=3)
    meta = success({**body, "model_id": "fluxdev", "scheduler": "UniPCMultistepScheduler"})["meta"]
    assert (meta["model"], "scheduler" in meta["ignored"]) == ("tiny-flux", True)
    assert meta["scheduler"] in families.get("flux-fill").schedulers


def test_clip_skip_2_is_the_layer_that_sdxl_is_trained_on(body: dict[str, Any], files: Path, models_dir: Path) -> None:
    tiny_models.saved(files / "sdxl", "sdxl")
    add_model("tiny-sdxl", files / "sdxl", family="sdxl", width=64, height=64, steps=3)
    for sent, layer in (({}, 1), ({"clip_skip": "2"}, 1), ({"clip_skip": 1}, 1), ({"clip_skip": 4}, 3)):
        meta = success({**body, "model_id": "sdxl", **sent})["meta"]
        assert (meta["model"], meta["clip_skip"]) == ("tiny-sdxl", int(sent.get("clip_skip", 2)))
        assert Generation.objects.latest("created_at").settings["clip_skip"] == layer


@pytest.mark.usefixtures("models")
def test_a_flagged_result_is_reported(body: dict[str, Any]) -> None:
    content = success({**body, "safety_checker": "yes"})
    assert content["nsfw_content_detected"] is True
    assert content["meta"]["safety_checker_type"] == "sensitive_content_text"


def test_the_prompt_is_enhanced_unless_it_is_off(body: dict[str, Any]) -> None:
    def painted(prompt: str, **fields: Any) -> str:
        return str(success({**body, "model_id": "sdxl", "prompt": prompt, **fields})["meta"]["prompt"])

    assert painted("a cat, Sharp Focus.") == "a cat, Sharp Focus, highly detailed, natural lighting, high quality"
    assert painted("a cat", enhance_prompt="no") == "a cat"
    assert painted("a cat", enhance_prompt=False) == "a cat"
    assert painted("  ") == "  "
    assert painted("x" * 10_000) == "x" * 10_000
