"""Rows of the catalog: lookup by name, fallback, aliases, and pulls."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from inpainting import families
from inpainting.api.native.fields import Img2ImgForm, check_fields
from inpainting.apps import add_shipped_models
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.shipped import SHIPPED, SHIPPED_ADAPTERS
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.specs import Source
from inpainting.core.errors import InvalidRequest
from inpainting.models import InferenceModel
from tests.support.hub import tiny_model, written


@pytest.fixture
def model(db: None) -> InferenceModel:
    return InferenceModel.objects.get(slug="sd15-inpainting")


def install(model: InferenceModel, settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path
    written(tiny_model(), tmp_path / model.slug)
    assert model.start_pull()
    assert model.install(Source.HUB)


def test_the_shipped_models_are_listed_and_none_is_installed(db: None) -> None:
    rows = list(InferenceModel.objects.all())
    assert [row.slug for row in rows] == [spec.slug for spec in (*SHIPPED, *SHIPPED_ADAPTERS, *SHIPPED_TOOLS)]
    assert [row.spec for row in rows] == [*SHIPPED, *SHIPPED_ADAPTERS, *SHIPPED_TOOLS]
    assert Catalog().default() is None
    for row in rows:
        row.full_clean()


def test_migrate_keeps_edits_and_restores_missing_rows(model: InferenceModel) -> None:
    InferenceModel.objects.filter(pk=model.pk).update(label="Ours", steps=12, enabled=False)
    InferenceModel.objects.get(slug="sdxl").delete()
    add_shipped_models(apps=apps)
    model.refresh_from_db()
    assert (model.label, model.steps, model.enabled) == ("Ours", 12, False)
    assert InferenceModel.objects.filter(slug="sdxl").exists()


def test_a_row_of_an_earlier_release_is_found_by_the_aliases_of_today(model: InferenceModel) -> None:
    InferenceModel.objects.filter(pk=model.pk).update(aliases=["old"])
    name = "runwayml/stable-diffusion-inpainting"
    assert Catalog().requested_row("old") == Catalog().requested_row(name) == model
    InferenceModel.objects.filter(slug="sdxl").update(aliases=[name])
    assert Catalog().requested_row(name) == InferenceModel.objects.get(slug="sdxl"), "its own alias comes first"


def test_a_checkpoint_of_fooocus_is_sdxl_until_another_model_has_its_name(model: InferenceModel) -> None:
    name = "juggernautXL_v8Rundiffusion.safetensors"
    assert Catalog().requested_row(name) == InferenceModel.objects.get(slug="sdxl")
    model.aliases = [name]
    model.full_clean()
    model.save()
    assert Catalog().requested_row(name) == model


@pytest.mark.parametrize("name", ["sd15-inpainting", "runwayml/stable-diffusion-inpainting"])
def test_a_model_is_found_by_slug_and_by_alias(model: InferenceModel, name: str) -> None:
    assert Catalog().requested_row(name) == model


@pytest.mark.parametrize("name", [None, "", "auto"])
def test_without_a_name_no_model_is_requested(db: None, name: str | None) -> None:
    assert Catalog().requested_row(name) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x", "https://example.org/", "a/b--c", "sd16"])
def test_an_unknown_name_is_refused_with_the_slugs_and_without_an_echo(db: None, name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Catalog().find_row(name)
    assert caught.value.code == "model_not_found"
    slugs = [spec.slug for spec in SHIPPED if families.get(spec.family).generates]
    assert ", ".join(slugs) in caught.value.message
    assert name not in caught.value.message


def test_a_disabled_model_is_not_found(model: InferenceModel) -> None:
    model.switch(False)
    with pytest.raises(InvalidRequest):
        Catalog().find_row("sd15-inpainting")


def test_the_one_fallback_model_replaces_unknown_names(model: InferenceModel) -> None:
    model.is_fallback = True
    model.full_clean()
    model.save()
    assert Catalog().find_row("dreamshaper") == model
    assert Catalog().find_row("sdxl").slug == "sdxl"
    other = InferenceModel.objects.get(slug="sdxl")
    other.is_fallback = True
    with pytest.raises(ValidationError, match="fallback already"):
        other.full_clean()


def test_an_adapter_cannot_be_the_fallback(db: None) -> None:
    part = InferenceModel.objects.get(slug="taesd")
    part.is_fallback = True
    with pytest.raises(ValidationError, match="paints nothing by itself"):
        part.full_clean()


@pytest.mark.parametrize("aliases", ["text", [1], [""], ["sd15"], ["stable-diffusion-v1-5"], ["x" * 201]])
def test_an_alias_is_text_and_names_one_model(model: InferenceModel, aliases: Any) -> None:
    model.aliases = aliases
    with pytest.raises(ValidationError):
        model.full_clean()


def test_one_pull_runs_at_a_time_and_a_dead_one_is_replaced(model: InferenceModel) -> None:
    other = InferenceModel.objects.get(pk=model.pk)
    assert model.start_pull()
    assert not other.start_pull()
    assert not other.remove()
    InferenceModel.objects.filter(pk=model.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert other.start_pull()
    assert not model.progress(1, 2, "Getting x"), "the first one has lost it"
    assert not model.install(Source.HUB)
    assert not model.fail_pull("no")
    assert other.progress(1, 2, "Getting x")
    assert other.percent == 50


def test_a_model_is_installed_when_both_its_row_and_its_files_are_there(
    model: InferenceModel, settings: Any, tmp_path: Path
) -> None:
    assert not model.is_installed
    install(model, settings, tmp_path)
    assert model.is_installed
    assert Catalog().default() == model
    assert model.spec.path == tmp_path / "sd15-inpainting"
    model.check_installed()
    (tmp_path / "sd15-inpainting" / "model_index.json").unlink()
    assert not model.is_installed
    with pytest.raises(InvalidRequest, match="pull_model sd15-inpainting") as caught:
        model.check_installed()
    assert caught.value.code == "model_unavailable"


def test_find_returns_the_preferred_model_or_an_error_that_names_the_command(
    model: InferenceModel, settings: Any, tmp_path: Path
) -> None:
    settings.MODELS_DIR = tmp_path
    assert not Catalog().has_installed()
    with pytest.raises(InvalidRequest, match=f"pull_model {model.slug}") as caught:
        Catalog().find(None)
    assert caught.value.code == "model_unavailable"
    other = InferenceModel.objects.get(slug="sdxl")
    install(model, settings, tmp_path)
    install(other, settings, tmp_path)
    assert Catalog().find(None).slug == model.slug
    InferenceModel.objects.filter(pk=other.pk).update(is_fallback=True)
    assert Catalog().find(None).slug == "sdxl"
    assert Catalog().find("runwayml/stable-diffusion-inpainting").path == tmp_path / model.slug
    with pytest.raises(InvalidRequest, match="pull_model sd15"):
        Catalog().find("sd15")


def img2img(client: Client, photo_png: bytes, mask_png: bytes, **fields: str) -> dict[str, Any]:
    files = {
        "image": SimpleUploadedFile("photo.png", photo_png, "image/png"),
        "mask": SimpleUploadedFile("mask.png", mask_png, "image/png"),
    }
    answer: dict[str, Any] = client.post("/api/img2img", {"prompt": "", **files, **fields}).json()
    return answer


def test_a_model_that_is_not_installed_is_refused_with_the_command(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer = img2img(alices_program, photo_png, mask_png, model="runwayml/stable-diffusion-inpainting")
    assert answer["code"] == "model_unavailable"
    assert "python manage.py pull_model sd15-inpainting" in answer["message"]


def test_the_resolved_slug_is_stored_in_the_settings(
    alices_program: Client, model: InferenceModel, settings: Any, tmp_path: Path
) -> None:
    install(model, settings, tmp_path)
    for fields in ({"model": "runwayml/stable-diffusion-inpainting"}, {"model_name": "sd15-inpainting"}):
        values, warnings = check_fields(Img2ImgForm, {"prompt": "", **fields}, Catalog(), clamp=False)
        assert (values["model"], warnings) == ("sd15-inpainting", [])
    InferenceModel.objects.filter(pk=model.pk).update(is_fallback=True)
    values, warnings = check_fields(Img2ImgForm, {"prompt": "", "model": "dreamshaper"}, Catalog(), clamp=False)
    assert values["model"] == "sd15-inpainting"
    assert "dreamshaper" in warnings[0]
    listed = alices_program.get("/api/models/").json()["models"]
    assert [entry["id"] for entry in listed if entry["installed"]] == ["sd15-inpainting"]


def test_disabled_models_are_not_listed(alices_program: Client, model: InferenceModel) -> None:
    model.switch(False)
    assert "sd15-inpainting" not in [entry["id"] for entry in alices_program.get("/api/models/").json()["models"]]
