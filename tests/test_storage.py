"""Storage writes complete files or none."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from django.core.files.base import ContentFile
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.models import Generation, images
from inpainting.storage import DurableFileSystemStorage


class TooMuch(ContentFile):
    """A storage whose disk is full after the first bytes."""

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        yield b"the beginning"
        raise OSError(errno.ENOSPC, "No space left on device")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_that_does_not_fit_is_removed(tmp_path: Path) -> None:
    storage = DurableFileSystemStorage(location=tmp_path)
    storage.save("mask/one.png", ContentFile(b"whole"))
    with pytest.raises(OSError, match="No space"):
        storage.save("mask/two.png", TooMuch(b""))
    assert [path.name for path in files(tmp_path)] == ["one.png"]


@pytest.mark.parametrize("fits", [0, 1])
def test_a_generation_that_does_not_fit_leaves_no_files(
    fits: int,
    alice: User,
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, written = DurableFileSystemStorage(location=tmp_path), []
    for model in (images.SourceImage, images.Mask):
        monkeypatch.setattr(model._meta.get_field("file"), "storage", storage)

    def until_full(content: bytes) -> ContentFile:
        written.append(content)
        return ContentFile(content) if len(written) <= fits else TooMuch(b"")

    monkeypatch.setattr(images, "ContentFile", until_full)
    with pytest.raises(OSError, match="No space"):
        Generation.from_request(InpaintRequest(CanonicalImage(photo), hole), owner=alice, engine="quick-fill")
    assert len(written) == fits + 1
    assert files(tmp_path) == []
