"""The first page for visitors: only the sample photo is painted, nothing is stored, and not without limits."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import User
from inpainting.core.codecs import decode_image
from inpainting.generations import sample
from inpainting.models import Generation, Mask, SourceImage, UploadedImage
from tests.conftest import png

SHAPE = (427, 640)


@pytest.fixture(autouse=True)
def _fresh_counters(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def rocket() -> NDArray[np.uint8]:
    """[427, 640] mask of the native API, 0 = repaint: a line over the rocket."""
    mask = np.full(SHAPE, 255, np.uint8)
    cv2.line(mask, (320, 130), (320, 400), 0, 40)
    return mask


def sent(mask: NDArray[np.uint8] | bytes, client: Client | None = None) -> Any:
    data = mask if isinstance(mask, bytes) else png(mask)
    return (client or Client()).post("/sample/", {"mask": SimpleUploadedFile("mask.png", data)})


def test_a_visitor_erases_from_the_sample_and_nothing_is_stored(db: None, rocket: NDArray[np.uint8]) -> None:
    page = Client().get("/")
    assert page.status_code == 200
    assert b"SpaceX, public domain" in page.content
    answer = sent(rocket)
    assert (answer.status_code, answer["Content-Type"], answer["Cache-Control"]) == (200, "image/png", "no-store")
    before, after = sample.photo().image.pixels, decode_image(answer.content).image.pixels
    assert np.array_equal(before[rocket == 255], after[rocket == 255])
    assert np.abs(before[rocket == 0].astype(int) - after[rocket == 0]).mean() > 20  # the rocket is gone
    assert not any(model.objects.exists() for model in (Generation, SourceImage, Mask, UploadedImage))
    assert sent(rocket).content == answer.content


def test_no_other_photo_is_painted(db: None, rocket: NDArray[np.uint8], photo_png: bytes) -> None:
    files = {"mask": SimpleUploadedFile("m.png", png(rocket)), "image": SimpleUploadedFile("i.png", photo_png)}
    answer = Client().post("/sample/", {**files, "source": "1", "prompt": "a cat", "model": "sd15"})
    assert decode_image(answer.content).image.size == sample.photo().image.size


@pytest.mark.parametrize(
    "mask",
    [
        b"",
        b"no image",
        png(np.full(SHAPE, 255, np.uint8)),  # empty
        png(np.zeros(SHAPE, np.uint8)),  # everything
        png(np.zeros((3000, 3000), np.uint8)),
        png(np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)),  # over 64 KiB
    ],
    ids=["nothing", "text", "empty", "full", "large", "many bytes"],
)
def test_a_mask_that_cannot_be_painted_is_refused_with_a_sentence(db: None, mask: bytes) -> None:
    answer = sent(mask)
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_one_address_erases_twenty_times_a_minute(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "erase", lambda mask: b"painted")
    statuses = [sent(b"mask").status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert int(sent(b"mask")["Retry-After"]) == 60
    assert sent(b"mask", Client(REMOTE_ADDR="192.0.2.7")).status_code == 200


def test_further_visitors_are_refused_while_four_masks_wait(
    db: None, rocket: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "_free", threading.BoundedSemaphore(sample.MAX_WAITING))
    for _ in range(sample.MAX_WAITING):
        assert sample._free.acquire(blocking=False)
    answer = sent(rocket)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    sample._free.release()
    assert sent(rocket).status_code == 200


def test_painting_ends_at_the_deadline(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 300 holes quick-fill paints for many seconds; the thread must be free for the next visitor."""
    holes = np.full(SHAPE, 255, np.uint8)
    for top in range(5, 400, 30):
        for left in range(5, 610, 30):
            holes[top : top + 12, left : left + 12] = 0
    monkeypatch.setattr(sample, "MAX_SECONDS", 0.2)
    assert sent(holes).status_code == 503
    monkeypatch.undo()
    few = np.full(SHAPE, 255, np.uint8)
    few[100:110, 100:110] = 0
    assert sent(few).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_visitors_get_less_processor_time_than_users(db: None) -> None:
    lowered = sample._thread.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert lowered == min(19, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + sample.NICENESS)


def test_the_sample_can_be_switched_off(db: None, settings: Settings, rocket: NDArray[np.uint8]) -> None:
    settings.SAMPLE = False
    assert Client().get("/")["Location"] == "/accounts/login/?next=/"
    assert sent(rocket).status_code == 404


def test_links_into_the_editor_still_ask_visitors_to_sign_in(client: Client, alice: User) -> None:
    path = "/?generation=7c9e6679-7425-40de-944b-e07fc1f90ae7"
    assert client.get(path)["Location"].startswith("/accounts/login/?next=/%3Fgeneration")
    client.force_login(alice)
    assert b'id="editor"' in client.get("/").content


def test_other_sites_cannot_make_a_visitor_erase(db: None, rocket: NDArray[np.uint8]) -> None:
    assert sent(rocket, Client(enforce_csrf_checks=True)).status_code == 403
