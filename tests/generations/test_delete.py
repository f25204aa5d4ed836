"""Deleting ended generations: the rows, then the files, in every way that the product offers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from skimage import data

from accounts.models import User
from inpainting import tasks
from inpainting.accounting.limits import prune_ledger
from inpainting.core.image import CanonicalImage
from inpainting.generations.delete import delete, delete_all_of_user, delete_and_record, delete_ended, was_deleted
from inpainting.models import GeneratedImage, Generation, Mask, ReferenceImage, SourceImage, UndeletedFile
from inpainting.models.images import content_digest
from inpainting.worker import run as running
from inpainting.worker.run import run

pytestmark = pytest.mark.django_db(transaction=True)  # files are deleted on commit
Generate = Callable[..., Generation]


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Files of other tests, whose rows are rolled back, must not be counted."""
    for path in files():
        path.unlink()


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


RECORDS = (Generation, SourceImage, Mask, ReferenceImage, GeneratedImage)


def rows() -> int:
    return sum(model._default_manager.count() for model in RECORDS)


@pytest.fixture
def waits(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> Generate:
    """waits(owner) -> a queued generation of which no worker was notified."""

    def make(owner: User) -> Generation:
        with monkeypatch.context() as away:
            away.setattr(tasks.run_waiting, "apply_async", lambda *arguments, **options: None)
            return generate(owner)

    return make


def test_deleting_a_generation_removes_its_rows_and_files_and_no_others(alice: User, generate: Generate) -> None:
    kept = generate(alice)
    before = files()
    gone = generate(alice)
    assert len(files() - before) == 5  # source, mask, result and two thumbnails
    assert delete(gone)
    assert files() == before
    assert rows() == 4
    assert kept.images.get().read().size == kept.source.read().size


def test_deleting_twice_succeeds(alice: User, generate: Generate) -> None:
    gone = generate(alice)
    again = Generation.objects.get(pk=gone.pk)
    assert delete(gone)
    assert delete(again)


def test_shared_images_stay_until_the_last_generation_is_deleted(alice: User, generate: Generate) -> None:
    first, second = generate(alice), generate(alice)
    unused = second.source, second.mask
    Generation.objects.filter(pk=second.pk).update(source=first.source, mask=first.mask)
    second.refresh_from_db()
    for image in unused:
        image.delete()
    assert delete(first)
    assert second.to_request().mask.any()
    assert len(files()) == 5
    assert delete(second)
    assert (files(), rows()) == (set(), 0)


def test_a_running_generation_is_cancelled_and_deleted_after_its_end(alice: User, waits: Generate) -> None:
    held = waits(alice)
    held.start()
    assert not delete(Generation.objects.get(pk=held.pk))
    assert not held.advance(1, 2)
    assert len(files()) == 2  # source and mask
    assert held.end_cancelled()
    assert delete(held)
    assert (files(), rows()) == (set(), 0)


def test_a_failed_transaction_removes_no_file(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    before = files()

    def broken() -> None:
        with transaction.atomic():
            assert delete(generation)
            raise RuntimeError("the power goes")

    with pytest.raises(RuntimeError):
        broken()
    assert Generation.objects.get().images.count() == 1
    assert files() == before


def test_a_file_that_cannot_be_removed_keeps_no_other(
    alice: User, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = generate(alice)
    stubborn, remove = str(generation.images.get().file.name), FileSystemStorage.delete

    def delete_file(self: FileSystemStorage, name: str) -> None:
        if name == stubborn:
            raise PermissionError(13, "Permission denied")
        remove(self, name)

    monkeypatch.setattr(FileSystemStorage, "delete", delete_file)
    assert delete(generation)
    assert files() == {Path(settings.DATA_DIR, "pictures", stubborn)}
    assert UndeletedFile.objects.get().name == stubborn


def test_deleting_everything_of_a_user_leaves_other_users_alone(
    alice: User, bob: User, generate: Generate, waits: Generate
) -> None:
    bobs = generate(bob)
    before = files()
    generate(alice)
    waiting, held = waits(alice), waits(alice)
    held.start()
    assert delete_all_of_user(alice) == 3
    assert files() == before
    assert list(Generation.objects.all()) == [bobs]
    assert not waiting.start()
    assert not held.advance(1, 2)


def test_a_worker_whose_generation_is_deleted_leaves_no_files(
    alice: User, waits: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, commit = waits(alice), running.retry_until_committed
    generation.start()

    def commit_after_deletion(*args: Any, **options: Any) -> bool:
        delete_all_of_user(alice)
        return commit(*args, **options)

    monkeypatch.setattr(running, "retry_until_committed", commit_after_deletion)
    run(generation)
    assert (files(), rows()) == (set(), 0)


def test_deleting_a_user_in_the_admin_removes_all_their_files(
    client: Client, alice: User, bob: User, generate: Generate, waits: Generate
) -> None:
    client.force_login(User.objects.create_superuser("boss@example.com"))
    bobs = generate(bob)
    before = files()
    generate(alice)
    waits(alice)
    assert client.post(f"/admin/accounts/user/{alice.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=alice.pk).exists()
    assert list(Generation.objects.all()) == [bobs]
    assert files() == before


def test_an_administrator_deletes_ended_generations_with_their_files(
    client: Client, alice: User, generate: Generate, waits: Generate
) -> None:
    client.force_login(User.objects.create_superuser("boss@example.com"))
    ended, held = generate(alice), waits(alice)
    held.start()
    form = {"action": "delete", "selected": [str(ended.pk), str(held.pk)], "confirmed": "on"}
    assert client.post("/admin/inpainting/generation/selected/", form).status_code == 302
    assert list(Generation.objects.all()) == [held]
    held.refresh_from_db()
    assert held.cancel_requested
    assert len(files()) == 2  # source and mask of the running one
    assert rows() == 3


@pytest.mark.parametrize("share_all", [True, False], ids=["all", "what guides"])
def test_deleting_two_generations_concurrently_removes_their_shared_images(
    alice: User, generate: Generate, share_all: bool
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("transactions of SQLite come one after the other")
    guide = CanonicalImage(data.chelsea()[:64, :96])
    first = generate(alice, control_image=guide)
    if share_all:
        second = first.copy_for_rerun()
    else:  # as items of a batch
        shared = {("control_image", content_digest(guide)): first.references["control_image"]}
        second = Generation.from_request(first.to_request(), owner=alice, engine="quick-fill", shared=shared)
        assert second.references == first.references
    second.parent = None  # as if a generation in between had been deleted: no foreign key orders the two transactions
    second.save_new()
    assert second.cancel()

    def delete_second() -> None:
        try:
            assert delete_ended(second.pk)
        finally:
            connection.close()

    other = threading.Thread(target=delete_second)
    with transaction.atomic():
        assert delete_ended(first.pk)
        other.start()
        while other.is_alive() and not a_transaction_waits_for_a_lock():
            time.sleep(0.01)
    other.join()
    assert (files(), rows()) == (set(), 0)


def a_transaction_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


def test_a_recorded_deletion_is_known_to_its_owner_for_a_day(
    alice: User, bob: User, generate: Generate, waits: Generate
) -> None:
    ended, waiting, kept = generate(alice), waits(alice), generate(alice)
    delete_and_record(ended)
    delete_and_record(waiting)
    assert list(Generation.objects.all()) == [kept]
    assert was_deleted(alice, ended.pk)
    assert was_deleted(alice, waiting.pk)
    assert not was_deleted(alice, kept.pk)
    assert not was_deleted(bob, ended.pk)
    prune_ledger(timezone.now() + timedelta(days=1, seconds=1))
    assert not was_deleted(alice, ended.pk)


def test_a_running_generation_is_cancelled_by_a_recorded_deletion(alice: User, waits: Generate) -> None:
    held = waits(alice)
    held.start()
    delete_and_record(held)
    held.refresh_from_db()
    assert held.cancel_requested
    assert was_deleted(alice, held.pk)
