"""The editor offers control and IP-Adapter images if the model has parts for them, and sends both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch", reason="diffusion is not installed")

from playwright.sync_api import Browser, Locator, Page, Route, expect
from skimage import data

from inpainting.core.codecs import decode_image
from inpainting.core.codecs.accepted import ACCEPTED
from inpainting.core.conditioning_images import prepare_control_image
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from tests.browser.conftest import empty_draft, watched_page
from tests.browser.devices import ON_A_PHONE_TOO
from tests.browser.editor_page import more_settings, open_photo, paint_line, start
from tests.conftest import png
from tests.support.adapter_folders import ip_adapter, network
from tests.support.hub import tiny_model, written
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

PROMPTS = ("ip_adapter_image", "ip_adapter_image_2")
GUIDE, LOOK = data.coffee()[:120, :160], data.chelsea()[:100, :130]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A model and adapters with valid files that cannot run; their generations are stored all the same."""
    scratch = tmp_path_factory.mktemp("parts")
    installation = Installation(tmp_path_factory.mktemp("site"), DREAMLAYER_DIFFUSION_DEVICE="cpu")
    installation.migrate()
    model = str(written(tiny_model(), scratch / "tiny"))
    commands: list[tuple[str, ...]] = [
        ("add_model", "tiny", "--family", "sd", "--from", model, "--label", "Tiny model")
    ]
    for control in ("canny", "depth", "tile"):
        folder = str(network(scratch / control, _class_name="ControlNetModel"))
        kind = ("--kind", "controlnet", "--control", control, "--label", f"By {control}")
        commands.append(("add_model", control, "--family", "sd", "--from", folder, *kind))
    folder = str(network(scratch / "union", _class_name="ControlNetUnionModel"))
    kind = ("--kind", "controlnet", "--control", "union", "--label", "Union")
    commands.append(("add_model", "union", "--family", "sd", "--from", folder, *kind))
    folder = str(network(scratch / "large", _class_name="ControlNetModel", cross_attention_dim=2048))
    kind = ("--kind", "controlnet", "--control", "depth", "--label", "Large")
    commands.append(("add_model", "large", "--family", "sdxl", "--from", folder, *kind))
    folder = str(ip_adapter(scratch / "look"))
    commands.append(("add_model", "look", "--family", "sd", "--from", folder, "--kind", "ip-adapter", "--label", "Eye"))
    installation.manage_all(commands)
    with installation.serving():
        yield installation


@pytest.fixture
def page(installed_page: Page, photo_file: Path) -> Page:
    open_photo(installed_page, photo_file)
    paint_line(installed_page, from_left=0.48, to_left=0.52)
    more_settings(installed_page)
    return installed_page


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    files = {"guide": tmp_path / "guide.png", "look": tmp_path / "look.png"}
    files["guide"].write_bytes(png(np.asarray(GUIDE)))
    files["look"].write_bytes(png(np.asarray(LOOK)))
    return files


def guide(page: Page) -> Locator:
    return page.get_by_label("ControlNet", exact=True)


def stored_generation(page: Page) -> dict[str, Any]:
    """The generation on the page, as the server stores it."""
    expect(page).to_have_url(re.compile("generation="))
    pk = re.search(r"generation=([0-9a-f-]{36})", page.url)
    assert pk is not None
    answer: dict[str, Any] = page.request.get(f"/api/generations/{pk[1]}/").json()
    return answer


@ON_A_PHONE_TOO
def test_only_adapters_compatible_with_model_and_engine_are_offered(page: Page) -> None:
    expect(guide(page).locator("option")).to_have_text(["None", "By canny", "By depth", "By tile", "Union"])
    expect(page.get_by_label("IP-Adapter", exact=True).locator("option")).to_have_text(["None", "Eye"])
    expect(page.get_by_label("ControlNet strength")).to_be_hidden()
    expect(page.locator("#control-zone")).to_be_hidden()
    guide(page).select_option("canny")
    expect(page.get_by_label("ControlNet strength")).to_be_visible()
    expect(page.locator("#control-zone")).to_be_hidden()  # the control image is computed
    expect(page.get_by_label("Engine").locator("option").first).to_have_text("Auto (Diffusion)")
    expect(page.locator("#more-set")).to_contain_text("ControlNet By canny")
    guide(page).select_option("depth")
    expect(page.locator("#control-wanted")).to_have_text("Drop a depth map here, or choose one")
    page.get_by_label("Engine").select_option("quick-fill")
    expect(page.locator("#control-field")).to_be_hidden()
    expect(page.locator("#ip-adapter-field")).to_be_hidden()


@ON_A_PHONE_TOO
def test_a_missing_image_is_reported_only_where_it_is_required(page: Page) -> None:
    guide(page).select_option("depth")
    start(page)
    expect(page.locator("#generate-message")).to_contain_text("By depth needs a depth map")
    more_settings(page)  # on a phone they close, so that they do not cover the message
    guide(page).select_option("tile")
    expect(page.locator("#generate-message")).to_be_hidden()
    expect(page.locator("#control-wanted")).to_contain_text("without one it is the photo itself")
    page.get_by_label("IP-Adapter", exact=True).select_option("look")
    start(page)
    expect(page.locator("#generate-message")).to_contain_text("Eye needs an image")
    more_settings(page)
    page.get_by_label("Image prompt", exact=True).set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"}
    )
    expect(page.locator("#ip-adapter-message")).to_contain_text(f"is not a {ACCEPTED} file")
    page.get_by_label("ControlNet strength").fill("3")
    start(page)
    expect(page.locator("#generate-message")).to_have_text("ControlNet strength must be a number from 0 to 2.")


@ON_A_PHONE_TOO
def test_both_images_are_sent_stored_and_reopened(page: Page, images: dict[str, Path]) -> None:
    guide(page).select_option("depth")
    page.get_by_label("Control image", exact=True).set_input_files(images["guide"])
    expect(page.locator("#control-zone .mask-name")).to_have_text("guide.png")
    page.get_by_label("ControlNet strength").fill("0.8")
    page.get_by_label("ControlNet end").fill("0.5")
    page.get_by_label("IP-Adapter", exact=True).select_option("look")
    page.get_by_label("Image prompt", exact=True).set_input_files(images["guide"])
    page.locator("#ip-adapter-zone").get_by_role("button", name="Remove").press("Enter")
    expect(page.locator("#ip-adapter-zone .mask-file")).to_be_hidden()
    expect(page.get_by_label("Image prompt", exact=True)).to_be_focused()  # the focused button was removed
    page.get_by_label("Image prompt", exact=True).set_input_files(images["look"])
    page.get_by_label("IP-Adapter scale").fill("0.4")
    start(page)
    content = stored_generation(page)
    recipe = content["metadata"]
    assert (recipe["control"], recipe["control_strength"], recipe["control_end"]) == ("depth", 0.8, 0.5)
    assert (recipe["ip_adapter"], recipe["ip_adapter_scale"]) == ("look", 0.4)
    whole = Size(recipe["width"], recipe["height"])
    guided = decode_image(page.request.get(content["control_image"]).body()).image
    assert guided.equals(prepare_control_image(CanonicalImage(np.asarray(GUIDE)), whole))
    assert np.array_equal(decode_image(page.request.get(content["ip_adapter_image"]).body()).image.pixels, LOOK)

    page.goto(f"/generations/{content['id']}/")
    for words in ("ControlNet", "By depth", "Eye", "0.8"):
        expect(page.locator(".recipe")).to_contain_text(words)
    page.locator("summary", has_text="Details").click()
    for what in ("Control image", "Image prompt"):
        image = page.get_by_role("img", name=what)
        expect(image).to_be_visible()
        assert image.evaluate("image => image.complete && image.naturalWidth > 0 && image.width <= 144")

    empty_draft(page)  # which has the images too
    page.get_by_role("link", name="Open in editor").click()
    expect(page.locator("#more-set")).to_contain_text("ControlNet By depth")
    more_settings(page)
    expect(guide(page)).to_have_value("depth")
    expect(page.get_by_label("ControlNet strength")).to_have_value("0.8")
    expect(page.locator("#control-zone .mask-name")).to_have_text("control.png")
    expect(page.locator("#ip-adapter-zone .mask-name")).to_have_text("ip-adapter.png")
    page.get_by_role("button", name="Back to the defaults").click()
    expect(guide(page)).to_have_value("")


def test_the_images_are_part_of_the_draft_on_every_device(
    page: Page, browser: Browser, installation: Installation, images: dict[str, Path]
) -> None:
    guide(page).select_option("depth")
    page.get_by_label("Control image", exact=True).set_input_files(images["guide"])
    page.get_by_label("IP-Adapter", exact=True).select_option("look")
    page.get_by_label("Image prompt", exact=True).set_input_files(images["look"])
    expect(page.locator("#saved")).to_have_text("Saved")
    state = page.context.storage_state()
    page.reload()
    other = browser.new_context(base_url=installation.url, storage_state=state)
    for device in watched_page(other):
        device.goto("/")
        for shown in (page, device):
            more_settings(shown)
            expect(shown.locator("#control-zone .mask-name")).to_have_text("guide.png")
            expect(shown.locator("#ip-adapter-zone .mask-name")).to_have_text("look.png")
        start(device)
        content = stored_generation(device)
        sent = decode_image(device.request.get(content["ip_adapter_image"]).body()).image
        assert np.array_equal(sent.pixels, LOOK)


@ON_A_PHONE_TOO
def test_a_union_offers_kinds_of_control_images_and_asks_for_those_it_cannot_compute(page: Page) -> None:
    control, kind, zone = page.locator("#control"), page.locator("#control-type"), page.locator("#control-zone")
    control.select_option("union")
    expect(kind).to_be_visible()
    expect(zone).to_be_hidden()
    kind.select_option("openpose")
    expect(zone).to_contain_text("a skeleton")
    kind.select_option("inpaint")
    expect(zone).to_be_hidden()
    control.select_option("canny")
    expect(kind).to_be_hidden()
    expect(kind).to_have_value("")


@ON_A_PHONE_TOO
def test_further_controlnets_and_ip_adapters_are_added_sent_reopened_and_removed(
    page: Page, images: dict[str, Path]
) -> None:
    add = page.get_by_role("button", name="Add another ControlNet")
    expect(add).to_be_hidden()
    guide(page).select_option("depth")
    page.get_by_label("Control image", exact=True).set_input_files(images["guide"])
    add.click()
    second = page.get_by_label("ControlNet 2", exact=True)
    expect(second).to_be_focused()
    expect(add).to_be_hidden()  # until the second is chosen
    second.select_option("tile")
    page.get_by_label("Control image 2").set_input_files(images["look"])
    page.get_by_label("ControlNet 2 strength").fill("0.5")
    add.click()
    page.get_by_label("ControlNet 3", exact=True).select_option("canny")
    page.get_by_role("button", name="Remove ControlNet 3").click()
    expect(page.get_by_label("ControlNet 3", exact=True)).to_be_hidden()
    expect(add).to_be_focused()
    page.get_by_label("IP-Adapter", exact=True).select_option("look")
    page.get_by_label("Image prompt", exact=True).set_input_files(images["look"])
    page.get_by_role("button", name="Add another IP-Adapter").click()
    page.get_by_label("IP-Adapter 2", exact=True).select_option("look")
    page.get_by_label("IP-Adapter 2 scale").fill("0.3")
    start(page)
    expect(page.locator("#generate-message")).to_contain_text("Eye needs an image")
    more_settings(page)
    page.get_by_label("Image prompt 2").set_input_files(images["guide"])
    expect(page.locator("#more-set")).to_contain_text("ControlNet 2 By tile")
    start(page)
    content = stored_generation(page)
    recipe = content["metadata"]
    assert [(use["slug"], use["strength"]) for use in recipe["controls"]] == [("depth", 1.0), ("tile", 0.5)]
    assert [(use["slug"], use["scale"]) for use in recipe["ip_adapters"]] == [("look", 1.0), ("look", 0.3)]
    sizes = {name: decode_image(page.request.get(content[name]).body()).image.size for name in PROMPTS}
    assert sizes == {"ip_adapter_image": Size(130, 100), "ip_adapter_image_2": Size(160, 120)}
    assert content["control_image"]
    assert content["control_image_2"]

    page.goto(f"/generations/{content['id']}/")
    page.locator("summary", has_text="Details").click()
    for what in ("Control image 2", "Image prompt 2"):
        expect(page.get_by_role("img", name=what)).to_be_visible()
    empty_draft(page)
    page.get_by_role("link", name="Open in editor").click()
    expect(page.locator("#more-set")).to_contain_text("IP-Adapter 2 Eye")
    more_settings(page)
    expect(second).to_have_value("tile")
    expect(page.get_by_label("ControlNet 2 strength")).to_have_value("0.5")
    for zone in ("control", "control-2", "ip-adapter", "ip-adapter-2"):
        expect(page.locator(f"#{zone}-zone .mask-name")).to_have_text(f"{zone}.png")
    guide(page).select_option("")  # then the second is sent as the first
    start(page)
    expect(page).not_to_have_url(re.compile(content["id"]))
    alone = stored_generation(page)
    assert [use["slug"] for use in alone["metadata"]["controls"]] == ["tile"]
    assert alone["metadata"]["control_image_sha256"] == recipe["control_image_2_sha256"]
    more_settings(page)
    page.get_by_role("button", name="Back to the defaults").click()
    expect(second).to_be_hidden()
    expect(page.locator("#more-set")).to_have_text("")


def test_a_depth_map_that_was_shared_is_used_again_after_depth_can_be_computed(
    page: Page, images: dict[str, Path]
) -> None:
    guide(page).select_option("depth")
    page.get_by_label("Control image", exact=True).set_input_files(images["guide"])
    page.get_by_role("button", name="Add another ControlNet").click()
    page.get_by_label("ControlNet 2", exact=True).select_option("union")
    page.locator("#control-2-field [name=control_type_2]").select_option("depth")
    page.get_by_label("Control image 2").set_input_files(images["guide"])
    start(page)
    while (content := stored_generation(page))["status"] in ("queued", "running"):
        page.wait_for_timeout(100)
    assert content["control_image_2"]
    content["control_image_2"] = None  # as of a request that sent one image for both
    page.route(f"**/api/generations/{content['id']}/", lambda route: route.fulfill(json=content))
    page.route(re.compile(r"/\?generation="), with_computed_depth)
    empty_draft(page)
    page.goto(f"/?generation={content['id']}")
    more_settings(page)
    expect(page.locator("#control-wanted")).to_contain_text("without one it is computed from the photo")
    for zone in ("control", "control-2"):
        expect(page.locator(f"#{zone}-zone .mask-name")).to_have_text(f"{zone}.png")


def with_computed_depth(route: Route) -> None:
    """Answer with the page as it is where a preprocessor for depth maps is installed."""
    answer = route.fetch()
    body = answer.text()
    assert '"computed": []' in body
    route.fulfill(response=answer, body=body.replace('"computed": []', '"computed": ["depth"]'))
