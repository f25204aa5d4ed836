"""Reference images of a generation are stored, shared, counted and deleted like its source and mask."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone
from skimage import data

from accounts.models import User
from inpainting.accounting.limits import Allowance, LimitReached, stored_bytes
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.image import CanonicalImage
from inpainting.generations.delete import delete, delete_all_of_user
from inpainting.generations.retention import sweep
from inpainting.generations.submit import save_and_notify
from inpainting.models import Batch, ConditioningImage, Generation, ReferenceImage, Retention, UserLimits

pytestmark = pytest.mark.django_db(transaction=True)  # files are deleted on commit
Generate = Callable[..., Generation]
GUIDE, LOOK = CanonicalImage(data.astronaut()[:64, :96]), CanonicalImage(data.chelsea()[:40, :50])


@pytest.fixture(autouse=True)
def _alone() -> None:
    """Files of other tests, whose rows are rolled back, must not be counted."""
    for path in files():
        path.unlink()


@pytest.fixture
def both(generate: Generate) -> Generate:
    """both(owner) -> a generation with a control image and an image prompt."""
    return lambda owner, **more: generate(owner, control_image=GUIDE, ip_adapter_image=LOOK, **more)


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


def test_the_restored_request_has_both_reference_images(alice: User, both: Generate) -> None:
    made = Generation.objects.get(pk=both(alice).pk)
    request = made.to_request()
    assert request.conditioning_images["control_image"].equals(GUIDE)
    assert request.conditioning_images["ip_adapter_image"].equals(LOOK)
    assert {image.owner for image in made.references.values()} == {alice}
    assert {str(image.file.name).partition("/")[0] for image in made.references.values()} == {"referenceimage"}


@pytest.mark.parametrize("owner_is_deleted", [False, True])
def test_every_conditioning_image_is_stored_restored_copied_and_deleted(
    alice: User, generate: Generate, owner_is_deleted: bool
) -> None:
    images = {
        name: CanonicalImage(np.full((64, 96, 3), number, np.uint8)) for number, name in enumerate(CONDITIONING_IMAGES)
    }
    first = generate(alice, **images)
    second = Generation.objects.get(pk=first.pk).copy_for_rerun()
    second.save_new()
    restored = Generation.objects.get(pk=second.pk).to_request().conditioning_images
    assert restored.keys() == images.keys()
    assert all(restored[name].equals(image) for name, image in images.items())
    if not owner_is_deleted:
        assert second.cancel()
        assert delete(first)
        assert ReferenceImage.objects.count() == len(images)
        assert delete(second)
    else:
        delete_all_of_user(alice)
    assert (files(), ReferenceImage.objects.count()) == (set(), 0)


@pytest.mark.parametrize("name", CONDITIONING_IMAGES)
def test_an_image_is_unused_once_no_generation_has_it(alice: User, generate: Generate, name: str) -> None:
    image = generate(alice, **{name: GUIDE}).references[name]
    assert not ReferenceImage.objects.unused().exists()
    ConditioningImage.objects.all().delete()
    assert list(ReferenceImage.objects.unused()) == [image]


def test_a_request_with_one_reference_image_stores_only_that_one(alice: User, generate: Generate) -> None:
    request = generate(alice, ip_adapter_image=LOOK).to_request()
    assert request.conditioning_images.get("control_image") is None
    assert request.conditioning_images.get("ip_adapter_image") is not None


def test_deleting_a_generation_removes_both_reference_images_and_no_others(alice: User, both: Generate) -> None:
    before_all = files()
    kept = both(alice)
    before = files()
    assert len(before - before_all) == 7  # source, mask, two reference images, result and two thumbnails
    gone = both(alice)
    assert delete(gone)
    assert files() == before
    assert ReferenceImage.objects.count() == 2
    assert kept.to_request().conditioning_images.get("control_image") is not None


def test_shared_reference_images_stay_until_the_last_generation_is_deleted(alice: User, both: Generate) -> None:
    first = both(alice)
    second = first.copy_for_rerun()
    second.save_new()
    assert second.references == first.references
    assert ReferenceImage.objects.count() == 2
    assert second.cancel()
    assert delete(first)
    assert Generation.objects.get(pk=second.pk).to_request().conditioning_images.get("ip_adapter_image") is not None
    assert delete(second)
    assert (files(), ReferenceImage.objects.count()) == (set(), 0)


def test_an_image_with_a_different_role_in_each_of_two_generations_stays_for_both(alice: User, both: Generate) -> None:
    first, second = both(alice), both(alice)
    spare = second.references["ip_adapter_image"]
    shared = first.references["control_image"]
    ConditioningImage.objects.filter(generation=second, role="ip_adapters").update(image=shared)
    spare.delete()
    assert delete(first)
    assert Generation.objects.get(pk=second.pk).to_request().conditioning_images.get("ip_adapter_image") is not None


@pytest.mark.parametrize("by", ["everything", "the admin", "time"])
def test_every_way_of_deleting_removes_both_reference_images(
    by: str, client: Client, alice: User, bob: User, both: Generate
) -> None:
    bobs = both(bob)
    before = files()
    both(alice)
    if by == "everything":
        assert delete_all_of_user(alice) == 1
    elif by == "the admin":
        client.force_login(User.objects.create_superuser("boss@example.com"))
        assert client.post(f"/admin/accounts/user/{alice.pk}/delete/", {"post": "yes"}).status_code == 302
    else:
        Retention.set(alice, 1)
        assert sweep(timezone.now() + timedelta(days=2))
    assert files() == before
    assert list(Generation.objects.all()) == [bobs]
    assert ReferenceImage.objects.count() == 2


def test_a_partly_failed_write_leaves_no_files(alice: User, both: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    save, written = FileSystemStorage.save, []

    def full_at_the_last(self: FileSystemStorage, name: str, content: Any, max_length: int | None = None) -> str:
        written.append(name)
        if sum("referenceimage" in name for name in written) == 2:
            raise OSError(28, "No space left on device")
        return str(save(self, name, content, max_length))

    monkeypatch.setattr(FileSystemStorage, "save", full_at_the_last)
    with pytest.raises(OSError, match="No space"):
        both(alice)
    assert len(written) == 4  # source, mask and both
    assert (files(), Generation.objects.count()) == (set(), 0)


def test_they_count_towards_the_limit_and_a_refusal_leaves_no_file(alice: User, both: Generate) -> None:
    first = both(alice)
    kept = [*first.inputs.values(), *first.images.all()]
    assert stored_bytes(alice) == sum(image.byte_count for image in kept)
    before = files()
    UserLimits.objects.create(user=alice, stored_megabytes=0)
    with pytest.raises(LimitReached):
        both(alice)
    assert files() == before


def test_they_count_in_a_batch(alice: User, both: Generate) -> None:
    request = both(alice).to_request()
    many = [Generation.from_request(request, owner=alice, engine="quick-fill") for _ in "ab"]
    for generation, count in zip(many, (900_000, 200_000), strict=True):
        generation.references["ip_adapter_image"].byte_count = count
    UserLimits.objects.create(user=alice, stored_megabytes=1)
    with transaction.atomic():
        allowance = Allowance(alice)
        save_and_notify(many[0], allowance)
        with pytest.raises(LimitReached):
            save_and_notify(many[1], allowance)


def test_a_retry_shares_them_and_fails_if_one_is_missing(
    alice: User, alices_program: Client, both: Generate, batch_of: Callable[..., Batch]
) -> None:
    request = both(alice).to_request()

    def cancelled() -> Generation:
        generation = Generation.from_request(request, owner=alice, engine="quick-fill")
        generation.save_new()
        assert generation.cancel()
        return generation

    former = cancelled()
    batch = batch_of(former)
    assert alices_program.post(f"/api/batches/{batch.pk}/retry/").status_code == 202
    assert former.children.get().references == former.references
    other = cancelled()
    Path(other.references["control_image"].file.path).unlink()
    answer = alices_program.post(f"/api/batches/{batch_of(other).pk}/retry/")
    assert (answer.status_code, answer.json()["code"]) == (400, "image_gone")


def test_check_files_covers_them(alice: User, both: Generate) -> None:
    generation, out = both(alice), io.StringIO()
    call_command("check_files", "--hashes", stdout=out)
    assert "7 named by rows, 7 files: 0 missing" in out.getvalue()
    guide, look = generation.references.values()
    Path(guide.file.path).unlink()
    Path(look.file.path).write_bytes(b"altered")
    with pytest.raises(CommandError):
        call_command("check_files", "--hashes", stdout=out)
    assert f"missing  {guide.file.name} (of reference image {guide.pk})" in out.getvalue()
    assert f"altered  {look.file.name}" in out.getvalue()


def test_the_admin_shows_them(client: Client, alice: User, both: Generate) -> None:
    generation = both(alice)
    client.force_login(User.objects.create_superuser("boss@example.com"))
    page = client.get(f"/admin/inpainting/generation/{generation.pk}/change/").content.decode()
    for which in ("control_image", "ip_adapter_image"):
        url = f"/admin/inpainting/generation/{generation.pk}/picture/{which}/"
        assert url in page
        assert client.get(url)["Content-Type"] == "image/png"
