"""The preset `draft`: a name for an LCM LoRA, its few steps and a tiny VAE."""

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
from inpainting.core.codecs import decode_picture
from inpainting.core.settings_table import MAX_LORAS
from inpainting.models import Generation, InferenceModel, Lora
from tests import tiny_loras, tiny_models, tiny_vaes
from tests.api.painting import result, sent
from tests.catalogued import add_lora, add_model

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
    """A tiny model, an LCM LoRA, and two VAEs, of which one is a tiny one."""
    add_model("tiny", files / "tiny", width=64, height=64, steps=3)
    for vae in ("own", "rough"):
        add_model(vae, files / vae, "--kind", "vae")
    add_lora("quick", files / "lcm.safetensors", "--kind", "lcm")


@pytest.mark.usefixtures("everything")
def test_a_draft_is_what_it_stands_for_and_says_so(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    sent(alices_program, photo_png, mask_png)
    full = result()
    told = sent(alices_program, photo_png, mask_png, preset="draft")["metadata"]
    draft = result()
    named = {"loras": json.dumps([{"slug": "quick"}]), "vae": "rough", "steps": "4", "guidance_scale": "1"}
    sent(alices_program, photo_png, mask_png, scheduler="LCMScheduler", **named)
    assert np.array_equal(draft, result())
    assert not np.array_equal(draft, full)
    assert (told["preset"], told["vae"], told["steps"]) == ("draft", "rough", 4)
    assert (told["guidance_scale"], told["scheduler"]) == (1, "LCMScheduler")
    assert told["loras"] == [{"slug": "quick", "weight": 1.0}]
    assert told["results"][0]["outside_mask_changed_pixels"] == 0


@pytest.mark.usefixtures("everything")
def test_what_is_said_beside_it_counts_more(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    loras = json.dumps([{"slug": "quick", "weight": 0.5}])
    body = {"preset": "draft", "steps": "2", "vae": "own", "loras": loras}
    told = sent(alices_program, photo_png, mask_png, **body)["metadata"]
    assert (told["steps"], told["vae"], told["loras"]) == (2, "own", [{"slug": "quick", "weight": 0.5}])


@pytest.mark.usefixtures("everything")
def test_what_is_missing_is_named(
    alices_program: Client, alice: User, client: Client, photo_png: bytes, mask_png: bytes
) -> None:
    client.force_login(alice)
    offered = client.get("/").context["models"]
    assert offered[0]["draft"] == {"steps": 4, "guidance_scale": 1.0, "scheduler": "LCMScheduler"}
    InferenceModel.objects.filter(slug="rough").update(enabled=False)
    told = sent(alices_program, photo_png, mask_png, preset="draft")
    assert (told["code"], told["field"]) == ("preset_unavailable", "preset")
    assert "tiny VAE" in told["message"]
    assert "LoRA" not in told["message"]
    Lora.objects.all().delete()
    assert "kind lcm" in sent(alices_program, photo_png, mask_png, preset="draft")["message"]
    assert client.get("/").context["models"][0]["draft"] is None
    assert sent(alices_program, photo_png, mask_png, preset="rough")["status"] == "error"


@pytest.mark.usefixtures("everything")
def test_the_command_line_drafts_the_same(
    alices_program: Client, photo_png: bytes, mask_png: bytes, tmp_path: Path
) -> None:
    sent(alices_program, photo_png, mask_png, preset="draft")
    paths = [tmp_path / name for name in ("photo.png", "mask.png", "out.png")]
    paths[0].write_bytes(photo_png)
    paths[1].write_bytes(mask_png)
    words = ("--prompt", "a stone path", "--strength", "1", "--seed", "3", "--preset", "draft")
    call_command("inpaint", str(paths[0]), str(paths[1]), "-o", str(paths[2]), *words, stderr=StringIO())
    assert np.array_equal(np.asarray(decode_picture(paths[2].read_bytes()).picture.pixels), result())


def again(client: Client, **changes: Any) -> dict[str, Any]:
    """Run the newest generation again, in this thread; its metadata."""
    generation = Generation.objects.latest("created_at")
    answer = client.post(f"/api/generations/{generation.pk}/run-again/", changes, content_type="application/json")
    assert answer.status_code == 202, answer.json()
    told: dict[str, Any] = client.get(f"/api/generations/{answer.json()['id']}/").json()["metadata"]
    return told


@pytest.mark.usefixtures("everything")
def test_running_again_starts_from_the_requested_settings_and_not_from_the_resolved_ones(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    sent(alices_program, photo_png, mask_png, guidance_scale="6")
    draft = again(alices_program, preset="draft")
    assert (draft["steps"], draft["guidance_scale"], draft["vae"]) == (4, 6, "rough")
    assert draft["requested"]["preset"] == "draft"
    assert "steps" not in draft["requested"]
    full = again(alices_program, preset="full")
    assert (full["steps"], full["guidance_scale"], full["loras"]) == (3, 6, [])
    assert not {"preset", "vae"} & set(full)
    assert full["seed"] == draft["seed"] == 3


@pytest.mark.usefixtures("everything")
def test_its_lora_works_whatever_weight_is_said_and_counts_among_the_most(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    idle = json.dumps([{"slug": "quick", "weight": 0}])
    told = sent(alices_program, photo_png, mask_png, preset="draft", loras=idle)["metadata"]
    assert (told["loras"], told["steps"]) == ([{"slug": "quick", "weight": 1.0}], 4)
    many = json.dumps([{"slug": f"lora-{number}"} for number in range(MAX_LORAS)])
    refused = sent(alices_program, photo_png, mask_png, preset="draft", loras=many)
    assert (refused["code"], refused["limit"]) == ("field_out_of_range", MAX_LORAS - 1)
