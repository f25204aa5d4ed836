"""The engine that `auto` selects: diffusion with a prompt, else erase if installed, else quick-fill."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from inpainting.core.codecs import read_png_texts
from inpainting.core.request import PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import Generation, InferenceModel
from inpainting.planning import planner
from tests.api.bodies import shape_a
from tests.support import tiny_networks
from tests.support.fakes import pretend_installed, pretend_missing
from tests.support.hub import tiny_model, written

Install = Callable[[str], InferenceModel]
pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.


@pytest.fixture
def install(settings: Any, tmp_path: Path) -> Install:
    """install(slug) -> the shipped model of that slug, installed from tiny files."""
    settings.MODELS_DIR = tmp_path / "models"

    def install(slug: str) -> InferenceModel:
        files: dict[str, Callable[..., bytes]] = {"lama": tiny_networks.lama, "migan": tiny_networks.migan}
        origin = tmp_path / f"{slug}.onnx"
        if slug in files:
            origin.write_bytes(files[slug]())
        else:
            origin = written(tiny_model(), tmp_path / slug)
        call_command("pull_model", slug, "--yes", f"--from={origin}", stdout=io.StringIO())
        return InferenceModel.objects.get(slug=slug)

    return install


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch and onnxruntime count as installed, also where they are not."""
    pretend_installed(monkeypatch, "torch", "onnxruntime")


@pytest.mark.usefixtures("all_installed")
def test_auto_selects_the_best_installed_engine_for_the_request(install: Install) -> None:
    def chosen(prompt: str = "", model: str | None = None) -> str:
        return planner().choose("auto", PaintSettings(prompt=prompt, model=model)).engine.name

    assert (chosen(), chosen("a lawn")) == ("quick-fill", "quick-fill")
    install("migan")
    assert (chosen(), chosen("a lawn")) == ("quick-fill", "quick-fill")
    assert "MI-GAN, which is installed, invents objects" in planner().choose().reason
    install("sd15")
    assert (chosen(), chosen("a lawn"), chosen("  ")) == ("quick-fill", "diffusion", "quick-fill")
    install("lama")
    assert (chosen(), chosen("a lawn"), chosen("  ")) == ("erase", "diffusion", "erase")
    assert planner().plan_settings(PaintSettings()).required_model.slug == "lama"
    assert (chosen(model="sd15"), chosen("a lawn", model="migan")) == ("diffusion", "erase")


def test_auto_selects_quick_fill_without_onnxruntime(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("lama")
    pretend_missing(monkeypatch, "onnxruntime")
    assert planner().choose("auto", PaintSettings()).engine.name == "quick-fill"


@pytest.mark.parametrize("more", [{}, {"engine": "erase"}, {"model": "big-lama", "engine": "auto"}])
def test_the_metadata_names_engine_and_model_and_nothing_outside_changes(
    alices_program: Client, install: Install, photo_png: bytes, mask_png: bytes, hole: Any, photo: Any, more: Any
) -> None:
    pytest.importorskip("onnxruntime", reason="the erase engine is not installed")
    install("lama")
    body = shape_a(photo_png, mask_png, prompt="", **more)
    answer = alices_program.post("/api/img2img", body)
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert (metadata["engine"], metadata["model"]) == ("erase", "lama")
    assert {"prompt", "seed", "denoising_strength"} >= set(metadata["ignored"]) >= {"seed"}
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    generation = Generation.objects.get()
    painted = np.asarray(generation.images.get(index=0).read().pixels)
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])


def test_a_missing_model_a_foreign_model_and_a_missing_mask_are_refused(
    alices_program: Client, install: Install, photo_png: bytes, mask_png: bytes
) -> None:
    def refused(**fields: str) -> dict[str, Any]:
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields))
        assert answer.status_code == 400, answer.json()
        return dict(answer.json())

    pytest.importorskip("onnxruntime", reason="the erase engine is not installed")
    content = refused(engine="erase")
    assert content["code"] == "model_unavailable"
    assert "pull_model lama" in content["message"]
    install("sd15")
    assert refused(engine="erase", model="sd15")["code"] == "model_not_of_engine"
    install("lama")
    body = shape_a(photo_png, b"", engine="erase")
    del body["mask"]
    assert alices_program.post("/api/img2img", body).json()["code"] == "mask_required"


def test_a_light_installation_refuses_erase_as_not_installed(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_missing(monkeypatch, "onnxruntime")
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, engine="erase")).json()
    assert (answer["code"], answer["field"]) == ("engine_not_installed", "engine")


@pytest.mark.usefixtures("all_installed")
def test_the_list_of_engines_includes_erase(alices_program: Client, install: Install) -> None:
    def listed() -> dict[str, Any]:
        engines = alices_program.get("/api/engines/").json()["engines"]
        assert [engine["name"] for engine in engines] == ["quick-fill", "erase", "diffusion"]
        return dict(engines[1])

    engine = listed()
    assert (engine["label"], engine["accepts_prompt"], engine["is_default"]) == ("Erase", False, False)
    assert {"seed", "steps"} < set(engine["ignores"])
    assert "model" not in engine["ignores"]
    assert "pull_model lama" in engine["unavailable"]
    install("lama")
    engine = listed()
    assert (engine["is_default"], engine["unavailable"]) == (True, None)
    families = {model["id"]: model["family"] for model in alices_program.get("/api/models/").json()["models"]}
    assert (families["lama"], families["migan"]) == ("lama", "migan")
    assert registry.find("erase").declaration.queue is Queue.CPU


@pytest.mark.usefixtures("all_installed")
def test_the_editor_offers_erase_once_installed_and_its_networks_not_as_diffusion_models(
    client: Client, alice: User, install: Install
) -> None:
    client.force_login(alice)
    assert '<option value="erase" disabled>Erase</option>' in client.get("/").content.decode()
    install("lama")
    page = client.get("/").content.decode()
    assert '<option value="erase">Erase</option>' in page
    assert 'id="model-of-diffusion"' not in page
    assert page.index('id="model-of-erase"') < page.index('<option value="lama"')


def test_the_command_line_erases_several_images_at_once(
    install: Install, tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    pytest.importorskip("onnxruntime", reason="the erase engine is not installed")
    install("migan")
    for folder, data in (("photos", photo_png), ("masks", mask_png)):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            (tmp_path / folder / name).write_bytes(data)
    arguments = (str(tmp_path / "photos"), str(tmp_path / "masks"), "-o", str(tmp_path / "out"), "--jobs", "2")
    call_command("inpaint", *arguments, "--engine", "erase", stdout=io.StringIO(), stderr=io.StringIO())
    for name in ("a.png", "b.png"):
        recipe = json.loads(read_png_texts((tmp_path / "out" / name).read_bytes())["dreamlayer"])
        assert (recipe["engine"], recipe["model"]) == ("erase", "migan")
    with pytest.raises(CommandError, match="paints from what is kept"):
        call_command("inpaint", str(tmp_path / "photos/a.png"), "-o", str(tmp_path / "x.png"), "--engine", "erase")
