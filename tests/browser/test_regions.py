"""The editor's regions: added from the mask, shown as coloured layers, removed, kept, sent and reopened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="diffusion is not installed")

from playwright.sync_api import Locator, Page, expect

from inpainting.core.codecs import decode_image
from tests.browser.devices import ON_A_PHONE_TOO
from tests.browser.editor_page import more_settings, open_photo, paint_line, start
from tests.support import tiny_loras, tiny_models
from tests.support.hub import tiny_model, written
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

PIPELINES = {"sd": tiny_models.sd, "sdxl": tiny_models.sdxl}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A model with valid files that cannot run; its generations are stored all the same."""
    installation = Installation(tmp_path_factory.mktemp("site"), DREAMLAYER_DIFFUSION_DEVICE="cpu")
    installation.migrate()
    scratch = tmp_path_factory.mktemp("model")
    model = str(written(tiny_model(), scratch / "tiny"))
    tensors = {family: tiny_loras.weights(make(scratch / "words")) for family, make in PIPELINES.items()}
    files = {family: str(tiny_loras.saved(scratch / f"{family}.safetensors", tensors[family])) for family in tensors}
    installation.manage_all(
        [
            ("add_model", "tiny", "--family", "sd", "--from", model, "--label", "Tiny model"),
            ("add_lora", "ink", "--family", "sd", "--from", files["sd"], "--label", "Ink"),
            ("add_lora", "large", "--family", "sdxl", "--from", files["sdxl"], "--label", "Large"),
        ]
    )
    with installation.serving():
        yield installation


@pytest.fixture
def page(installed_page: Page, photo_file: Path) -> Page:
    open_photo(installed_page, photo_file)
    return installed_page


def prompts(page: Page) -> Locator:
    return page.get_by_label("Prompt of the region")


def add_region(page: Page, words: str) -> None:
    count = prompts(page).count()
    page.get_by_role("button", name="Add a region").press("Enter")
    expect(prompts(page)).to_have_count(count + 1)
    expect(prompts(page).last).to_be_focused()
    prompts(page).last.fill(words)


def layer_colour(page: Page, number: int, across: float, down: float) -> list[int]:
    """RGBA of a region's layer at this point of the photo (0 to 1)."""
    colour: list[int] = (
        page.locator("#region-layers canvas")
        .nth(number)
        .evaluate(
            """(canvas, [across, down]) => [...canvas.getContext("2d").getImageData(
            Math.floor(canvas.width * across), Math.floor(canvas.height * down), 1, 1).data]""",
            [across, down],
        )
    )
    return colour


def stored_generation(page: Page) -> dict[str, Any]:
    """The generation on the page, as the server stores it."""
    expect(page).to_have_url(re.compile("generation="))
    pk = re.search(r"generation=([0-9a-f-]{36})", page.url)
    assert pk is not None
    answer: dict[str, Any] = page.request.get(f"/api/generations/{pk[1]}/").json()
    return answer


def marked_in(page: Page, url: str) -> tuple[int, int]:
    """The mask of a region in the middle of the photo, and at its right."""
    pixels = decode_image(page.request.get(url).body()).image.pixels
    middle, width = len(pixels) // 2, pixels.shape[1]
    return int(pixels[middle, width // 2, 0]), int(pixels[middle, width * 85 // 100, 0])


@ON_A_PHONE_TOO
def test_regions_are_shown_sent_and_reopened(page: Page) -> None:
    more_settings(page)
    page.get_by_role("button", name="Add a region").press("Enter")
    expect(page.locator("#regions-message")).to_have_text("Mark the region with the brush first.")
    page.locator("#more-close").press("Enter")
    paint_line(page, from_left=0.4, to_left=0.6)
    more_settings(page)
    add_region(page, "a cat")
    page.get_by_role("button", name="Add a region").press("Enter")
    expect(page.locator("#regions-message")).to_have_text("Mark the region with the brush first.")
    expect(prompts(page)).to_have_count(1)
    page.locator("#more-close").press("Enter")
    paint_line(page, from_left=0.8, to_left=0.9)
    more_settings(page)
    add_region(page, "a boat")
    page.get_by_label("Weight of the region").last.fill("0.5")
    expect(page.locator("#more-set")).to_contain_text("Regions 2")
    expect(page.get_by_label("Engine").locator("option").first).to_have_text("Auto (Diffusion)")
    expect(page.locator("#region-layers canvas")).to_have_count(2)
    blue, green = (layer_colour(page, number, across, 0.5) for number, across in enumerate((0.5, 0.85)))
    assert (blue[3], green[3]) == (255, 255)
    assert blue[2] > blue[0]
    assert green[1] > green[0]
    assert [layer_colour(page, number, across, 0.5)[3] for number, across in enumerate((0.85, 0.5))] == [0, 0]
    start(page)
    generation = stored_generation(page)
    assert generation["metadata"]["regions"] == [{"prompt": "a cat", "weight": 1}, {"prompt": "a boat", "weight": 0.5}]
    assert [marked_in(page, generation[name]) for name in ("region_mask", "region_mask_2")] == [(255, 0), (0, 255)]
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    more_settings(page)
    expect(prompts(page)).to_have_count(2)
    assert [prompts(page).nth(number).input_value() for number in range(2)] == ["a cat", "a boat"]
    expect(page.get_by_label("Weight of the region").last).to_have_value("0.5")


@ON_A_PHONE_TOO
def test_a_region_has_loras_of_its_own(page: Page) -> None:
    for number, words in enumerate(("a cat", "a boat")):
        paint_line(page, from_left=0.2 + 0.4 * number, to_left=0.3 + 0.4 * number)
        more_settings(page)
        add_region(page, words)
        page.locator("#more-close").press("Enter")
    more_settings(page)
    first, second = (page.locator(".region").nth(number) for number in range(2))
    for region in (first, second):
        region.get_by_text("LoRAs of the region").press("Enter")
    expect(first.get_by_label("Large")).to_be_hidden()  # for SDXL
    first.get_by_label("Ink").fill("3")
    start(page)
    expect(page.locator("#generate-message")).to_have_text("The weight of a LoRA must be a number from -2 to 2.")
    expect(first.get_by_label("Ink")).to_be_focused()
    first.get_by_label("Ink").fill("0.8")
    expect(first.locator(".loras-used")).to_have_text("Ink 0.8")
    start(page)
    wanted = [
        {"prompt": "a cat", "weight": 1, "loras": [{"slug": "ink", "weight": 0.8}]},
        {"prompt": "a boat", "weight": 1},
    ]
    assert stored_generation(page)["metadata"]["regions"] == wanted
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    more_settings(page)
    expect(first.locator(".loras-used")).to_have_text("Ink 0.8")
    expect(first.get_by_label("Ink")).to_have_value("0.8")
    expect(second.get_by_label("Ink")).to_have_value("")
    page.get_by_label("Engine").select_option("quick-fill")
    expect(first.get_by_text("LoRAs of the region")).to_be_hidden()


def test_a_region_is_removed_with_its_layer_and_those_after_it_move_up(page: Page) -> None:
    for number, words in enumerate(("a cat", "a boat", "a dog")):
        paint_line(page, from_left=0.1 + 0.3 * number, to_left=0.2 + 0.3 * number)
        more_settings(page)
        add_region(page, words)
        page.locator("#more-close").press("Enter")
    more_settings(page)
    page.get_by_role("button", name="Remove the region").first.press("Enter")
    expect(page.get_by_role("button", name="Add a region")).to_be_focused()
    expect(page.locator("#region-layers canvas")).to_have_count(2)
    assert [prompts(page).nth(number).input_value() for number in range(2)] == ["a boat", "a dog"]
    expect(page.locator(".region-colour")).to_have_text(["1", "2"])
    page.locator("#more-clear").press("Enter")
    expect(prompts(page)).to_have_count(0)
    expect(page.locator("#region-layers canvas")).to_have_count(0)


def test_an_engine_without_regions_greys_them_out_and_does_not_get_them(page: Page) -> None:
    paint_line(page, from_left=0.4, to_left=0.6)
    more_settings(page)
    add_region(page, "a cat")
    page.get_by_label("Engine").select_option("quick-fill")
    expect(prompts(page)).to_be_disabled()
    expect(page.locator("#regions-reason")).to_have_text("Quick fill does not read it.")
    expect(page.locator("#more-set")).not_to_contain_text("Regions")
    page.get_by_label("Engine").select_option("auto")
    expect(prompts(page)).to_be_enabled()
    expect(prompts(page)).to_have_value("a cat")


def test_no_more_than_eight_can_be_added(page: Page) -> None:
    for number in range(8):
        paint_line(page, from_left=0.1 * number, to_left=0.1 * number + 0.05)
        more_settings(page)
        add_region(page, str(number))
        page.locator("#more-close").press("Enter")
    more_settings(page)
    expect(page.get_by_role("button", name="Add a region")).to_be_hidden()
