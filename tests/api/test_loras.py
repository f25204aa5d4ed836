"""LoRAs in the API: added by an administrator, selected with weights by requests, listed in the metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.management import CommandError
from django.test import Client

from accounts.models import User
from inpainting.catalog.store.lora_store import remove
from inpainting.models import Generation, Lora
from tests.api.bodies import shape_a, shape_b
from tests.api.painting import metadata_for, result
from tests.support import tiny_loras, tiny_models
from tests.support.catalog_entries import add_lora, add_model

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scratch")
    tiny_models.saved(folder / "tiny")
    for seed, slug in enumerate(("ink", "fast")):
        tensors = tiny_loras.weights(tiny_models.sd(folder / "words"), seed=seed)
        tiny_loras.saved(folder / f"{slug}.safetensors", tensors)
    return folder


@pytest.fixture
def loras(scratch: Path, models_dir: Path) -> None:
    """A tiny model and two LoRAs for it."""
    add_model("tiny", scratch / "tiny", width=64, height=64, steps=3)
    add_lora("ink", scratch / "ink.safetensors", "--trigger", "ink drawing", "--label", "Ink")
    add_lora("fast", scratch / "fast.safetensors", "--kind", "lcm", "--steps", "2")


def test_a_lora_changes_the_result_and_is_in_the_metadata(
    alices_program: Client, alice: User, loras: None, photo_png: bytes, mask_png: bytes
) -> None:
    plain = metadata_for(alices_program, photo_png, mask_png)
    assert plain["loras"] == []
    without = result()
    uses = [{"slug": "ink", "weight": 0.8}]
    assert metadata_for(alices_program, photo_png, mask_png, loras=json.dumps(uses))["loras"] == uses
    with_it = result()
    browser = Client()
    browser.force_login(alice)
    page = browser.get(f"/generations/{Generation.objects.latest('created_at').pk}/").content.decode()
    assert "LoRAs" in page
    assert "</code> 0.8" in page
    assert not np.array_equal(with_it, without)
    again = alices_program.post(
        f"/api/generations/{Generation.objects.latest('created_at').pk}/run-again/",
        {"loras": [{"slug": "ink", "weight": 0.2}]},
        content_type="application/json",
    )
    assert again.status_code in (200, 201, 202), again.json()
    assert Generation.objects.latest("created_at").paint_settings.loras[0].weight == 0.2
    assert metadata_for(alices_program, photo_png, mask_png)["loras"] == []
    assert np.array_equal(result(), without)


def test_a_few_step_lora_sets_the_defaults_of_fields_that_are_not_sent(
    alices_program: Client, loras: None, photo_png: bytes, mask_png: bytes
) -> None:
    uses = json.dumps([{"slug": "ink"}, {"slug": "fast", "weight": 1}])
    content = metadata_for(alices_program, photo_png, mask_png, loras=uses)
    assert (content["steps"], content["guidance_scale"], content["scheduler"]) == (2, 1.0, "LCMScheduler")
    content = metadata_for(
        alices_program, photo_png, mask_png, loras=uses, steps="3", guidance_scale="2", sampler_name="euler"
    )
    assert (content["steps"], content["guidance_scale"], content["scheduler"]) == (3, 2.0, "EulerDiscreteScheduler")


@pytest.mark.parametrize(
    ("loras_sent", "code"),
    [
        ([{"slug": "missing"}], "lora_not_found"),
        ([{"slug": "../../etc/passwd"}], "field_invalid"),
        ([{"slug": "ink", "weight": 2.1}], "field_out_of_range"),
        ([{"slug": "ink"}, {"slug": "ink"}], "field_invalid"),
        ([{"slug": f"x{n}"} for n in range(9)], "field_out_of_range"),
        ([{"slug": "ink", "weight": "much"}], "field_invalid"),
        ([{"slug": "ink", "weight": True}], "field_invalid"),
        ([{"slug": "ink", "weight": 10**400}], "field_invalid"),
        ([{"slug": 3}], "field_invalid"),
        ([{"weight": 1}], "field_invalid"),
        ([{"slug": "ink", "strength": 1}], "field_invalid"),
        ({"slug": "ink"}, "field_invalid"),
        (["ink"], "field_invalid"),
        (7, "field_invalid"),
    ],
)
def test_an_invalid_list_of_loras_is_refused(
    alices_program: Client, loras: None, photo_png: bytes, mask_png: bytes, loras_sent: Any, code: str
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, loras=json.dumps(loras_sent)))
    assert (answer.status_code, answer.json()["field"], answer.json()["code"]) == (400, "loras", code)
    if code == "lora_not_found":
        assert "fast, ink" in answer.json()["message"]


def test_malformed_json_is_refused_and_weights_in_params_are_clamped(
    alices_program: Client, loras: None, photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, loras="ink:1"))
    assert (answer.status_code, answer.json()["field"]) == (400, "loras")
    content = alices_program.post("/api/img2img", shape_b(photo_png, mask_png, loras=[{"slug": "ink", "weight": 9}]))
    assert content.json()["metadata"]["loras"] == [{"slug": "ink", "weight": 2.0}]
    assert any("loras[0].weight was 9" in warning for warning in content.json()["metadata"]["warnings"])


def test_a_lora_of_another_family_is_refused_on_submit(
    alices_program: Client, loras: None, photo_png: bytes, mask_png: bytes
) -> None:
    Lora.objects.filter(slug="ink").update(family="sdxl")
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, loras='[{"slug": "ink"}]'))
    assert (answer.status_code, answer.json()["code"]) == (400, "lora_unfit")
    assert "sdxl" in answer.json()["message"]


def test_quick_fill_lists_loras_as_ignored(
    alices_program: Client, loras: None, photo_png: bytes, mask_png: bytes
) -> None:
    content = metadata_for(alices_program, photo_png, mask_png, engine="quick-fill", loras='[{"slug": "ink"}]')
    assert "loras" in content["ignored"]
    assert "loras" not in metadata_for(alices_program, photo_png, mask_png, engine="quick-fill")["ignored"]


def test_loras_are_listed_with_the_models_until_they_are_disabled(alices_program: Client, loras: None) -> None:
    fast, ink = alices_program.get("/api/models").json()["loras"]
    assert (ink["slug"], ink["name"], ink["trigger"], ink["defaults"]) == ("ink", "Ink", "ink drawing", None)
    assert fast["defaults"] == {"steps": 2, "guidance_scale": 1.0, "scheduler": "LCMScheduler"}
    Lora.objects.filter(slug="fast").update(enabled=False)
    assert [entry["slug"] for entry in alices_program.get("/api/models").json()["loras"]] == ["ink"]


def test_a_damaged_file_or_one_of_another_kind_is_not_added(loras: None, scratch: Path, tmp_path: Path) -> None:
    good = tiny_loras.weights(tiny_models.sd(tmp_path / "words"))
    name = next(iter(good))
    nan = tiny_loras.saved(tmp_path / "nan.safetensors", good | {name: good[name] * torch.nan})
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((scratch / "ink.safetensors").read_bytes()[:-8])
    pickle = tmp_path / "mine.pt"
    torch.save(good, pickle)
    double = tiny_loras.saved(tmp_path / "double.safetensors", tiny_loras.weights(tiny_models.sdxl(tmp_path / "more")))
    for file, says in (
        *((nan, "not finite"), (cut, "damaged"), (pickle, "pickle"), (double, "family sdxl")),
        (tmp_path / "nowhere.safetensors", "no file"),
    ):
        with pytest.raises(CommandError, match=says):
            add_lora("new", file)
    for slug in ("../new", "New", ""):
        with pytest.raises(CommandError, match="slug"):
            add_lora(slug, scratch / "ink.safetensors")
    with pytest.raises(CommandError, match="already"):
        add_lora("ink", scratch / "ink.safetensors")
    with pytest.raises(CommandError, match="few steps"):
        add_lora("new", scratch / "ink.safetensors", "--steps", "4")
    home = Lora.objects.get(slug="ink").path.parent
    assert sorted(path.name for path in home.iterdir()) == ["fast.safetensors", "ink.safetensors"]
    assert Lora.objects.count() == 2
    add_lora("double", double, family="sdxl")


def test_removing_a_lora_deletes_its_file(
    alices_program: Client, loras: None, photo_png: bytes, mask_png: bytes
) -> None:
    ink = Lora.objects.get(slug="ink")
    remove(ink)
    assert not ink.path.exists()
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, loras='[{"slug": "ink"}]'))
    assert answer.json()["code"] == "lora_not_found"
