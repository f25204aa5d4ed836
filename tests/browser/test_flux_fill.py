"""The editor with a flow-matching model: its settings, schedulers and higher guidance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="diffusion is not installed")

from playwright.sync_api import Page, expect

from tests.browser.editor_page import (
    AT_FIRST,
    MS_TO_LOAD,
    enter_prompt,
    kept_metadata,
    more_settings,
    open_photo,
    paint_line,
    start,
)
from tests.support import tiny_models
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

UNREAD = ("negative_prompt", "clip_skip", "use_karras_sigmas", "algorithm_type")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    scratch = tmp_path_factory.mktemp("tiny")
    tiny_models.saved(scratch / "fill", "flux-fill")
    tiny_models.saved(scratch / "small")
    installation = Installation(tmp_path_factory.mktemp("site"), DREAMLAYER_DIFFUSION_DEVICE="cpu")
    installation.migrate()
    installation.manage_all(
        [
            ("add_model", slug, "--family", family, "--from", str(scratch / slug), "--label", slug)
            for slug, family in (("small", "sd"), ("fill", "flux-fill"))
        ]
    )
    with installation.serving():
        yield installation


@pytest.fixture
def page(installed_page: Page) -> Page:
    return installed_page


def shown_schedulers(page: Page) -> list[str]:
    return page.locator("#scheduler option:not([hidden])").all_inner_texts()


def test_each_model_shows_its_own_settings_and_schedulers(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    more_settings(page)
    guidance, scheduler = page.get_by_label("Guidance scale"), page.get_by_label("Scheduler")
    scheduler.select_option("DDIMScheduler")
    expect(guidance).to_have_attribute("max", "20")
    assert not [name for name in shown_schedulers(page) if "trained" in name]
    assert [name.partition(":")[0] for name in shown_schedulers(page)[1:7]] == [
        *("Euler", "Euler a", "DPM++ 2M", "Heun", "UniPC", "LCM")
    ]
    assert "UniPC: fast, in 10 to 20 steps" in shown_schedulers(page)

    page.get_by_label("Model", exact=True).select_option("fill")
    expect(guidance).to_have_attribute("max", "100")
    expect(guidance).to_have_attribute("placeholder", "30")
    assert shown_schedulers(page) == [
        "Default: Euler: as the model was trained",
        "Euler: as the model was trained",
        "Heun: exact, twice the time for a step",
    ]
    expect(scheduler).to_have_value("")
    for name in UNREAD:
        expect(page.locator(f"[name={name}]")).to_be_disabled()
    expect(page.locator("#more-reason")).to_contain_text("FLUX.1 Fill models do not read it.")

    page.get_by_label("Model", exact=True).select_option("small")
    for name in UNREAD:
        expect(page.locator(f"[name={name}]")).to_be_enabled()
    expect(page.locator("#more-reason")).to_contain_text(AT_FIRST)
    expect(page.locator("#more-reason")).not_to_contain_text("FLUX.1 Fill models do not read it.")


def test_a_generation_uses_the_chosen_settings(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    page.get_by_label("Model", exact=True).select_option("fill")
    enter_prompt(page, "a red bus")
    for name, value in (("Steps", "1"), ("Work width", "128"), ("Work height", "128"), ("Guidance scale", "45")):
        page.get_by_label(name, exact=name == "Steps").fill(value)
    page.get_by_label("Scheduler").select_option("FlowMatchHeunDiscreteScheduler")
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    recipe = kept_metadata(page)
    assert (recipe["model"], recipe["guidance_scale"]) == ("fill", 45.0)
    assert recipe["scheduler"] == "FlowMatchHeunDiscreteScheduler"
    assert recipe["ignored"] == []
