"""The editor offers installed engines and models, and explains how to install the missing ones."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from inpainting.catalog.specs import Source
from inpainting.core.adapter_uses import ADAPTER_LISTS, MAX_PROMPT_CHARACTERS, REFERENCES, REGIONS
from inpainting.core.codecs.intake import HIGHEST_SIDE
from inpainting.core.request import PaintSettings
from inpainting.core.settings_table import RANGES, find_setting
from inpainting.models import Generation, InferenceModel
from inpainting.planning import planner
from inpainting.segmenters import registry
from tests.support.fakes import pretend_installed, pretend_missing
from tests.support.hub import tiny_model, written

Install = Callable[[str], InferenceModel]


@pytest.fixture
def with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch count as installed, also where it is not."""
    pretend_installed(monkeypatch, "torch")


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_missing(monkeypatch, "torch")


@pytest.fixture
def install(db: None, settings: Any, tmp_path: Path) -> Install:
    settings.MODELS_DIR = tmp_path

    def install(slug: str) -> InferenceModel:
        model = InferenceModel.objects.get(slug=slug)
        written(tiny_model(), tmp_path / slug)
        assert model.start_pull()
        assert model.install(Source.HUB)
        return model

    return install


def editor(client: Client, user: User) -> str:
    client.force_login(user)
    return client.get("/").content.decode()


def constants(page: str) -> dict[str, Any]:
    """What the scripts of the page read of the tables."""
    found = re.search(r'<script id="constants" type="application/json">(.*?)</script>', page)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


def selectable_options(page: str, select: str) -> list[str]:
    """The options of a select that can be chosen."""
    inside = re.search(rf'<select id="{select}".*?</select>', page, re.DOTALL)
    return re.findall(r'<option value="([^"]*)"(?! disabled)', inside[0]) if inside else []


@pytest.mark.usefixtures("with_torch")
def test_diffusion_without_a_model_is_listed_but_cannot_be_chosen(client: Client, alice: User) -> None:
    page = editor(client, alice)
    assert selectable_options(page, "engine") == ["auto", "quick-fill"]
    assert '<option value="diffusion" disabled>Diffusion</option>' in page
    assert selectable_options(page, "model-of-diffusion") == []
    assert "has no model here yet." in page
    assert "get a model" not in page


@pytest.mark.usefixtures("with_torch")
def test_administrators_get_a_link_to_the_models(client: Client, db: None) -> None:
    page = editor(client, User.objects.create_superuser("boss@example.com", "a long one"))
    assert '<a href="/models/">get a model</a>' in page
    assert "ask your administrator" not in page


def test_without_a_model_the_object_tool_says_that_it_is_rough(
    client: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(alice)
    assert "what a click selects is rough. An administrator can install" in client.get("/?edit").text
    client.force_login(User.objects.create_superuser("root@example.com"))
    page = client.get("/?edit").text
    assert 'what a click selects is rough: <a href="/models/#recommended-segmentation">' in page
    assert 'id="recommended-segmentation"' in client.get("/models/").text
    found = [*registry.usable(), SimpleNamespace(name="mobile-sam", reads=(), label="")]
    monkeypatch.setattr(registry, "usable", lambda: found)
    assert "a click selects is rough" not in client.get("/?edit").text


@pytest.mark.usefixtures("without_torch")
def test_a_light_installation_names_the_missing_packages_and_offers_no_model(
    client: Client, alice: User, install: Install
) -> None:
    install("sd15")
    page = editor(client, alice)
    assert "not part of this light installation" in page
    assert selectable_options(page, "engine") == ["auto", "quick-fill"]
    assert selectable_options(page, "model-of-diffusion") == []
    assert planner().choose("auto", PaintSettings(prompt="a lawn")).engine.name == "quick-fill"


@pytest.mark.usefixtures("with_torch")
def test_installed_models_are_offered_by_label_with_the_preferred_one_first(
    client: Client, alice: User, install: Install
) -> None:
    for slug in ("sd15-inpainting", "sd2-inpainting", "sdxl"):
        install(slug)
    InferenceModel.objects.filter(slug="sd15-inpainting").update(enabled=False)
    InferenceModel.objects.filter(slug="sdxl").update(is_fallback=True)
    page = editor(client, alice)
    assert selectable_options(page, "engine") == ["auto", "quick-fill", "diffusion"]
    assert selectable_options(page, "model-of-diffusion") == ["sdxl", "sd2-inpainting"]
    assert '<option value="sdxl" selected>SDXL base 1.0</option>' in page
    assert "engine-missing" not in page


@pytest.mark.usefixtures("with_torch")
def test_every_number_and_text_has_the_limits_of_the_api(client: Client, alice: User) -> None:
    page = editor(client, alice)
    for name, (lowest, highest) in RANGES.items():
        field = re.search(rf'<input [^>]*name="{find_setting(name).public_name}"[^>]*>', page)
        assert field is not None, name
        assert f'min="{lowest:.0f}" max="{int(highest)}"' in field[0]
    # The prompt, the negative prompt and the prompt of a region.
    assert page.count(f'maxlength="{MAX_PROMPT_CHARACTERS}"') == 3


def test_the_pages_name_the_model_and_its_settings(
    client: Client, alice: User, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice, prompt="a lawn", run=False)
    settings = {**generation.settings, "model": "sd15", "steps": 12, "scheduler": "HeunDiscreteScheduler"}
    Generation.objects.filter(pk=generation.pk).update(
        engine="diffusion", settings=settings, warnings=["It was large."]
    )
    client.force_login(alice)
    page = client.get(f"/generations/{generation.pk}/").content.decode()
    for words in ("Stable Diffusion 1.5 <code", ">sd15<", "Steps", "12", "HeunDiscreteScheduler", "It was large."):
        assert words in page
    assert "Stable Diffusion 1.5<" in client.get("/history/").content.decode()
    InferenceModel.objects.get(slug="sd15").delete()
    assert ">sd15<" in client.get("/history/").content.decode()
    Generation.objects.filter(pk=generation.pk).update(engine="quick-fill")
    assert ">Quick fill<" in client.get("/history/").content.decode()


def test_the_page_marks_requested_settings_that_were_ignored(
    client: Client, alice: User, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice, prompt="a lawn", run=False)
    unread = {"negative_prompt": "a dog", "seed": 77, "width": 640, "model": "sd15"}
    settings = {**generation.settings, **unread, "height": 512}
    Generation.objects.filter(pk=generation.pk).update(engine="quick-fill", settings=settings, ignored=list(unread))
    client.force_login(alice)
    page = client.get(f"/generations/{generation.pk}/").content.decode()
    rows = dict(re.findall(r'<th scope="row">([^<]*)</th><td[^>]*>(.*?)</td>', page))
    marked = {label for label, cell in rows.items() if "not read by this engine" in cell}
    assert marked == {"Model", "Negative prompt", "Seed", "Work width, px"}
    assert rows["Work height, px"] == "512"


@pytest.mark.parametrize("folder_is", ["missing", "empty", "of other models"])
def test_a_web_process_without_the_files_of_a_segmenter_shows_the_editor(
    client: Client, alice: User, install: Install, settings: Any, tmp_path: Path, folder_is: str
) -> None:
    install("grounding-dino-tiny")
    settings.ROLE, settings.MODELS_DIR = "web", tmp_path / "of the web process"
    if folder_is != "missing":
        (settings.MODELS_DIR / ("" if folder_is == "empty" else "other")).mkdir(parents=True)
    client.force_login(alice)
    assert client.get("/").status_code == 200
    assert InferenceModel.objects.get(slug="grounding-dino-tiny").is_installed == (folder_is != "of other models")


def test_scripts_know_the_lists_of_adapters_and_the_largest_margin(client: Client, alice: User) -> None:
    page = editor(client, alice)
    read = constants(page)
    assert [found["setting"] for found in read["adapter_lists"]] == [adapters.setting for adapters in ADAPTER_LISTS]
    for found, adapters in zip(read["adapter_lists"], ADAPTER_LISTS, strict=True):
        assert found["images"] == list(adapters.images)
        assert found["first"] == adapters.first
        assert found["numbers"] == [name for name in adapters.first.values() if name not in ("slug", "type")]
        for number in range(1, adapters.limit + 1):
            row = found["id"] if number == 1 else f"{found['id']}-{number}"
            assert f'id="{row}-field"' in page
        assert f'id="{found["id"]}-add"' in page
    assert read["references"] == list(REFERENCES.images)
    assert read["region_masks"] == list(REGIONS.images)
    assert all(f'id="{name.replace("_", "-")}-field"' in page for name in REFERENCES.images)
    assert read["max_margin"] == HIGHEST_SIDE
    assert read["computed_controls"] == ["canny", "inpaint"]


def test_no_two_elements_of_the_editor_have_the_same_id(
    client: Client, alice: User, install: Install, with_torch: None
) -> None:
    """A label names the first element with its id, so a second one would have no name."""
    install("sd15-inpainting")
    ids = re.findall(r'\sid="([^"]+)"', editor(client, alice))
    assert "steps" in ids
    assert [name for name, times in Counter(ids).items() if times > 1] == []
