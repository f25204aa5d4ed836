"""The preset `draft`: an LCM LoRA, its few steps and a tiny VAE."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="diffusion is not installed")

from django.core.management import call_command
from django.test import Client

from accounts.models import User
from inpainting.core.codecs import decode_image
from inpainting.core.settings_table import MAX_LORAS
from inpainting.models import Generation, InferenceModel, Lora
from tests.api.painting import answer_for, result
from tests.support import tiny_loras, tiny_models, tiny_vaes
from tests.support.catalog_entries import add_lora, add_model

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny_models.saved(folder / "tiny")
    tiny_vaes.saved(folder / "own")
    tiny_vaes.saved(folder / "rough", kind="AutoencoderTiny")
    tiny_loras.saved(folder / "lcm.safetensors", tiny_loras.weights(tiny_models.sd(folder / "words"), seed=1))
    return folder


@pytest.fixture
def everything(files: Path, models_dir: Path) -> None:
    """A tiny model, an LCM LoRA, a full VAE and a tiny VAE."""
    add_model("tiny", files / "tiny", width=64, height=64, steps=3)
    for vae in ("own", "rough"):
        add_model(vae, files / vae, "--kind", "vae")
    add_lora("quick", files / "lcm.safetensors", "--kind", "lcm")


@pytest.mark.usefixtures("everything")
def test_a_draft_resolves_to_its_lora_steps_and_vae(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    answer_for(alices_program, photo_png, mask_png)
    full = result()
    content = answer_for(alices_program, photo_png, mask_png, preset="draft")["metadata"]
    draft = result()
    named = {"loras": json.dumps([{"slug": "quick"}]), "vae": "rough", "steps": "4", "guidance_scale": "1"}
    answer_for(alices_program, photo_png, mask_png, scheduler="LCMScheduler", **named)
    assert np.array_equal(draft, result())
    assert not np.array_equal(draft, full)
    assert (content["preset"], content["vae"], content["steps"]) == ("draft", "rough", 4)
    assert (content["guidance_scale"], content["scheduler"]) == (1, "LCMScheduler")
    assert content["loras"] == [{"slug": "quick", "weight": 1.0}]
    assert content["results"][0]["outside_mask_changed_pixels"] == 0


@pytest.mark.usefixtures("everything")
def test_fields_of_the_request_override_the_preset(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    loras = json.dumps([{"slug": "quick", "weight": 0.5}])
    body = {"preset": "draft", "steps": "2", "vae": "own", "loras": loras}
    content = answer_for(alices_program, photo_png, mask_png, **body)["metadata"]
    assert (content["steps"], content["vae"], content["loras"]) == (2, "own", [{"slug": "quick", "weight": 0.5}])


@pytest.mark.usefixtures("everything")
def test_the_error_names_the_missing_part(
    alices_program: Client, alice: User, client: Client, photo_png: bytes, mask_png: bytes
) -> None:
    client.force_login(alice)
    assert client.get("/").context["plan"]["form"]["choices"]["preset"] == ["draft"]
    plan = alices_program.post("/api/plan/", {"preset": "draft"}, content_type="application/json").json()
    usual = {"steps": 4, "guidance_scale": 1.0, "scheduler": "LCMScheduler"}
    assert usual.items() <= plan["form"]["defaults"].items()
    InferenceModel.objects.filter(slug="rough").update(enabled=False)
    content = answer_for(alices_program, photo_png, mask_png, preset="draft")
    assert (content["code"], content["field"]) == ("preset_unavailable", "preset")
    assert "tiny VAE" in content["message"]
    assert "LoRA" not in content["message"]
    Lora.objects.all().delete()
    assert "kind lcm" in answer_for(alices_program, photo_png, mask_png, preset="draft")["message"]
    assert client.get("/").context["plan"]["form"]["choices"]["preset"] == []
    assert answer_for(alices_program, photo_png, mask_png, preset="rough")["status"] == "error"


@pytest.mark.usefixtures("everything")
def test_the_command_line_accepts_the_preset(
    alices_program: Client, photo_png: bytes, mask_png: bytes, tmp_path: Path
) -> None:
    answer_for(alices_program, photo_png, mask_png, preset="draft")
    paths = [tmp_path / name for name in ("photo.png", "mask.png", "out.png")]
    paths[0].write_bytes(photo_png)
    paths[1].write_bytes(mask_png)
    words = ("--prompt", "a stone path", "--strength", "1", "--seed", "3", "--preset", "draft")
    call_command("inpaint", str(paths[0]), str(paths[1]), "-o", str(paths[2]), *words, stderr=StringIO())
    assert np.array_equal(np.asarray(decode_image(paths[2].read_bytes()).image.pixels), result())


def again(client: Client, **changes: Any) -> dict[str, Any]:
    """Run the newest generation again in this thread; return the metadata."""
    generation = Generation.objects.latest("created_at")
    answer = client.post(f"/api/generations/{generation.pk}/run-again/", changes, content_type="application/json")
    assert answer.status_code == 202, answer.json()
    content: dict[str, Any] = client.get(f"/api/generations/{answer.json()['id']}/").json()["metadata"]
    return content


@pytest.mark.usefixtures("everything")
def test_running_again_starts_from_the_requested_settings_and_not_from_the_resolved_ones(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer_for(alices_program, photo_png, mask_png, guidance_scale="6")
    draft = again(alices_program, preset="draft")
    assert (draft["steps"], draft["guidance_scale"], draft["vae"]) == (4, 6, "rough")
    assert draft["requested"]["preset"] == "draft"
    assert "steps" not in draft["requested"]
    full = again(alices_program, preset="full")
    assert (full["steps"], full["guidance_scale"], full["loras"]) == (3, 6, [])
    assert not {"preset", "vae"} & set(full)
    assert full["seed"] == draft["seed"] == 3


@pytest.mark.usefixtures("everything")
def test_the_presets_lora_replaces_an_idle_weight_and_counts_towards_the_limit(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    idle = json.dumps([{"slug": "quick", "weight": 0}])
    content = answer_for(alices_program, photo_png, mask_png, preset="draft", loras=idle)["metadata"]
    assert (content["loras"], content["steps"]) == ([{"slug": "quick", "weight": 1.0}], 4)
    many = json.dumps([{"slug": f"lora-{number}"} for number in range(MAX_LORAS)])
    refused = answer_for(alices_program, photo_png, mask_png, preset="draft", loras=many)
    assert (refused["code"], refused["limit"]) == ("field_out_of_range", MAX_LORAS - 1)
