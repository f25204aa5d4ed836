"""Drafts: revisions, images that are named, quotas, retention and deletion."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import User
from inpainting.accounting import limits
from inpainting.accounting.limits import LimitReached, stored_bytes
from inpainting.core.errors import InvalidRequest
from inpainting.generations import drafts
from inpainting.generations.delete import delete_all_of_user
from inpainting.generations.retention import sweep
from inpainting.models import Draft, DraftImage, Retention, UserLimits
from inpainting.storage.audit import named_files
from tests.conftest import png
from tests.support.drafts import document, sha256, stored, with_photo

pytestmark = pytest.mark.django_db(transaction=True)  # files are deleted on commit
DAY = timedelta(days=1)


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures", "draftimage").rglob("*") if path.is_file()}


def save(owner: User, sent: dict[str, Any], revision: int, *images: str) -> int:
    return drafts.save(owner, sent, revision=revision, images=images).revision


def numbered(photo: NDArray[np.uint8], number: int) -> bytes:
    return png(np.full_like(photo, number))


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Files of other tests, whose rows are rolled back, must not be counted."""
    for path in files():
        path.unlink()


def test_a_image_is_deleted_when_the_draft_no_longer_names_it(alice: User, photo: NDArray[np.uint8]) -> None:
    first, second = (stored(alice, numbered(photo, number)) for number in (1, 2))
    assert save(alice, with_photo(b"1"), 0, first) == 1
    assert DraftImage.objects.count() == 2, "the second one may be named next"
    assert save(alice, with_photo(b"2"), 1, first, second) == 2
    assert save(alice, with_photo(b"3"), 2, second) == 3
    assert [image.sha256 for image in DraftImage.objects.all()] == [second]
    assert {str(path.relative_to(Path(settings.DATA_DIR, "pictures"))) for path in files()} == {
        name.file for name in named_files()
    }


def test_a_draft_names_stored_images_of_its_owner_only(alice: User, bob: User, photo_png: bytes) -> None:
    stored(bob, photo_png)
    with pytest.raises(InvalidRequest, match="1 of its images are not uploaded") as refused:
        save(alice, with_photo(photo_png), 0, sha256(photo_png))
    assert refused.value.code == "draft_pictures_missing"
    assert not Draft.objects.filter(owner=alice).exists()


@pytest.mark.parametrize("revision", [0, 2, 7])
def test_another_revision_is_refused_and_changes_nothing(alice: User, revision: int) -> None:
    save(alice, document(), 0)
    with pytest.raises(InvalidRequest, match=f"its revision is 1, not {revision}") as refused:
        save(alice, document(step="result"), revision)
    assert (refused.value.code, refused.value.limit) == ("draft_changed", 1)
    assert drafts.find(alice).revision == 1


def test_a_repeated_request_changes_nothing(alice: User) -> None:
    assert [save(alice, document(step="result"), 0) for _ in range(2)] == [1, 1]


def test_of_two_devices_one_wins_and_the_other_is_told(alice: User) -> None:
    def device(number: int) -> int | str:
        try:
            return save(alice, document(settings={"device": number}), 0)
        except InvalidRequest as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as devices:
        outcomes = list(devices.map(device, range(4)))
    assert sorted(outcomes, key=str) == [1, *["draft_changed"] * 3]
    assert Draft.objects.get().revision == 1


def test_the_same_file_is_stored_once(alice: User, bob: User, photo_png: bytes) -> None:
    def upload(number: int) -> None:
        try:
            stored(alice if number else bob, photo_png)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as devices:
        list(devices.map(upload, range(4)))
    assert (DraftImage.objects.filter(owner=alice).count(), DraftImage.objects.count(), len(files())) == (1, 2, 2)


def test_images_are_limited_in_number_and_bytes(
    alice: User, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DRAFT_IMAGES", 1)
    stored(alice, numbered(photo, 1))
    with pytest.raises(LimitReached, match="draft images is 1"):
        stored(alice, numbered(photo, 2))
    stored(alice, numbered(photo, 1))  # it is stored already
    assert stored_bytes(alice) == len(numbered(photo, 1))
    monkeypatch.setattr(limits, "DRAFT_IMAGES", 9)
    UserLimits.objects.create(user=alice, stored_megabytes=1)
    DraftImage.objects.update(byte_count=10**6)
    with pytest.raises(LimitReached, match="megabytes stored"):
        stored(alice, numbered(photo, 2))
    assert len(files()) == 1, "the files of refused images are deleted"


def test_a_image_needs_free_space(alice: User, photo_png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("inpainting.generations.drafts.check_free_space", full)
    with pytest.raises(OSError, match="No space"):
        stored(alice, photo_png)
    assert files() == set()


def test_images_that_no_draft_names_are_deleted_after_a_day(alice: User, photo: NDArray[np.uint8]) -> None:
    named, _ = (stored(alice, numbered(photo, number)) for number in (1, 2))
    save(alice, with_photo(b"1"), 0, named)
    sweep(timezone.now() + DAY - timedelta(minutes=1))
    assert DraftImage.objects.count() == 2
    sweep(timezone.now() + DAY + timedelta(minutes=1))
    assert ([image.sha256 for image in DraftImage.objects.all()], len(files())) == ([named], 1)


@pytest.mark.parametrize("ends", ["retention", "everything deleted"])
def test_a_draft_is_emptied_but_its_revision_never_repeats(ends: str, alice: User, bob: User, photo_png: bytes) -> None:
    for owner in (alice, bob):
        save(owner, with_photo(photo_png), 0, stored(owner, photo_png))
    Retention.set(alice, 7)
    sweep(timezone.now() + 6 * DAY)
    assert DraftImage.objects.filter(owner=alice).exists()
    if ends == "retention":
        sweep(timezone.now() + 8 * DAY)
    else:
        delete_all_of_user(alice)
    assert (drafts.find(alice).document, drafts.find(alice).revision) == ("", 2)
    assert ([image.owner for image in DraftImage.objects.all()], len(files())) == ([bob], 1)


def test_a_draft_is_deleted_with_its_owner(alice: User, photo_png: bytes) -> None:
    save(alice, with_photo(photo_png), 0, stored(alice, photo_png))
    alice.delete()
    assert (Draft.objects.count(), DraftImage.objects.count(), files()) == (0, 0, set())


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"version": None},
        {"entries": None},
        {"entries": ["photo"]},
        {"entries": [{"kind": "script"}]},
        {"entries": [{}] * (drafts.MAX_ENTRIES + 1)},
        {"cursor": 1},
        {"cursor": -1},
        {"cursor": True},
        {"step": "done"},
        {"settings": []},
        {"settings": {"seed": float("inf")}},
    ],
    ids=str,
)
def test_a_document_that_no_editor_writes_is_refused(alice: User, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="document: "):
        save(alice, document(**wrong), 0)


def test_every_text_survives(alice: User) -> None:
    sent = document(settings={"prompt": "a\0b \u2028 \U0001f415", "seed": 2**60})
    save(alice, sent, 0)
    assert save(alice, sent, 1) == 1, "it is equal to the saved one"
