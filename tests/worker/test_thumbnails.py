"""Thumbnails are stored after a generation has succeeded, or made when they are requested."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from django.test import Client
from PIL import Image

from accounts.models import User
from inpainting.core.codecs import shrunk
from inpainting.core.image import CanonicalImage
from inpainting.generations.batches import copy_for_rerun
from inpainting.models import Generation, SourceImage, Status
from inpainting.models.images import ThumbnailedImage, reduced_webp
from inpainting.worker import run as running

Generate = Callable[..., Generation]


@pytest.mark.django_db
@pytest.mark.parametrize("in_browser", [False, True])
def test_a_thumbnail_that_was_not_stored_is_made_when_it_is_requested(
    alice: User, alices_program: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch, in_browser: bool
) -> None:
    client = alices_program
    if in_browser:
        client = Client()
        client.force_login(alice)
    queued = generate(alice, run=False)
    assert not queued.source.thumbnail, "accepting a request makes none"
    with monkeypatch.context() as killed:
        killed.setattr(running, "store_thumbnails", lambda thumbnails: None)
        running.run_waiting()
    for part, row in (("source", queued.source), ("images/0", queued.images.get())):
        webp = client.get(f"/api/generations/{queued.pk}/{part}/thumbnail/").getvalue()
        assert Image.open(io.BytesIO(webp)).size == (96, 64)
        row.refresh_from_db()
        assert row.thumbnail.size == len(webp)


@pytest.mark.django_db
def test_thumbnails_are_stored_after_the_answer(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = generate(alice, run=False)
    reduced, states = ThumbnailedImage.store_reduced, []

    def look(image: ThumbnailedImage, field: str, data: bytes) -> bool:
        states.append(Generation.objects.get().status)
        return reduced(image, field, data)

    monkeypatch.setattr(ThumbnailedImage, "store_reduced", look)
    running.run_waiting()
    assert states == [Status.SUCCEEDED] * 2
    assert SourceImage.objects.get().thumbnail
    assert queued.images.get().thumbnail


@pytest.mark.django_db
def test_a_source_image_is_reduced_once_and_not_before_the_answer(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[tuple[str, str]] = []

    def reduce(image: CanonicalImage, side: int) -> CanonicalImage:
        states.append(("result shrunk", Generation.objects.latest("created_at").status))
        return shrunk(image, side)

    def encode(image: CanonicalImage, field: str) -> bytes:
        states.append(("encoded", Generation.objects.latest("created_at").status))
        return reduced_webp(image, field)

    monkeypatch.setattr(running, "shrunk", reduce)
    monkeypatch.setattr(running, "reduced_webp", encode)
    first = generate(alice)
    source, result = [("encoded", Status.SUCCEEDED)], [("result shrunk", Status.RUNNING), ("encoded", Status.SUCCEEDED)]
    assert states == [*result, *source]
    states.clear()
    copy_for_rerun(first).save_new()
    running.run_waiting()
    assert states == result, "the source image has a thumbnail by now"
