"""`POST /api/masks/`: an object is selected in every shape of the body."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from PIL import Image

from accounts.models import ApiKey, Scope, User
from inpainting.api import concurrency_limits, recent_images
from inpainting.api.concurrency_limits import limit_segmentations
from inpainting.api.images import SentImage, decode_sent
from inpainting.media import recent_images as kept
from inpainting.models import Generation
from inpainting.segmenters import registry
from inpainting.segmenters.grabcut import GrabCut
from tests.api.bodies import data_url, text, upload
from tests.conftest import png
from tests.support import drafts


@pytest.fixture
def disc_png() -> bytes:
    """96 x 64: a red disc of radius 15 around (60, 30) on grey."""
    pixels = np.full((64, 96, 3), 110, np.uint8)
    cv2.circle(pixels, (60, 30), 15, (220, 20, 20), -1)
    return png(pixels)


def selected(answer: Any) -> NDArray[Any]:
    assert answer.status_code == (201 if "id" in answer.json() else 200), answer.content
    head, _, encoded = answer.json()["mask"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(BytesIO(base64.b64decode(encoded))) as mask:
        return np.asarray(mask)


def as_json(program: Client, **fields: Any) -> Any:
    return program.post("/api/masks/", fields, content_type="application/json")


def test_a_click_and_a_box_select_the_same_object_in_every_shape(alices_program: Client, disc_png: bytes) -> None:
    click, box = [[60, 30, 1]], [40, 10, 80, 50]
    answers = [
        as_json(alices_program, image=data_url(disc_png), points=click),
        as_json(alices_program, image=text(disc_png), points=[[60.5, 29]], box=box),
        alices_program.post("/api/masks/", {"image": upload(disc_png), "points": json.dumps(click)}),
        alices_program.post("/api/masks/", {"image": upload(disc_png), "params": json.dumps({"box": box})}),
    ]
    for answer in answers:
        mask, found = selected(answer), answer.json()
        assert mask.shape == (64, 96)
        assert (mask[30, 60], mask[5, 5]) == (255, 0)
        assert found["area"] == np.count_nonzero(mask) == pytest.approx(np.pi * 15**2, rel=0.1)
        assert np.abs(np.subtract(found["box"], [45, 15, 76, 46])).max() <= 1
        assert (found["status"], found["width"], found["height"]) == ("success", 96, 64)
        assert found["segmenter"] == "grabcut"


def test_soft_edges_are_greys_and_are_there_only_where_they_are_requested(alices_program: Client) -> None:
    blurred = np.full((64, 96, 3), 110, np.uint8)
    cv2.circle(blurred, (60, 30), 15, (220, 20, 20), -1)
    photo = png(cv2.GaussianBlur(blurred, (0, 0), 2))
    hard, soft = (
        selected(as_json(alices_program, image=text(photo), points=[[60, 30]], soft_edges=asked))
        for asked in (False, True)
    )
    assert set(np.unique(hard)) == {0, 255}
    assert len(np.unique(soft)) > 20
    assert (soft[30, 60], soft[5, 5]) == (255, 0)
    form = {"image": upload(photo), "points": "[[60, 30]]", "soft_edges": "true"}
    assert np.array_equal(selected(alices_program.post("/api/masks/", form)), soft)
    refused = as_json(alices_program, image=text(photo), points=[[60, 30]], soft_edges="fuzzy")
    assert (refused.status_code, refused.json()["field"]) == (400, "soft_edges")


def test_where_no_object_is_found_the_answer_has_no_box(alices_program: Client) -> None:
    flat = png(np.full((40, 40, 3), 90, np.uint8))
    answer = as_json(alices_program, image=text(flat), box=[10, 10, 30, 30])
    assert not selected(answer).any()
    assert (answer.json()["box"], answer.json()["area"]) == (None, 0)


def test_the_source_image_of_a_generation_is_read_by_its_owner_alone(
    alice: User, alices_program: Client, bobs_program: Client, generate: Callable[..., Generation]
) -> None:
    generation = generate(alice)
    fields = {"source": str(generation.pk), "box": [30, 10, 70, 50]}
    assert selected(as_json(alices_program, **fields)).shape == (64, 96)
    refused = as_json(bobs_program, **fields)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (400, "url_not_allowed", "source")


def test_an_uploaded_image_is_read_by_its_owner_alone(
    alice: User, alices_program: Client, bobs_program: Client, disc_png: bytes
) -> None:
    fields = {"picture": drafts.stored(alice, disc_png), "points": [[60, 30]]}
    assert selected(as_json(alices_program, **fields))[30, 60] == 255
    refused = as_json(bobs_program, **fields)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (400, "url_not_allowed", "picture")


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({}, "field_missing", "points"),
        ({"points": []}, "field_missing", "points"),
        ({"points": [[3, 3, 0]]}, "field_missing", "points"),
        ({"points": [[3, 3, 2]]}, "field_invalid", "points"),
        ({"points": [[3]]}, "field_invalid", "points"),
        ({"points": [["3", 3]]}, "field_invalid", "points"),
        ({"points": [[True, 3]]}, "field_invalid", "points"),
        ({"points": [[10**400, 3]]}, "field_invalid", "points"),
        ({"points": {"x": 3}}, "field_invalid", "points"),
        ({"points": "[[3,"}, "field_invalid", "points"),
        ({"points": [[97, 3]]}, "field_out_of_range", "points"),
        ({"points": [[3, 3]] * 101}, "field_out_of_range", "points"),
        ({"box": [1, 2, 3]}, "field_invalid", "box"),
        ({"box": [9, 2, 3, 8]}, "field_invalid", "box"),
        ({"box": [200, 2, 300, 8]}, "field_out_of_range", "box"),
        ({"box": [1, 2, 30, 40], "segmenter": "magic"}, "segmenter_not_found", "segmenter"),
        ({"box": [1, 2, 30, 40], "image": None}, "field_missing", "image"),
        ({"box": [1, 2, 30, 40], "image": "bm8gcGljdHVyZQ=="}, "image_type_unsupported", "image"),
        ({"box": [1, 2, 30, 40], "image": "http://10.0.0.1/a.png"}, "url_not_allowed", "image"),
        ({"box": [1, 2, 30, 40], "source": "7"}, "field_invalid", "source"),
        ({"box": [1, 2, 30, 40], "picture": "7"}, "field_invalid", "picture"),
        ({"box": [1, 2, 30, 40], "picture": "0" * 64}, "field_missing", "image"),
        ({"box": [1, 2, 30, 40], "picture": "0" * 64, "image": None}, "url_not_allowed", "picture"),
    ],
)
def test_a_wrong_field_is_named(
    alices_program: Client, disc_png: bytes, fields: dict[str, Any], code: str, field: str
) -> None:
    answer = as_json(alices_program, **{"image": text(disc_png), **fields})
    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (400, code, field)


def test_a_image_is_decoded_once_for_several_clicks_and_its_owner_is_checked_each_time(
    alice: User, alices_program: Client, bobs_program: Client, disc_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def decode(sent: SentImage, *arguments: Any) -> Any:
        decoded.append(sent.field)
        return decode_sent(sent, *arguments)

    monkeypatch.setattr(recent_images, "decode_sent", decode)
    monkeypatch.setattr(kept, "_images", OrderedDict())
    fields = {"picture": drafts.stored(alice, disc_png), "store": False}
    first, second = (as_json(alices_program, **fields, points=points) for points in ([[60, 30]], [[60, 30], [66, 34]]))
    assert selected(first)[30, 60] == selected(second)[30, 60] == 255
    assert as_json(bobs_program, **fields, points=[[60, 30]]).status_code == 400
    assert decoded == ["picture"]
    monkeypatch.setattr(kept, "MAX_BYTES", 1)
    as_json(alices_program, image=text(png(np.zeros((9, 9, 3), np.uint8))), points=[[3, 3]])
    assert not kept._images


def test_a_key_needs_the_scope_to_generate(alice: User, disc_png: bytes) -> None:
    reading = ApiKey.issue(alice, scopes=[Scope.READ])[1]
    for client, status in ((Client(headers={"X-API-Key": reading}), 403), (Client(), 401)):
        assert as_json(client, image=text(disc_png), points=[[60, 30]]).status_code == status


def test_one_user_selects_only_so_many_objects_at_a_time(
    alice: User, alices_program: Client, bobs_program: Client, disc_png: bytes, settings: Any
) -> None:
    settings.SEGMENTATIONS_PER_USER = 1
    fields = {"image": text(disc_png), "points": [[60, 30]]}
    with limit_segmentations(alice):
        refused = as_json(alices_program, **fields)
        assert (refused.status_code, refused.json()["code"], refused["Retry-After"]) == (429, "rate_limited", "2")
        assert as_json(bobs_program, **fields).status_code == 201
    assert as_json(alices_program, **fields).status_code == 201


def test_a_failed_selection_frees_its_place(alices_program: Client, settings: Any) -> None:
    settings.SEGMENTATIONS_PER_USER = 1
    for _ in range(3):
        assert as_json(alices_program, image="bm8=", points=[[1, 1]]).status_code == 400
    assert not limit_segmentations.active


def test_a_server_that_computes_too_long_for_others_says_when_to_try_again(
    alice: User, alices_program: Client, disc_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency_limits, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(concurrency_limits.computing, "free", 1)
    mask = text(disc_png)
    requests = {
        "/api/masks/": {"image": mask, "points": [[60, 30]]},
        "/api/masks/operations/": {"mask": mask, "operations": []},
        "/v1/tools/generate_mask": {"image": mask, "mask_model": "u2net", "allow_built_in": True},
    }
    for url, fields in requests.items():
        with concurrency_limits.computing(alice):
            refused = alices_program.post(url, fields, content_type="application/json")
            assert (refused.status_code, refused["Retry-After"]) == (503, "5"), refused.content
        assert alices_program.post(url, fields, content_type="application/json").status_code in (200, 201)


def test_a_slot_goes_first_to_a_user_who_had_none() -> None:
    slots, order = concurrency_limits.ComputingSlots(1), []
    first, second = User(pk=1), User(pk=2)

    def compute(user: User) -> None:
        with slots(user):
            order.append(user.pk)

    with slots(first):
        threads = [threading.Thread(target=compute, args=[user]) for user in (first, first, first, second)]
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(slots.waiting) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == [2, 1, 1, 1]
    assert (slots.free, slots.waiting, +slots.held) == (1, [], {})


def test_two_slots_are_not_held_by_one_user_while_another_waits() -> None:
    slots, first, second = concurrency_limits.ComputingSlots(2), User(pk=1), User(pk=2)
    taken = threading.Event()

    def compute(user: User) -> None:
        with slots(user):
            order.append(user.pk)
            taken.wait()

    order: list[int] = []
    with slots(first), slots(second):
        threads = [threading.Thread(target=compute, args=[user]) for user in (first, User(pk=3))]
        threads[0].start()
        while len(slots.waiting) < 1:
            time.sleep(0.001)
        threads[1].start()
        while len(slots.waiting) < 2:
            time.sleep(0.001)
        with slots._changed:
            slots.free += 1  # one more while both hold theirs
            slots._changed.notify_all()
        while not order:
            time.sleep(0.001)
        assert order == [3]
        taken.set()
    for thread in threads:
        thread.join()


def test_a_model_is_loaded_before_a_turn_to_compute_is_taken(
    alice: User, alices_program: Client, disc_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency_limits, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(concurrency_limits.computing, "free", 1)
    loads: list[str] = []

    class Loading(GrabCut):
        name = "saliency"

        def loaded(self) -> None:
            with concurrency_limits.computing(alice):  # fails where the request computes already
                loads.append("loaded")

    monkeypatch.setitem(registry.segmenters(), "saliency", Loading())
    box = {"image": text(disc_png), "box": [40, 10, 80, 50], "segmenter": "saliency"}
    assert as_json(alices_program, **box).status_code == 201
    alices_program.post(
        "/v1/tools/generate_mask",
        {"image": text(disc_png), "mask_model": "u2net", "allow_built_in": True},
        content_type="application/json",
    )
    assert loads == ["loaded"] * 2
