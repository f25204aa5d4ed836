"""Input images that this process has just decoded are painted without being read back from storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.image import CanonicalImage
from inpainting.media import recent_inputs
from inpainting.models import Generation, Status
from inpainting.models.images import StoredImage
from inpainting.worker.run import run_waiting

Generate = Callable[..., Generation]


@pytest.fixture(autouse=True)
def _none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_inputs, "_images", type(recent_inputs._images)())
    monkeypatch.setattr(recent_inputs, "_bytes", 0)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models whose files are read from now on."""
    read, made = StoredImage.read_bytes, []

    def count(image: StoredImage) -> bytes:
        made.append(image._meta.model_name or "")
        return read(image)

    monkeypatch.setattr(StoredImage, "read_bytes", count)
    return made


@pytest.mark.django_db
def test_inputs_of_this_process_are_not_decoded_again(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = generate(alice, run=False)
    decoded = reads(monkeypatch)
    run_waiting()
    assert decoded == ["generatedimage"], "the result is measured in its file"
    kept = generation.source.read(), generation.mask.read_pixels()
    request = Generation.objects.get().to_request()
    assert np.array_equal(request.image.pixels, kept[0].pixels)
    assert np.array_equal(request.mask, kept[1])


@pytest.mark.django_db
def test_inputs_of_another_process_are_read_from_storage(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = generate(alice, run=False)
    for name in list(recent_inputs._images):
        recent_inputs.pop(name)
    decoded = reads(monkeypatch)
    run_waiting()
    assert decoded == ["sourceimage", "mask", "generatedimage"]
    generation.refresh_from_db()
    assert generation.status == Status.SUCCEEDED


@pytest.mark.django_db
def test_a_file_that_is_gone_fails_the_generation_although_its_pixels_are_kept(alice: User, generate: Generate) -> None:
    generation = generate(alice, run=False)
    Path(generation.source.file.path).unlink()
    run_waiting()
    generation.refresh_from_db()
    assert (generation.status, generation.error_code) == (Status.FAILED, "image_gone")


def test_the_oldest_images_go_first(photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    image = CanonicalImage(photo)
    monkeypatch.setattr(recent_inputs, "MAX_BYTES", 2 * photo.nbytes)
    for name in "abc":
        recent_inputs.keep(name, image)
    assert [recent_inputs.pop(name) is not None for name in "abca"] == [False, True, True, False]
    monkeypatch.setattr(recent_inputs, "MAX_BYTES", photo.nbytes - 1)
    recent_inputs.keep("d", image)
    assert recent_inputs.pop("d") is None
    assert recent_inputs._bytes == 0
