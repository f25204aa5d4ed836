"""`insert_image` in the API: cloned, as the start of a model, as a reference image; its place, metadata and errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from skimage import data

from inpainting.core.adapter_uses import REFERENCES
from inpainting.core.codecs import decode_image, encode_png
from inpainting.core.credentials import VOCABULARY
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage
from inpainting.core.inserting import InsertPlacement, draw, paste
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import INSERT_SETTINGS
from inpainting.generations import batches
from inpainting.media.results import is_signed_in_pages
from inpainting.models import Generation, InferenceModel, ReferenceImage
from inpainting.planning import planner
from tests.api.bodies import shape_a, shape_c, text, upload
from tests.api.painting import result
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

OTHER = np.ascontiguousarray(data.coffee()[60:140, 80:180])
CUT_OUT = np.dstack([OTHER, np.full(OTHER.shape[:2], 255, np.uint8)])
cv2.circle(CUT_OUT, (50, 40), 100, (9, 9, 9, 0), 130)  # transparent but for a disc of 35 pixels
MIDDLE = {"insert_x": 50.5, "insert_y": 30.5, "insert_rotation": 0.0}
"""Of the disc that is repainted."""
PostInpaint = Callable[..., Any]


@pytest.fixture
def post_inpaint(alices_program: Client, photo_png: bytes, mask_png: bytes) -> PostInpaint:
    """post_inpaint(pixels, …) -> the answer to alice's form with this image to insert and these fields."""

    def post(insert: NDArray[np.uint8] | None, *, path: str = "/api/img2img", **fields: Any) -> Any:
        sent = {} if insert is None else {"insert_image": upload(png(insert), name="insert.png")}
        return alices_program.post(path, shape_a(photo_png, mask_png, **{"prompt": "", "seed": "3", **sent, **fields}))

    return post


def succeeded(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.json()
    metadata: dict[str, Any] = answer.json()["metadata"]
    return metadata


def newest() -> Generation:
    return Generation.objects.latest("created_at")


def test_quick_fill_clones_it_into_the_light_of_the_image(
    post_inpaint: PostInpaint, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    brighter = photo // 2 + 100
    metadata = succeeded(post_inpaint(photo // 2, insert_x="48", insert_y="32", insert_width="96"))
    darker = result()
    assert metadata["engine"] == "quick-fill"
    assert "quick-fill clones the image to insert" in metadata["engine_reason"]
    assert (metadata["insert_mode"], metadata["verb"]) == ("clone", "Inserted")
    assert not INSERT_SETTINGS & set(metadata["ignored"])
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    assert (darker[hole == 0] == photo[hole == 0]).all()
    assert (darker[hole > 0] != photo[hole > 0]).any()
    succeeded(post_inpaint(brighter, insert_x="48", insert_y="32", insert_width="96"))
    assert np.abs(result().astype(int) - darker).max() <= 1  # its own light has no effect
    succeeded(post_inpaint(photo, insert_x="48", insert_y="32", insert_width="96"))
    assert (result() == photo).all()


def test_what_it_does_not_cover_is_filled_as_without_it(post_inpaint: PostInpaint, hole: NDArray[np.uint8]) -> None:
    succeeded(post_inpaint(None, engine="quick-fill"))
    filled = result()
    succeeded(post_inpaint(OTHER, insert_x="60", insert_width="20"))
    with_insert = result()
    assert (with_insert[:, :50] == filled[:, :50]).all()
    assert (with_insert[:, 50:][hole[:, 50:] > 0] != filled[:, 50:][hole[:, 50:] > 0]).any()


def test_a_cut_out_keeps_its_colours(post_inpaint: PostInpaint, photo: NDArray[np.uint8]) -> None:
    metadata = succeeded(post_inpaint(CUT_OUT))
    assert {name: metadata[name] for name in MIDDLE} == MIDDLE
    assert metadata["insert_width"] == 21.0
    drawn = draw(CanonicalImage(CUT_OUT), InsertPlacement(50.5, 30.5, 21), Box(0, 0, 96, 64), Size(96, 64)).pixels
    opaque = drawn[:, :, 3] == 255
    assert opaque.sum() > 100
    assert (result()[opaque] == drawn[opaque][:, :3]).all()
    stored = newest().to_request().conditioning_images["insert_image"]
    assert np.array_equal(stored.pixels, CUT_OUT)


def test_an_image_of_16_bits_stays_one(alices_program: Client, photo: NDArray[np.uint8], mask_png: bytes) -> None:
    deep = photo.astype(np.uint16) * 257 + 3
    body = shape_a(encode_png(CanonicalImage(deep)), mask_png, prompt="", insert_image=upload(png(OTHER)))
    metadata = succeeded(alices_program.post("/api/img2img", body))
    pixels = newest().images.get().read().pixels
    assert pixels.dtype == np.uint16
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    assert (pixels != deep).any()


def test_a_clone_is_a_composite_of_captures(post_inpaint: PostInpaint, alices_program: Client) -> None:
    for insert, source_type in ((OTHER, "compositeCapture"), (None, "humanEdits")):
        succeeded(post_inpaint(insert, engine="quick-fill"))
        (image,) = alices_program.get(f"/api/generations/{newest().pk}/").json()["images"]
        assert image["digital_source_type"] == VOCABULARY + source_type
        assert not is_signed_in_pages(newest().images.get())


def test_a_plan_shows_its_box(post_inpaint: PostInpaint, alices_program: Client) -> None:
    fields = {"insert_x": "50", "insert_y": "30", "insert_width": "20", "insert_rotation": "90"}
    found = post_inpaint(OTHER, path="/api/plan/", **fields).json()
    assert found["insert_box"] == [42, 20, 58, 40]
    assert "insert_box" not in post_inpaint(None, path="/api/plan/", **fields).json()
    assert not ReferenceImage.objects.exists()


def test_without_an_image_its_settings_are_ignored(post_inpaint: PostInpaint) -> None:
    fields = {"insert_x": "50", "insert_rotation": "9", "insert_mode": "reference"}
    assert fields.keys() <= set(succeeded(post_inpaint(None, **fields))["ignored"])
    plain = result()
    succeeded(post_inpaint(None))
    assert (result() == plain).all()


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"insert_x": "10"}, "insert_outside", r"lies at \[-4, 20, 24, 41\] and covers nothing of the mask"),
        ({"engine": "quick-fill", "insert_mode": "start"}, "insert_mode_unfit", "engine quick-fill cannot .*: clone"),
        ({"prompt": "a", "insert_mode": "reference"}, "insert_mode_unfit", "reference; possible: start"),
        ({"engine": "diffusion", "insert_mode": "clone"}, "insert_mode_unfit", "clone; possible: start"),
        ({"insert_mode": "paste"}, "field_invalid", "not a valid choice"),
        ({"insert_width": "0"}, "field_out_of_range", "between 1"),
        ({"insert_rotation": "200"}, "field_out_of_range", "between -180"),
    ],
)
@pytest.mark.usefixtures("diffusion_requests")
def test_what_cannot_be_inserted_is_refused(
    post_inpaint: PostInpaint, fields: dict[str, str], code: str, message: str
) -> None:
    answer = post_inpaint(OTHER, **fields)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.json()
    assert re.search(message, answer.json()["message"]), answer.json()


def test_a_model_starts_from_it(
    post_inpaint: PostInpaint,
    diffusion_requests: list[InpaintRequest],
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
) -> None:
    fields = {"prompt": "a cup", "denoising_strength": "0.6", "width": "96", "height": "64"}
    metadata = succeeded(post_inpaint(CUT_OUT, **fields))
    assert (metadata["engine"], metadata["insert_mode"]) == ("diffusion", "start")
    (request,) = diffusion_requests
    placement = InsertPlacement(50.5, 30.5, metadata["insert_width"])
    drawn = draw(CanonicalImage(CUT_OUT), placement, Box(0, 0, 96, 64), Size(96, 64))
    assert request.image.size == Size(96, 64)
    assert np.array_equal(request.image.pixels, paste(photo, drawn, hole))
    assert np.array_equal(request.conditioning_images["insert_image"].pixels, drawn.pixels)
    at_full = succeeded(post_inpaint(CUT_OUT, **{**fields, "denoising_strength": "1", "insert_rotation": "9"}))
    note = "insert_image was not read: at a denoising strength of 1 nothing of it would be kept."
    assert note in at_full["warnings"]
    assert {"insert_mode", "insert_rotation"} <= set(at_full["ignored"])
    assert np.array_equal(diffusion_requests[-1].image.pixels, photo)


def test_it_is_one_more_reference_image(
    post_inpaint: PostInpaint, diffusion_requests: list[InpaintRequest], photo: NDArray[np.uint8]
) -> None:
    scheduler = "FlowMatchEulerDiscreteScheduler"
    InferenceModel.objects.filter(slug="tiny").update(family="qwen-image-edit", scheduler=scheduler)
    words = {"prompt": "put it there", "denoising_strength": "1"}
    looks = {"reference_image": upload(png(OTHER))}
    metadata = succeeded(post_inpaint(CUT_OUT, **words, **looks, insert_x="7"))
    assert (metadata["insert_mode"], metadata["ignored"]) == ("reference", ["insert_x"])
    assert metadata["verb"] == "Painted"
    looks = {"reference_image": upload(png(OTHER)), "reference_image_2": upload(png(CUT_OUT))}
    succeeded(post_inpaint(None, **words, **looks))
    by_insert, by_reference = diffusion_requests
    assert [*by_insert.conditioning_images] == [*by_reference.conditioning_images]
    for name, image in by_reference.conditioning_images.items():
        assert by_insert.conditioning_images[name].equals(image)
    assert by_insert.image.equals(by_reference.image)
    # A model that sees the image sees what is inserted at any strength.
    metadata = succeeded(post_inpaint(CUT_OUT, **words, insert_mode="start"))
    assert (metadata["ignored"], metadata["warnings"]) == ([], [])
    assert not np.array_equal(diffusion_requests[-1].image.pixels, by_insert.image.pixels)
    three = {name: upload(png(OTHER)) for name in ("reference_image", "reference_image_2", "reference_image_3")}
    answer = post_inpaint(CUT_OUT, **words, **three, insert_mode="reference")
    assert (answer.status_code, answer.json()["code"]) == (400, "insert_mode_unfit")
    assert "with all its reference images" in answer.json()["message"]


@pytest.mark.usefixtures("diffusion_requests")
@pytest.mark.parametrize(
    ("requested", "engine"),
    [
        (PaintSettings(), "quick-fill"),
        (PaintSettings(prompt="a cup"), "diffusion"),
        (PaintSettings(prompt="a cup", insert_mode="clone"), "quick-fill"),
        (PaintSettings(insert_mode="start"), "diffusion"),
    ],
)
def test_auto_takes_an_engine_that_inserts(requested: PaintSettings, engine: str) -> None:
    assert planner().choose(requested=requested, inserts=True).engine.name == engine


def plan_form(client: Client, **fields: Any) -> tuple[str, list[str] | None, str | None, set[str]]:
    """The engine of a plan without images, the modes, the default one, and which settings of an insert are ignored."""
    body = {"images": ["insert_image"], **fields}
    answer = client.post("/api/plan/", body, content_type="application/json").json()
    form = answer["form"]
    ignored = set(form["ignored"]) & INSERT_SETTINGS
    return answer["engine"], form["choices"].get("insert_mode"), form["defaults"].get("insert_mode"), ignored


@pytest.mark.usefixtures("diffusion_requests")
def test_a_form_offers_the_modes_of_the_engine_and_the_model(alices_program: Client) -> None:
    place = {*INSERT_SETTINGS} - {"insert_mode"}
    assert plan_form(alices_program) == ("quick-fill", ["clone", "start"], "clone", set())
    assert plan_form(alices_program, engine="quick-fill") == ("quick-fill", ["clone"], "clone", set())
    assert plan_form(alices_program, engine="diffusion", denoising_strength=0.5) == (
        "diffusion",
        ["start"],
        "start",
        set(),
    )
    # At a strength of 1 nothing of it is kept; the mode can be changed all the same.
    hidden = ("diffusion", ["clone", "start"], "clone", place)
    assert plan_form(alices_program, insert_mode="start", denoising_strength=1) == hidden
    assert plan_form(alices_program, images=[])[1:] == (None, None, set())
    scheduler = "FlowMatchEulerDiscreteScheduler"
    InferenceModel.objects.filter(slug="tiny").update(family="qwen-image-edit", scheduler=scheduler)
    assert plan_form(alices_program, engine="diffusion") == ("diffusion", ["start", "reference"], "reference", place)
    full = ["insert_image", *REFERENCES.images[:3]]
    assert plan_form(alices_program, engine="diffusion", images=full) == ("diffusion", ["start"], "start", set())


@pytest.mark.usefixtures("diffusion_requests")
def test_quick_fill_clones_it_where_memory_is_too_small_for_a_model(
    photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    settings = PaintSettings(prompt="a cup", strength=0.5, insert_x=48)
    request = InpaintRequest(CanonicalImage(photo), hole, settings, {"insert_image": CanonicalImage(OTHER)})
    plan = planner().plan(request)
    assert (plan.engine.name, plan.settings.insert_mode) == ("diffusion", "start")
    smaller = planner().step_down(plan)
    assert smaller is not None
    assert (smaller.engine.name, smaller.settings.insert_mode) == ("quick-fill", "clone")
    assert (smaller.settings.insert_x, [*smaller.images]) == (48, ["insert_image"])


def test_running_again_keeps_it_or_leaves_it_out(post_inpaint: PostInpaint, alices_program: Client) -> None:
    succeeded(post_inpaint(CUT_OUT, insert_rotation="30"))
    before, link = result(), f"/api/generations/{newest().pk}/run-again/"
    again = alices_program.post(link, {"seed": 3}, content_type="application/json")
    assert again.status_code == 202, again.json()
    assert (result() == before).all()
    turned = alices_program.post(link, {"insert_rotation": 60}, content_type="application/json")
    assert turned.status_code == 202
    assert (result() != before).any()
    without = alices_program.post(link, {"insert_image": None}, content_type="application/json")
    assert without.status_code == 202
    assert "insert_image" not in newest().to_request().conditioning_images


def test_json_sends_it(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    body = shape_c(photo_png, mask_png, prompt="", insert_image=text(png(CUT_OUT)), insert_width=15.5)
    metadata = succeeded(alices_program.post("/api/img2img", body, content_type="application/json"))
    assert metadata["insert_width"] == 15.5
    link = alices_program.get(f"/api/generations/{newest().pk}/").json()["insert_image"]
    sent = b"".join(alices_program.get(link).streaming_content)  # type: ignore[attr-defined]
    assert np.array_equal(decode_image(sent).image.pixels, CUT_OUT)


def test_a_batch_inserts_it_into_each_image(alices_program: Client, photo: NDArray[np.uint8], mask_png: bytes) -> None:
    for insert in (CUT_OUT, None):
        images = [upload(png(pixels), name=f"{name}.png") for name, pixels in (("a", photo), ("b", photo[::-1]))]
        body = {"images": images, "masks": upload(mask_png), "prompt": ""}
        sent = {} if insert is None else {"insert_image": upload(png(insert))}
        answer = alices_program.post("/api/batches/", {**body, **sent})
        assert answer.status_code == 202, answer.json()
        for generation in Generation.objects.order_by("-created_at")[:2]:
            expected = (None, None) if insert is None else ("clone", 50.5)
            assert (generation.settings["insert_mode"], generation.settings["insert_x"]) == expected
            again = batches.copy_for_rerun(generation)
            assert again.ignored == generation.ignored
            assert all(again.settings[name] == generation.settings[name] for name in INSERT_SETTINGS)
