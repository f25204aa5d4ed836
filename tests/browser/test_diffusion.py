"""The editor with an installed diffusion model: tiny, with random weights; no part is mocked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="diffusion is not installed")

from playwright.sync_api import Page, Request, expect
from skimage import data

from tests.browser.devices import ON_A_PHONE_TOO, press
from tests.browser.dock import covered_by_the_dock
from tests.browser.editor_page import (
    AT_FIRST,
    MS_TO_LOAD,
    SIDE,
    Pixels,
    choose_task,
    close_settings,
    enter_prompt,
    is_red,
    kept_generation,
    kept_metadata,
    more_settings,
    open_details,
    open_photo,
    paint_line,
    start,
    white_square,
    written,
)
from tests.conftest import png
from tests.support import tiny_checker, tiny_embeddings, tiny_loras, tiny_models, tiny_vaes
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

DIFFUSION_ONLY = (
    *("prompt", "negative_prompt", "denoising_strength", "steps", "guidance_scale", "scheduler", "use_karras_sigmas"),
    *("clip_skip", "width", "height", "only_masked_padding", "context_factor", "guidance_start", "guidance_end"),
)
IS_SEEN = """input => {
  const { left, top, width, height } = input.getBoundingClientRect()
  return document.elementFromPoint(left + width / 2, top + height / 2) === input
}"""
FOR_EVERY_ENGINE = ("num_images", "seed", "mask_grow", "mask_blur")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    scratch = tmp_path_factory.mktemp("tiny")
    tiny_models.saved(scratch / "tiny")
    folder = str(scratch / "tiny")
    tensors = tiny_loras.weights(tiny_models.sd(scratch / "words"))
    small = str(tiny_loras.saved(scratch / "ink.safetensors", tensors))
    tensors = tiny_loras.weights(tiny_models.sdxl(scratch / "words"))
    large = str(tiny_loras.saved(scratch / "large.safetensors", tensors))
    tiny_vaes.saved(scratch / "soft", kind="AutoencoderTiny")
    cat, whale = (
        str(tiny_embeddings.saved(scratch / f"{slug}.safetensors", width=768).path) for slug in ("cat", "whale")
    )
    checker = tiny_checker.saved(scratch / "checker", tiny_checker.checker())
    installation = Installation(tmp_path_factory.mktemp("site"), DREAMLAYER_DIFFUSION_DEVICE="cpu")
    installation.migrate()
    add_model, add_lora = ("add_model", "--family", "sd", "--from"), ("add_lora", "--family", "sd", "--from")
    installation.manage_all(
        [
            (*add_model, folder, "tiny", "--label", "Tiny model"),
            (*add_model, folder, "other", "--label", "Other model"),
            (*add_lora, small, "ink", "--label", "Ink", "--trigger", "ink drawing"),
            (*add_lora, small, "fast", "--label", "Fast", "--kind", "lcm"),
            ("add_lora", "large", "--family", "sdxl", "--from", large, "--label", "Large"),
            (*add_model, str(scratch / "soft"), "soft", "--kind", "vae"),
            (*add_model, cat, "cat", "--kind", "embedding"),
            (*add_model, whale, "whale", "--kind", "embedding"),
            ("pull_model", "safety-checker", "--yes", "--from", str(checker)),
        ]
    )
    with installation.serving():
        yield installation


@pytest.fixture
def page(installed_page: Page) -> Page:
    return installed_page


def test_the_window_that_the_model_gets_is_outlined(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(data.astronaut().repeat(3, axis=0).repeat(3, axis=1)))
    open_photo(page, path)
    outline = page.locator("#window-outline")
    paint_line(page, from_left=0.5, to_left=0.52)
    expect(outline).to_be_hidden()  # nothing but erasing is asked for
    enter_prompt(page, "a lawn")
    expect(outline).to_be_visible()
    expect(outline).to_have_attribute("data-caption", re.compile(r"Seen by the model at \d{3} %"))
    before = outline.bounding_box()
    assert before is not None
    expect(page.locator("#more-set")).to_be_empty()  # no setting is taken for one that was chosen
    more_settings(page)
    page.fill("[name=only_masked_padding]", "300")
    wider = "width => document.querySelector('#window-outline').offsetWidth > width + 20"
    page.wait_for_function(wider, arg=before["width"])
    page.fill("[name=only_masked_padding]", "")
    page.wait_for_function(wider.replace("> width + 20", "<= width + 1"), arg=before["width"])
    page.fill("[name=context_factor]", "9")
    page.wait_for_function(wider, arg=before["width"])


def submitted(page: Page, photo_file: Path, **fields: str) -> str:
    """Submit through the API, as another program does. Return the id of the generation."""
    token = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "csrftoken")
    images: dict[str, Any] = {
        name: {"name": f"{name}.png", "mimeType": "image/png", "buffer": image}
        for name, image in (("image", photo_file.read_bytes()), ("mask", png(255 - white_square())))
    }
    headers = {"X-CSRFToken": token, "Prefer": "respond-async"}
    content = page.request.post("/api/img2img", multipart={**images, **fields}, headers=headers).json()
    assert content["status"] == "processing", content
    return str(content["id"])


@ON_A_PHONE_TOO
def test_auto_names_the_engine_and_the_models_are_listed_by_label(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    more_settings(page)
    engine = page.get_by_label("Engine")
    expect(page.locator("#model-of-diffusion option")).to_have_text(["Tiny model", "Other model"])
    expect(engine.locator("option").first).to_have_text("Auto (Quick fill)")
    expect(page.locator("#engine-help")).to_contain_text("with one, Tiny model paints what it says")
    page.get_by_role("combobox", name="Model").select_option("other")
    expect(page.locator("#engine-help")).to_contain_text("with one, Other model paints what it says")
    enter_prompt(page, "a red bus")
    expect(engine.locator("option").first).to_have_text("Auto (Diffusion)")
    expect(page.get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "30")
    expect(page.get_by_label("Steps", exact=True)).to_have_attribute("max", "150")
    expect(page.get_by_label("Images")).to_have_attribute("max", "8")


@ON_A_PHONE_TOO
def test_quick_fill_disables_ignored_settings_with_the_reason(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    more_settings(page)
    for name in (*DIFFUSION_ONLY, *FOR_EVERY_ENGINE):
        expect(page.locator(f"[name={name}]")).to_be_enabled()
    page.get_by_label("Engine").select_option("quick-fill")
    for name in DIFFUSION_ONLY:
        expect(page.locator(f"[name={name}]")).to_be_disabled()
    for name in FOR_EVERY_ENGINE:
        expect(page.locator(f"[name={name}]")).to_be_enabled()
    expect(page.locator("#more-reason")).to_have_text(f"Greyed out: Quick fill does not read it. {AT_FIRST}")
    expect(page.locator("#ignored-reason")).to_have_text("Quick fill does not read it.")
    expect(page.locator("#model-of-diffusion")).to_be_hidden()


@ON_A_PHONE_TOO
def test_settings_without_effect_at_guidance_one_are_disabled_with_the_reason(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    more_settings(page)
    for field, value, former in (("Quality", "draft", ""), ("Fast", "1", ""), ("Guidance scale", "1.0", "7.5")):
        box = page.get_by_label(field, exact=True)
        set_to = box.select_option if field == "Quality" else box.fill
        set_to(value)
        for name in ("negative_prompt", "guidance_start", "guidance_end"):
            expect(page.locator(f"[name={name}]")).to_be_disabled()
        expect(page.locator("#more-reason")).to_contain_text("guidance scale of 1")
        set_to(former)
        expect(page.get_by_label("Negative prompt")).to_be_enabled()
        expect(page.locator("#more-reason")).to_contain_text(AT_FIRST)
        expect(page.locator("#more-reason")).not_to_contain_text("guidance scale of 1")


@ON_A_PHONE_TOO
def test_compatible_loras_are_offered_and_used(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    expect(page.get_by_label("Ink")).to_be_visible()
    expect(page.locator("#loras [data-slug=ink]")).to_contain_text("say “ink drawing”")
    expect(page.locator("#loras [data-slug=large]")).to_be_hidden()  # for SDXL
    page.get_by_label("Engine").select_option("quick-fill")
    expect(page.locator("#loras")).to_be_hidden()
    page.get_by_label("Engine").select_option("auto")
    page.get_by_label("Ink").fill("3")
    start(page)
    expect(page.locator("#generate-message")).to_have_text("The weight of a LoRA must be a number from -2 to 2.")
    page.get_by_label("Ink").fill("0.5")
    page.get_by_label("Fast").fill("1")
    expect(page.get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "4")
    scheduler = "Default: LCM: in 4 to 8 steps, for LCM models and LoRAs"
    expect(page.get_by_label("Scheduler").locator("option").first).to_have_text(scheduler)
    expect(page.locator("#more-set")).to_contain_text("Ink 0.5")
    for label in ("Work width, px", "Work height, px"):
        page.get_by_label(label, exact=True).fill("64")
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    recipe = kept_metadata(page)
    assert recipe["loras"] == [{"slug": "fast", "weight": 1}, {"slug": "ink", "weight": 0.5}]
    assert (recipe["steps"], recipe["scheduler"]) == (4, "LCMScheduler")
    pk = kept_generation(page)["id"]
    page.get_by_role("button", name="Back", exact=True).click()
    more_settings(page)  # on a phone they close, so that they do not cover the result
    page.get_by_role("button", name="Back to the defaults").click()
    expect(page.get_by_label("Ink")).to_have_value("")
    page.goto(f"/?source={pk}")
    expect(page.get_by_label("Ink")).to_have_value("0.5")


@ON_A_PHONE_TOO
def test_the_strength_beside_a_result_is_that_of_the_form(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    beside = page.locator("#hole-strength")
    expect(beside).to_be_hidden()  # of quick-fill, which ignores it
    page.get_by_role("button", name="Back", exact=True).click()
    enter_prompt(page, "a lawn")
    more_settings(page)
    page.get_by_label("Steps", exact=True).fill("4")
    for label in ("Work width, px", "Work height, px"):
        page.get_by_label(label, exact=True).fill("64")
    close_settings(page)
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    expect(beside).to_contain_text("Strength")
    expect(page.locator("#hole-strength-slider")).to_have_value(page.locator("#strength").input_value())
    expect(beside).to_have_attribute("title", "How freely the model repaints: 0 keeps what is there")
    page.locator("#hole-strength-slider").fill("0.5")
    expect(beside).to_contain_text("0.50")
    expect(page.locator("#strength")).to_have_value("0.5")
    first = page.url
    page.get_by_role("button", name="Try again").click()
    expect(page).not_to_have_url(first)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    assert kept_metadata(page)["denoising_strength"] == 0.5


@ON_A_PHONE_TOO
def test_a_number_out_of_range_is_reported_and_not_sent(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    page.get_by_label("Steps", exact=True).fill("151")
    close_settings(page)
    start(page)
    expect(page.locator("#generate-message")).to_have_text("Steps must be a whole number from 1 to 150.")
    expect(page.get_by_label("Steps", exact=True)).to_be_focused()
    expect(page.get_by_label("Steps", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Steps", exact=True).evaluate("input => input.scrollIntoView({ block: 'end' })")
    start(page)
    assert page.get_by_label("Steps", exact=True).evaluate(IS_SEEN), "it lies under what stays at the bottom"
    page.get_by_role("button", name="Back to the defaults").click()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("")
    expect(page.locator("#generate-message")).to_be_hidden()
    negative = page.get_by_label("Negative prompt")
    negative.evaluate("(box) => { box.value = 'x'.repeat(10_002) }")
    negative.press("Backspace")
    start(page)
    too_long = "Negative prompt has 10001 characters; at most 10000 are allowed."
    expect(page.locator("#generate-message")).to_have_text(too_long)


@pytest.mark.smoke
@ON_A_PHONE_TOO
def test_a_prompt_gives_two_results_and_their_settings_can_be_reopened(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    enter_prompt(page, "a red bus")
    more_settings(page)
    settings = {"Steps": "4", "Images": "2", "Seed": "77", "Work width, px": "64", "Work height, px": "64"}
    for label, value in settings.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Scheduler").select_option("EulerDiscreteScheduler")
    page.locator("#strength").fill("1")
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    recipe_kept = kept_metadata(page)
    assert (recipe_kept["model"], recipe_kept["steps"], recipe_kept["work_width"]) == ("tiny", 4, 64)
    assert {"clip_skip", "use_karras_sigmas", "only_masked_padding"}.isdisjoint(recipe_kept)
    assert any(re.search(r'"step": ?\d+, "of": ?8\b', frame) for frame in frames)

    expect(page.locator("#figure-engine")).to_have_text("Diffusion · Tiny model")
    expect(page.locator("#figure-outside")).to_have_text("0")
    shown = page.locator("#result-image")
    expect(shown).to_have_attribute("src", re.compile("/images/0/$"))
    first = page.get_by_role("radio", name="Result 1")
    expect(page.get_by_role("radio")).to_have_count(2)
    first.focus()
    page.keyboard.press("ArrowRight")
    expect(shown).to_have_attribute("src", re.compile("/images/1/$"))
    download_button = page.locator("#download")
    expect(download_button).to_have_attribute("href", re.compile(r"/images/1/\?content_credentials=true$"))
    page.get_by_role("button", name="More ways to download").click()
    for number in (1, 2):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download result {number}").click()
        assert download.value.suggested_filename == f"astronaut-2-{number}.png"
        assert b"c2pa.edited" in Path(download.value.path()).read_bytes()
    page.get_by_label("With Content Credentials").uncheck()
    expect(download_button).to_have_attribute("href", re.compile("/images/1/$"))
    page.keyboard.press("Escape")
    prompt = page.locator("#prompt")
    if prompt.is_visible():  # on phones there is no room for it beside a result
        prompt.fill("")
        prompt.press("ArrowUp")  # recalls what was used
        expect(prompt).to_have_value("a red bus")
        prompt.press("ArrowDown")
        expect(prompt).to_have_value("")
        prompt.press("ArrowUp")

    open_details(page)
    recipe = page.locator(".recipe")
    for words in ("Tiny model", "EulerDiscreteScheduler", "Guidance scale", "64 × 64"):
        expect(recipe).to_contain_text(words)
    page.get_by_role("link", name="Open in editor").click()
    expect(page.locator("#more-set")).to_contain_text("Seed 77")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red bus")
    more_settings(page)
    expect(page.get_by_label("Engine")).to_have_value("auto")
    for label, value in settings.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(value)
    expect(page.get_by_label("Scheduler")).to_have_value("EulerDiscreteScheduler")
    expect(page.get_by_label("Guidance scale")).to_have_value("")
    page.get_by_role("link", name="History").click()
    expect(page.locator(".card").first).to_contain_text("Tiny model")


def test_the_dock_leaves_the_photo_free_beside_a_prompt_and_the_palette_has_it_later(
    page: Page, photo: Pixels, tmp_path: Path
) -> None:
    open_photo(page, written(photo[:, 64:192], tmp_path / "tall.png"))
    paint_line(page, from_left=0.45, to_left=0.55)
    enter_prompt(page, "a red bus")
    covered = {"Replace": covered_by_the_dock(page)}
    choose_task(page, "Extend")
    covered["Extend"] = covered_by_the_dock(page)
    choose_task(page, "Replace")
    more_settings(page)
    for name, value in (("Images", "2"), ("Steps", "1"), ("Work width", "128"), ("Work height", "128")):
        page.get_by_label(name, exact=not name.startswith("Work")).fill(value)
    close_settings(page)
    expect(page.locator("#more-set")).to_contain_text("Images 2")
    covered["settings"] = covered_by_the_dock(page)
    start(page)
    expect(page.locator("#editor")).to_have_attribute("data-state", "done", timeout=MS_TO_LOAD)
    expect(page.locator("#choices")).to_be_visible()
    covered["result"] = covered_by_the_dock(page)
    assert {state: widths for state, widths in covered.items() if widths} == {}
    page.get_by_role("button", name="Back", exact=True).click()
    page.get_by_label("Prompt", exact=True).fill("")
    page.keyboard.press("Control+k")
    page.get_by_label("Find a command").fill("bus prompt")
    expect(page.locator(".palette-list li")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red bus")


def test_a_generation_submitted_through_the_api_opens_with_its_requested_settings(page: Page, photo_file: Path) -> None:
    small = {"width": "64", "height": "64"}
    draft = {"preset": "draft", "steps": "30", "guidance_scale": "7.5", "safety_checker": "true"}
    pk = submitted(page, photo_file, model="tiny", prompt="a red bus " * 75, **small, **draft)
    page.goto(f"/?source={pk}")
    more_settings(page)
    expect(page.get_by_label("Quality", exact=True)).to_have_value("draft")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("30")  # the default of the model, not of the draft
    expect(page.get_by_label("Guidance scale")).to_have_value("7.5")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red bus " * 75)
    expect(page.get_by_label("VAE").locator("option").first).to_have_text("Default: soft")
    expect(page.get_by_label("Safety checker")).to_have_value("sensitive_content_text")  # the site's is off


@ON_A_PHONE_TOO
def test_a_compatible_vae_is_offered_and_used(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    vae = page.get_by_label("VAE")
    expect(vae.locator("option")).to_have_text(["The model's own", "soft"])
    page.get_by_label("Engine").select_option("quick-fill")
    expect(vae).to_be_hidden()
    page.get_by_label("Engine").select_option("diffusion")
    enter_prompt(page, "a red bus")
    vae.select_option("soft")
    expect(page.locator("#more-set")).to_contain_text("VAE soft")
    small = {"Work width, px": "64", "Work height, px": "64", "Steps": "4", "Guided until": "0.5"}
    for label, value in small.items():
        page.get_by_label(label, exact=True).fill(value)
    start(page)
    expect(page.locator("#result")).to_be_visible(timeout=MS_TO_LOAD)
    recipe = kept_metadata(page)
    assert (recipe["vae"], recipe["guidance_end"], recipe["embeddings"]) == ("soft", 0.5, [])
    open_details(page)
    with page.expect_response(re.compile("/mask/")):  # after the settings, which the draft shows before them
        page.get_by_role("link", name="Open in editor").click()
    expect(page.locator("#more-set")).to_contain_text("VAE soft")
    expect(page.get_by_label("Denoising strength")).to_have_value("1")
    more_settings(page)
    page.get_by_role("button", name="Back to the defaults").click()
    expect(page.locator("#more-set")).not_to_contain_text("VAE")


@ON_A_PHONE_TOO
def test_an_embedding_is_added_to_the_prompt_and_requested(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    words = page.get_by_role("group", name="Embeddings")
    expect(page.locator("#weights-help")).to_have_text("(words:1.3) count more, (words:0.7) less.")
    expect(words.get_by_role("button")).to_have_text(["<cat>", "<whale>"])
    page.get_by_label("Engine").select_option("quick-fill")
    expect(words).to_be_hidden()
    expect(page.locator("#weights-help")).to_have_text("")  # screen readers read a description also while it is hidden
    page.get_by_label("Engine").select_option("auto")
    enter_prompt(page, "a red bus")
    words.get_by_role("button", name="<cat>").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red bus <cat>")
    start(page)
    # The vectors have the width of published models, not of the tiny one: the refusal proves that they were requested.
    expect(page.locator("#generate-message")).to_contain_text("The embedding cat has vectors", timeout=MS_TO_LOAD)


@ON_A_PHONE_TOO
def test_a_running_generation_is_cancelled(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    paint_line(page, from_left=0.48, to_left=0.52)
    more_settings(page)
    page.get_by_label("Engine").select_option("diffusion")
    enter_prompt(page, "a red bus")
    page.get_by_label("Steps", exact=True).fill("150")
    page.locator("#strength").fill("1")
    page.get_by_label("Images").fill("8")
    start(page)
    # 8 images of 150 steps each.
    expect(page.locator("#progress-detail")).to_contain_text("of 1200", timeout=MS_TO_LOAD)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#generate-message")).to_have_text("Cancelled. Your mask is still here.")
    assert is_red(page)


@ON_A_PHONE_TOO
def test_only_the_marked_part_gets_detail_and_more_of_it_is_asked_for(page: Page, photo_file: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_photo(page, photo_file)
    choose_task(page, "Enlarge")
    expect(page.locator("#detail-part")).to_be_hidden()
    page.get_by_label("How many times larger").select_option("1.5 times")
    page.get_by_label("Add detail").check()
    part = page.locator("#detail-part")
    expect(part).to_have_text("Brush over a part to add detail only there.")

    def is_about_a_part(sent: Request) -> bool:
        return sent.url.endswith("/api/plan/") and {"detail", "mask_box"} <= (sent.post_data_json or {}).keys()

    with page.expect_request(is_about_a_part) as asked:
        paint_line(page, from_left=0.45, to_left=0.55)
    expect(part).to_have_text("Only the marked part gets detail.")
    question: dict[str, Any] = asked.value.post_data_json or {}
    left, top, right, bottom = question["mask_box"]
    assert (question["engine"], left < SIDE / 2 < right, top < SIDE / 2 < bottom) == ("upscale", True, True)
    assert right - left < SIDE / 2
    more_settings(page)
    page.get_by_label("Steps", exact=True).fill("2")
    page.get_by_label("File format").select_option("WebP")
    close_settings(page)
    page.locator("#prompt").fill("an astronaut")
    start(page)
    summary = page.locator("#result-summary")
    expect(summary).to_have_text(re.compile("^Enlarged in "), timeout=MS_TO_LOAD)
    first = kept_metadata(page)
    assert 0 < first["results"][0]["coverage"] < 0.3
    assert (first["steps"], first["output_format"], first["model"]) == (2, "webp", "tiny")
    press(page, "More like this")
    expect(summary).to_have_text(re.compile("^2 of 2: Enlarged in "), timeout=MS_TO_LOAD)
    second = kept_metadata(page)
    wanted, got = dict(first["requested"]), dict(second["requested"])
    assert got.pop("seed") != wanted.pop("seed", first["seed"])
    assert got == wanted
    assert [second[name] for name in ("engine", "width", "height", "upscaler", "denoising_strength")] == [
        *("diffusion", SIDE * 3 // 2, SIDE * 3 // 2, "lanczos", 0.3)
    ]
    assert second["results"][0]["coverage"] == first["results"][0]["coverage"]
    press(page, "More ways to download")
    press(page, "Copy as curl")
    command = page.evaluate("navigator.clipboard.readText()")
    assert "/api/upscale' " in command
    assert "-F mask=@mask.png" in command
    assert "--form-string 'detail=0.3'" in command
    page.goto(f"/?source={kept_generation(page)['id']}")
    expect(page.locator("#detail")).to_be_checked()
    expect(part).to_have_text("Only the marked part gets detail.")
    assert is_red(page)


@ON_A_PHONE_TOO
def test_a_model_adds_detail_to_the_photos_of_a_batch(page: Page, photo_file: Path) -> None:
    page.goto("/batches/")
    page.wait_for_selector("#new-batch[data-ready]")
    page.locator("#batch-input").set_input_files(photo_file)
    page.get_by_role("radio", name="Enlarge").check()
    expect(page.locator("#batch-prompt")).to_be_hidden()
    expect(page.locator("#detail-row")).to_be_hidden()
    page.get_by_label("How many times larger").select_option("1.5 times")
    page.get_by_label("Add detail").check()
    page.get_by_label("Model").select_option("Other model")
    page.get_by_label("Strength").fill("0.2")
    page.get_by_label("What do the photos show? (may stay empty)").fill("an astronaut")
    with page.expect_request("**/api/batches/upscale/") as sent:
        page.get_by_role("button", name="Enlarge 1 photo").click()
    page.wait_for_url("**/batches/*-*/")
    asked: dict[str, Any] = sent.value.post_data_json or {}
    assert {name: asked[name] for name in asked if name != "images"} == {
        **{"scale": 1.5, "detail": 0.2, "detail_model": "other", "prompt": "an astronaut"}
    }
    expect(page.locator("#batch-items .badge")).to_have_text(["Finished"], timeout=MS_TO_LOAD)


@ON_A_PHONE_TOO
def test_a_model_adds_detail_to_the_enlarged_photo(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    choose_task(page, "Enlarge")
    expect(page.locator("#prompt")).to_be_hidden()
    expect(page.locator("#detail-row")).to_be_hidden()
    page.get_by_label("How many times larger").select_option("1.5 times")
    side = SIDE * 3 // 2
    question = {"engine": "upscale", "image_size": [SIDE, SIDE], "scale": 1.5, "detail": 0.3, "detail_model": "tiny"}
    with page.expect_request(lambda sent: sent.url.endswith("/api/plan/") and sent.post_data_json == question):
        page.get_by_label("Add detail").check()
    row = page.locator("#detail-row")
    row.get_by_label("Model").select_option("Other model")
    row.get_by_label("Strength").fill("0.2")
    expect(row.locator("output")).to_have_text("0.20")
    page.locator("#prompt").fill("an astronaut")
    start(page)
    expect(page.locator("#result-summary")).to_have_text(re.compile("^Enlarged in "), timeout=MS_TO_LOAD)
    metadata = kept_metadata(page)
    assert [metadata[name] for name in ("engine", "model", "upscaler", "denoising_strength", "prompt", "width")] == [
        *("diffusion", "other", "lanczos", 0.2, "an astronaut", side)
    ]
    page.reload()
    expect(page.locator("#result-summary")).to_have_text(re.compile("^Enlarged in "))
    expect(page.locator("#detail")).to_be_checked()  # as it was entered
    expect(page.locator("#detail-model")).to_have_value("other")
    expect(page.locator("#detail-strength")).to_have_value("0.2")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("button", name="Step 1, from the photo: Enlarged")).to_be_attached()
