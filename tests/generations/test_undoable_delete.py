"""Deletion from the history: hidden at once, undone for half a minute, then gone with its files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import User
from inpainting.accounting.limits import stored_bytes
from inpainting.api.media.links import SIGNER, image_link, result_link
from inpainting.generations import history, shares
from inpainting.generations.undoable_delete import GRACE_SECONDS, UNDO_SECONDS, hide, purge, restore
from inpainting.models import Batch, Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)

Generate = Callable[..., Generation]


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


def let_pass(seconds: float) -> None:
    """Move all deletions that much into the past."""
    for generation in Generation.objects.exclude(deleted_at=None):
        generation.deleted_at = (generation.deleted_at or timezone.now()) - timedelta(seconds=seconds)
        generation.save(update_fields=["deleted_at"])


def test_a_deleted_generation_is_hidden_everywhere(
    alice: User, alices_program: Client, generate: Generate, batch_of: Callable[..., Batch]
) -> None:
    generation, other = generate(alice), generate(alice)
    batch = batch_of(generation)
    image = generation.images.get()
    links = [
        f"/images/{SIGNER.sign(image.pk.hex)}.png",
        result_link("outputs/2026-11-22", "a.png", generation, origin=""),
        image_link("inputs", "a.png", generation.source, origin=""),
        f"/shared/{shares.token(shares.share(image, days=1))}/",
    ]
    assert [Client().get(link).status_code for link in links] == [200] * 4
    assert hide(alice, [generation.pk]) == 1
    assert [Client().get(link).status_code for link in links] == [404] * 4
    url = f"/api/generations/{generation.pk}/"
    for path in (url, url + "source/", url + "images/0/"):
        assert alices_program.get(path).status_code == 404
    assert alices_program.delete(url).status_code == 404
    assert [result["id"] for result in alices_program.get("/api/generations/").json()["results"]] == [str(other.pk)]
    shown = alices_program.get(f"/api/batches/{batch.pk}/").json()
    assert (shown["items"][0]["status"], shown["items"][0]["images"]) == ("deleted", [])


def test_it_can_be_undone_for_half_a_minute(alice: User, bob: User, generate: Generate) -> None:
    generation = generate(alice)
    before = files()
    assert hide(bob, [generation.pk]) == 0
    assert hide(alice, [generation.pk]) == 1
    let_pass(UNDO_SECONDS - 5)
    purge()
    assert restore(bob, [generation.pk]) == 0
    assert restore(alice, [generation.pk]) == 1
    assert history.find(alice, generation.pk) is not None
    assert files() == before


def test_afterwards_its_rows_and_files_are_deleted(alice: User, generate: Generate) -> None:
    before = files()
    generation, kept = generate(alice), generate(alice)
    both = stored_bytes(alice)
    hide(alice, [generation.pk])
    assert stored_bytes(alice) == both, "its files are still stored"
    let_pass(UNDO_SECONDS + 1)
    assert restore(alice, [generation.pk]) == 0
    let_pass(GRACE_SECONDS)
    purge()
    assert list(Generation.objects.all()) == [kept]
    assert 0 < stored_bytes(alice) < both
    assert len(files() - before) == 5


@pytest.fixture
def _idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is notified."""
    monkeypatch.setattr("inpainting.generations.submit.notify_workers", lambda queue: None)


@pytest.mark.usefixtures("_idle")
def test_a_waiting_generation_is_cancelled(alice: User, generate: Generate) -> None:
    waiting = generate(alice, run=False)
    assert hide(alice, [waiting.pk]) == 1
    waiting.refresh_from_db()
    assert waiting.status == Status.CANCELLED
    assert restore(alice, [waiting.pk]) == 1


@pytest.mark.usefixtures("_idle")
def test_a_running_generation_is_deleted_after_its_end(alice: User, generate: Generate) -> None:
    running = generate(alice, run=False)
    assert running.start()
    hide(alice, [running.pk])
    let_pass(UNDO_SECONDS + GRACE_SECONDS + 1)
    purge()
    assert Generation.objects.exists()
    assert running.end_cancelled()
    purge()
    assert not Generation.objects.exists()


def test_links_to_a_source_that_another_generation_uses_still_work(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    again = generation.copy_for_rerun()
    again.save_new()
    link = image_link("inputs", "a.png", generation.source, origin="")
    hide(alice, [generation.pk])
    assert Client().get(link).status_code == 200
    hide(alice, [again.pk])
    assert Client().get(link).status_code == 404
