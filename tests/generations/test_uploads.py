"""Images that a client uploads to name them in later requests: kept for a time, within the limits of their owner."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import User
from inpainting.accounting import limits
from inpainting.accounting.limits import LimitReached, stored_bytes
from inpainting.core.image import CanonicalImage
from inpainting.generations.delete import delete_all_of_user
from inpainting.generations.retention import sweep
from inpainting.generations.uploads import store_upload
from inpainting.models import UploadedImage, UserLimits
from inpainting.storage.audit import named_files

pytestmark = pytest.mark.django_db(transaction=True)  # files are deleted on commit
DAY = timedelta(days=1)


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures", "uploadedimage").rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Files of other tests, whose rows are rolled back, must not be counted."""
    for path in files():
        path.unlink()


@pytest.fixture
def image(photo: NDArray[np.uint8]) -> CanonicalImage:
    return CanonicalImage(photo)


def test_an_upload_is_deleted_with_its_file_when_it_expires(alice: User, image: CanonicalImage) -> None:
    uploaded = store_upload(alice, image, keep_for=DAY)
    assert UploadedImage.objects.get().read().same_as(image)
    assert {name.file for name in named_files()} == {uploaded.file.name}
    assert sweep(timezone.now() + DAY - timedelta(minutes=1))
    assert len(files()) == 1
    assert sweep(timezone.now() + DAY + timedelta(minutes=1))
    assert (UploadedImage.objects.count(), files()) == (0, set())


def test_the_uploads_of_a_user_are_deleted_with_everything_else(alice: User, bob: User, image: CanonicalImage) -> None:
    store_upload(alice, image, keep_for=DAY)
    kept = store_upload(bob, image, keep_for=DAY)
    delete_all_of_user(alice)
    assert (UploadedImage.objects.get(), len(files())) == (kept, 1)


def test_the_number_of_uploads_is_limited(
    alice: User, bob: User, image: CanonicalImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UPLOADED_IMAGES", 1)
    store_upload(alice, image, keep_for=DAY)
    with pytest.raises(LimitReached, match="uploaded images is 1"):
        store_upload(alice, image, keep_for=DAY)
    assert len(files()) == 1, "the file of the refused image is deleted"
    store_upload(bob, image, keep_for=DAY)


def test_uploads_count_as_stored_bytes(alice: User, image: CanonicalImage) -> None:
    uploaded = store_upload(alice, image, keep_for=DAY)
    assert stored_bytes(alice) == uploaded.byte_count
    UserLimits.objects.create(user=alice, stored_megabytes=1)
    UploadedImage.objects.update(byte_count=10**6)
    with pytest.raises(LimitReached, match="megabytes stored"):
        store_upload(alice, image, keep_for=DAY)


def test_an_upload_needs_free_space(alice: User, image: CanonicalImage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("inpainting.generations.uploads.check_free_space", full)
    with pytest.raises(OSError, match="No space"):
        store_upload(alice, image, keep_for=DAY)
    assert files() == set()
