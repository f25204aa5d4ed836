"""`/api/generations/<id>/` and everything under it: only for the owner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.test import Client
from numpy.typing import NDArray

from accounts.models import User
from inpainting.api.media.links import SIGNER
from inpainting.core.codecs import decode_image
from inpainting.models import Generation, Status

Generate = Callable[..., Generation]
BELOW = ["", "source/", "source/thumbnail/", "mask/", "images/0/", "images/0/thumbnail/"]


def test_the_owner_reads_the_whole_generation(
    alice: User, alices_program: Client, generate: Generate, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    generation = generate(alice, prompt="a lawn")
    content = alices_program.get(f"/api/generations/{generation.pk}/").json()
    assert (content["status"], content["engine"], content["prompt"]) == ("succeeded", "quick-fill", "a lawn")
    assert content["error"] is None
    assert content["source_name"] == generation.source.name
    assert content["progress"]["percent"] == 100
    (image,) = content["images"]
    assert image["outside_mask_changed_pixels"] == 0
    result = alices_program.get(image["url"])
    assert hashlib.sha256(result.getvalue()).hexdigest() == image["sha256"]
    assert np.array_equal(decode_image(alices_program.get(content["source"]).getvalue()).image.pixels, photo)
    mask = decode_image(alices_program.get(content["mask"]).getvalue()).image.pixels
    assert np.array_equal(mask[:, :, 0], hole)


def test_a_download_has_a_file_name_and_headers_that_forbid_scripts(
    alice: User, alices_program: Client, generate: Generate
) -> None:
    url = f"/api/generations/{generate(alice).pk}/images/0/"
    assert "Content-Disposition" not in alices_program.get(url)
    answer = alices_program.get(url + "?download")
    assert answer["Content-Disposition"].startswith('attachment; filename="dreamlayer-')
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer["Cache-Control"].startswith("private")


@pytest.mark.parametrize("below", BELOW)
def test_another_users_generation_is_a_404(alice: User, bobs_program: Client, generate: Generate, below: str) -> None:
    generation = generate(alice)
    theirs = bobs_program.get(f"/api/generations/{generation.pk}/{below}")
    missing = bobs_program.get(f"/api/generations/{'0' * 8}-0000-4000-8000-{'0' * 12}/{below}")
    assert theirs.status_code == missing.status_code == 404
    assert theirs.content == missing.content
    assert Client().get(f"/api/generations/{generation.pk}/{below}").status_code == 401


def test_only_the_owner_can_cancel_and_only_before_the_end(
    alice: User, alices_program: Client, bobs_program: Client, generate: Generate
) -> None:
    waiting = generate(alice, run=False)
    url = f"/api/generations/{waiting.pk}/cancel/"
    assert bobs_program.post(url).status_code == 404
    assert alices_program.post(url).json()["status"] == "cancelled"
    again = alices_program.post(url)
    assert (again.status_code, again.json()["code"]) == (409, "already_ended")


def test_a_failed_generation_has_its_error(alice: User, alices_program: Client, generate: Generate) -> None:
    generation = generate(alice, run=False)
    generation.start()
    generation.fail(code="engine_failed", message="There is nothing left to copy from.")
    content = alices_program.get(f"/api/generations/{generation.pk}/").json()
    assert content["error"] == {"code": "engine_failed", "message": "There is nothing left to copy from."}
    assert content["images"] == []


def test_a_missing_file_is_a_410_for_its_owner(
    alice: User, alices_program: Client, bobs_program: Client, generate: Generate
) -> None:
    generation = generate(alice)
    image = generation.images.get()
    for file in (generation.source.file, generation.mask.file, image.file, image.thumbnail):
        Path(file.path).unlink()
    url = f"/api/generations/{generation.pk}/"
    for path in (url + "source/", url + "mask/", url + "images/0/", url + "images/0/thumbnail/"):
        answer = alices_program.get(path)
        assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (410, "error", "result_expired")
        assert bobs_program.get(path).status_code == 404
    public = Client().get(f"/images/{SIGNER.sign(image.pk.hex)}.png")
    assert (public.status_code, public.json()["code"]) == (410, "result_expired")


def test_a_signed_link_expires_and_cannot_be_altered(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = SIGNER.sign(generate(alice).images.get().pk.hex)
    assert Client().get(f"/images/{token}.png").status_code == 200
    assert Client().get(f"/images/{token[:-1]}{'A' if token[-1] != 'A' else 'B'}.png").status_code == 404
    monkeypatch.setattr(settings, "RESULT_LINK_HOURS", -1)
    answer = Client().get(f"/images/{token}.png")
    assert (answer.status_code, answer.json()["status"]) == (404, "error")


def test_no_url_serves_the_media_folder(alice: User, generate: Generate) -> None:
    name = generate(alice).images.get().file.name
    for path in (f"/{name}", f"/static/{name}", f"/media/{name}", f"/pictures/{name}"):
        assert Client().get(path).status_code == 404


def test_a_status_changes_only_through_its_transition_methods(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    assert generation.status == Status.SUCCEEDED
    assert not generation.start()
    assert not generation.cancel()
    assert not generation.fail(code="late", message="too late")
    assert not generation.advance(1, 2)
    assert not generation.succeed([])
    generation.refresh_from_db()
    assert (generation.status, generation.error_code) == (Status.SUCCEEDED, "")


def test_results_are_listed_in_the_order_of_their_seeds_each_with_its_score(
    alice: User, alices_program: Client, generate: Generate
) -> None:
    generation = generate(alice, num_images=3, seed=4)
    scores = [0.2, 0.9, None]
    painted = [image.score for image in generation.images.all()]
    assert all(score is not None and 0 < score < 1 for score in painted)
    for index, score in enumerate(scores):
        generation.images.filter(index=index).update(score=score)
    content = alices_program.get(f"/api/generations/{generation.pk}/").json()
    assert [image["score"] for image in content["images"]] == scores
    assert [image["url"].rstrip("/").rpartition("/")[2] for image in content["images"]] == ["0", "1", "2"]
    assert [result["score"] for result in content["metadata"]["results"]] == scores
