"""Masks that were found: resources of their owner, which later requests name by their id."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray
from PIL import Image

from accounts.models import ApiKey, Scope, User
from inpainting.accounting import limits
from inpainting.accounting.limits import stored_bytes
from inpainting.core import masks
from inpainting.core.image import CanonicalImage
from inpainting.generations.delete import delete_all_of_user
from inpainting.generations.export import archive_of
from inpainting.generations.retention import sweep
from inpainting.models import BatchItem, Generation, UploadedImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Candidate, Selection
from inpainting.segmenters.grabcut import GrabCut
from inpainting.storage.audit import named_files
from tests.api.bodies import text, upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)  # files are deleted on commit

URL = "/api/masks/"
BOX = [40, 20, 80, 50]


def find(program: Client, photo_png: bytes, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    body = {"image": text(photo_png), "box": BOX, **fields}
    return program.post(URL, body, content_type="application/json", headers=headers or {})


def pixels_of(program: Client, path: str) -> NDArray[Any]:
    answer: Any = program.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
    with Image.open(BytesIO(b"".join(answer.streaming_content))) as mask:
        return np.asarray(mask)


@pytest.fixture
def photo_png() -> bytes:
    """96 x 64: a red disc of radius 10 around (60, 35) on grey."""
    pixels = np.full((64, 96, 3), 110, np.uint8)
    cv2.circle(pixels, (60, 35), 10, (220, 20, 20), -1)
    return png(pixels)


@pytest.fixture
def found(alices_program: Client, photo_png: bytes) -> dict[str, Any]:
    answer = find(alices_program, photo_png)
    assert (answer.status_code, answer["Location"]) == (201, f"{URL}{answer.json()['id']}/")
    body: dict[str, Any] = answer.json()
    return body


def test_a_mask_is_read_listed_and_deleted_at_its_location(alices_program: Client, found: dict[str, Any]) -> None:
    place = f"{URL}{found['id']}/"
    read = alices_program.get(place).json()
    same = ("id", "file", "box", "area", "width", "height", "segmenter")
    assert {name: read[name] for name in same} == {name: found[name] for name in same}
    assert alices_program.get(URL).json()["results"][0]["id"] == found["id"]
    pixels = pixels_of(alices_program, found["file"])
    assert (np.count_nonzero(pixels), pixels.shape) == (found["area"], (found["height"], found["width"]))
    assert alices_program.delete(place).status_code == 204
    for path in (place, found["file"], place + "file/"):
        assert alices_program.get(path).status_code == 404
    assert (alices_program.get(URL).json()["count"], UploadedImage.objects.count()) == (0, 0)
    assert not list(named_files())


def test_the_id_stands_for_the_mask_wherever_a_mask_is_sent(
    alices_program: Client, found: dict[str, Any], photo_png: bytes
) -> None:
    """What it selects is repainted, whatever polarity PNGs are read with."""
    expected = pixels_of(alices_program, found["file"])
    for polarity in ("black_repaints", "white_repaints"):
        fields = {"mask": found["id"], "prompt": "", "engine": "quick-fill", "mask_polarity": polarity}
        answer = alices_program.post("/api/img2img", {"image": upload(photo_png), **fields})
        assert answer.status_code == 200, answer.content
        generation = Generation.objects.order_by("created_at").last()
        assert generation is not None
        assert np.array_equal(generation.mask.read_pixels(), expected)
    for sent in ([found["id"]], [found["id"]] * 2):
        images = [text(photo_png)] * 2
        fields = {"images": images, "masks": sent, "prompt": "", "engine": "quick-fill"}
        batch = alices_program.post("/api/batches/", fields, content_type="application/json")
        assert batch.status_code == 202, batch.content
    for item in BatchItem.objects.select_related("generation__mask"):
        assert item.generation is not None
        assert np.array_equal(item.generation.mask.read_pixels(), expected)
    changed = alices_program.post(
        f"{URL}operations/",
        {"mask": found["id"], "operations": [{"name": "subtract", "mask": found["id"]}]},
        content_type="application/json",
    )
    assert (changed.status_code, changed.json()["area"]) == (200, 0)


def test_its_links_stand_for_its_png(alices_program: Client, found: dict[str, Any], photo_png: bytes) -> None:
    for link in (found["file"], found["url"]):
        fields = {"mask": link, "prompt": "", "engine": "quick-fill", "mask_polarity": "white_repaints"}
        assert alices_program.post("/api/img2img", {"image": upload(photo_png), **fields}).status_code == 200


def test_the_id_of_another_user_is_refused(
    alices_program: Client, bobs_program: Client, found: dict[str, Any], photo_png: bytes
) -> None:
    fields = {"mask": found["id"], "prompt": "", "engine": "quick-fill"}
    refused = bobs_program.post("/api/img2img", {"image": upload(photo_png), **fields})
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (400, "mask_not_found", "mask")
    UploadedImage.objects.update(expires_at=timezone.now())
    refused = alices_program.post("/api/img2img", {"image": upload(photo_png), **fields})
    assert (refused.status_code, refused.json()["code"]) == (400, "mask_not_found"), "an expired one is not there"
    assert alices_program.get(f"{URL}{found['id']}/").status_code == 404


def test_a_key_that_only_generates_names_its_masks(alice: User, photo_png: bytes) -> None:
    program = Client(headers={"X-API-Key": ApiKey.issue(alice, scopes=[Scope.GENERATE])[1]})
    fields = {"mask": find(program, photo_png).json()["id"], "prompt": "", "engine": "quick-fill"}
    assert program.post("/api/img2img", {"image": upload(photo_png), **fields}).status_code == 200


def test_nothing_is_stored_without_an_object_or_where_that_is_asked(alices_program: Client, photo_png: bytes) -> None:
    answer = find(alices_program, photo_png, store=False)
    assert (answer.status_code, "id" in answer.json(), "Location" in answer) == (200, False, False)
    assert not UploadedImage.objects.exists()


def test_a_repeated_idempotency_key_returns_the_same_mask(alices_program: Client, photo_png: bytes) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = find(alices_program, photo_png, key), find(alices_program, photo_png, key)
    assert (first.status_code, again.status_code, UploadedImage.objects.count()) == (201, 201, 1)
    for name in ("id", "mask", "box", "area", "segmenter"):
        assert first.json()[name] == again.json()[name]
    other = find(alices_program, photo_png, key, box=[1, 1, 20, 20])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    UploadedImage.objects.get().file.delete(save=False)
    assert find(alices_program, photo_png, key).status_code == 410, "its file is gone"


def test_an_idempotency_key_whose_mask_has_expired_finds_another(alices_program: Client, photo_png: bytes) -> None:
    key = {"Idempotency-Key": "once"}
    first = find(alices_program, photo_png, key).json()["id"]
    UploadedImage.objects.update(expires_at=timezone.now())
    again = find(alices_program, photo_png, key)
    assert (again.status_code, UploadedImage.objects.count()) == (201, 1)
    assert again.json()["id"] != first
    assert alices_program.get(again["Location"]).status_code == 200
    assert find(alices_program, photo_png, key).json()["id"] == again.json()["id"]


def test_a_mask_counts_as_stored_is_exported_and_goes_with_its_owner(
    alice: User, alices_program: Client, found: dict[str, Any]
) -> None:
    mask = UploadedImage.objects.get()
    assert stored_bytes(alice) == mask.byte_count
    assert f"uploads/{mask.pk}.png" in {member.name for member in archive_of(alice).members}
    call_command("check_files")
    delete_all_of_user(alice)
    assert alices_program.get(f"{URL}{found['id']}/").status_code == 404


def test_a_mask_expires_with_its_file(found: dict[str, Any]) -> None:
    assert sweep(timezone.now() + timedelta(hours=23))
    assert UploadedImage.objects.exists()
    assert sweep(timezone.now() + timedelta(hours=25))
    assert not UploadedImage.objects.exists()
    assert not list(named_files())


def test_masks_have_a_limit_of_their_own(
    alices_program: Client, photo_png: bytes, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FOUND_MASKS", 1)
    assert find(alices_program, photo_png).status_code == 201
    refused = find(alices_program, photo_png)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert alices_program.post("/api/upload-mask", {"file": upload(mask_png, name="m.png")}).status_code == 200


def test_the_masks_of_others_are_not_listed(
    bobs_program: Client, found: dict[str, Any], generate: Callable[..., Generation]
) -> None:
    assert bobs_program.get(URL).json()["results"] == []
    for path in (f"{URL}{found['id']}/", found["file"]):
        assert bobs_program.get(path).status_code == 404
    assert bobs_program.delete(f"{URL}{found['id']}/").status_code == 404


def test_several_candidates_come_with_their_scores_and_the_best_is_stored(
    alices_program: Client, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rating(GrabCut):
        name = "rating"

        def candidates(self, image: CanonicalImage, selection: Selection) -> list[Candidate]:
            best = self.segment(image, selection)
            return [Candidate(best, 0.9), Candidate(masks.grow(best, 2), 0.5)]

    monkeypatch.setitem(registry.segmenters(), Rating.name, Rating())
    answer = find(alices_program, photo_png, segmenter="rating", format="rle").json()
    (other,) = answer["candidates"]
    assert (answer["score"], other["score"], other["area"] > answer["area"]) == (0.9, 0.5, True)
    assert other["mask"]["size"] == [64, 96]
    read = alices_program.get(f"{URL}{answer['id']}/").json()
    assert (read["score"], read["area"]) == (0.9, answer["area"])
