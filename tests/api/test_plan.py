"""`POST /api/plan/`: engine, defaults and ignored settings, without images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from inpainting.core.settings_table import SETTINGS
from inpainting.models import Generation
from tests.support.catalog_entries import add_model
from tests.support.fakes import pretend_installed
from tests.support.hub import tiny_model, written

GUIDED = {"negative_prompt", "guidance_start", "guidance_end", "guidance_rescale"}


@pytest.fixture
def two_models(db: None, monkeypatch: pytest.MonkeyPatch, models_dir: Path, tmp_path: Path) -> None:
    """Model files in the diffusers layout; they are never loaded, because planning needs no torch."""
    pretend_installed(monkeypatch, "torch")
    for slug in ("tiny", "other"):
        add_model(slug, written(tiny_model(), tmp_path / slug))


def plan(program: Client, **fields: Any) -> dict[str, Any]:
    answer = program.post("/api/plan/", fields, content_type="application/json")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_plan_names_the_engine_and_stores_nothing(alices_program: Client) -> None:
    found = plan(alices_program, prompt="a red bus", steps=20)
    assert (found["engine"], found["engine_label"], found["model"]) == ("quick-fill", "Quick fill", None)
    assert "no diffusion model is installed" in found["engine_reason"]
    assert found["ignored"]["steps"] == "Quick fill does not read it."
    assert "num_images" not in found["ignored"]
    assert not Generation.objects.exists()


def test_every_setting_is_resolved_under_its_public_name(alices_program: Client) -> None:
    found = plan(alices_program, denoising_strength=0.5)
    assert found["resolved"].keys() == {row.public_name for row in SETTINGS}
    assert found["resolved"]["denoising_strength"] == 0.5


@pytest.mark.usefixtures("two_models")
def test_the_form_offers_the_settings_that_a_prompt_enables(alices_program: Client) -> None:
    found = plan(alices_program, models={"diffusion": "other"})
    assert (found["engine"], found["model"], found["form"]["engine"]) == ("quick-fill", None, "diffusion")
    assert "steps" in found["ignored"]
    assert "steps" not in found["form"]["ignored"]
    assert found["form"]["hint"].startswith("Without a prompt Quick fill closes the gap")
    assert "with one, other paints" in found["form"]["hint"]
    written_out = plan(alices_program, models={"diffusion": "other"}, prompt="a red bus")
    assert (written_out["engine"], written_out["model"]) == ("diffusion", "other")
    assert written_out["form"]["defaults"]["steps"] == 30
    assert written_out["form"]["limits"] == {"guidance_scale": [1.0, 20.0]}


@pytest.mark.usefixtures("two_models")
def test_the_form_is_for_the_named_engine(alices_program: Client) -> None:
    found = plan(alices_program, engine="quick-fill", models={"diffusion": "tiny"}, prompt="a red bus")
    assert found["form"]["engine"] == "quick-fill"
    assert found["form"]["ignored"]["prompt"] == "Quick fill does not read it."
    assert found["form"]["hint"] == ""


@pytest.mark.usefixtures("two_models")
def test_settings_without_effect_at_guidance_one_are_listed_with_the_reason(alices_program: Client) -> None:
    idle = plan(alices_program, prompt="a red bus", guidance_scale=1)["form"]["ignored"]
    assert idle.keys() >= GUIDED
    assert "guidance scale of 1" in idle["negative_prompt"]
    assert not GUIDED & plan(alices_program, prompt="a red bus")["form"]["ignored"].keys()


@pytest.mark.usefixtures("two_models")
def test_an_incompatible_setting_is_left_out_and_named(alices_program: Client) -> None:
    found = plan(alices_program, prompt="a red bus", preset="draft", scheduler="FlowMatchEulerDiscreteScheduler")
    assert found["problems"].keys() == {"preset", "scheduler"}
    assert found["resolved"]["preset"] is None
    assert found["engine"] == "diffusion"


@pytest.mark.parametrize("fields", [{"engine": "magic"}, {"model": "nothing"}, {"models": "tiny"}, {"steps": "many"}])
def test_an_invalid_field_is_refused_by_name(alices_program: Client, fields: dict[str, str]) -> None:
    answer = alices_program.post("/api/plan/", fields, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["field"] == next(iter(fields))


@pytest.mark.usefixtures("two_models")
def test_fields_that_are_not_sent_have_their_defaults(alices_program: Client) -> None:
    form = plan(alices_program, prompt="a red bus", scheduler="DDIMScheduler", steps=7)["form"]
    assert (form["defaults"]["scheduler"], form["defaults"]["steps"]) == ("DPMSolverMultistepScheduler", 30)


def test_an_error_within_an_object_names_the_field(alices_program: Client) -> None:
    answer = alices_program.post("/api/plan/", {"models": {"diffusion": ""}}, content_type="application/json")
    assert (answer.status_code, answer.json()["field"]) == (400, "models")


@pytest.mark.usefixtures("two_models")
def test_a_web_process_without_the_models_folder_plans_with_the_rows(
    alices_program: Client, settings: Any, tmp_path: Path
) -> None:
    settings.MODELS_DIR = tmp_path / "on another machine"
    assert plan(alices_program, prompt="a red bus")["engine"] == "quick-fill"
    settings.ROLE = "web"
    found = plan(alices_program, prompt="a red bus", model="other")
    assert (found["engine"], found["model"]) == ("diffusion", "other")
