"""The account page, the export of everything, and the deletion of an account."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from accounts.audit import Action
from accounts.models import ApiKey, AuditEntry, User
from inpainting.media import archives
from inpainting.media.archives import Archive, ArchiveChanged, Member
from inpainting.models import Batch, Draft, DraftImage, Generation, Retention, UploadedImage, UserLimits, Verdict
from inpainting.models.webhook_delivery import WebhookDelivery
from tests.accounts.codes import add_app, code_of_app, confirm, enter_code, enter_password
from tests.web.everything import files_of, with_everything

pytestmark = pytest.mark.django_db

Generate = Callable[..., Generation]
EXPORT, DELETE = "/account/export.zip", "/account/delete/"


@pytest.fixture(autouse=True)
def _fresh_counters() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def alices(alice: User) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def confirmed(alices: Client) -> Client:
    """Alice's browser after she entered her password again."""
    return confirm(alices)


# The page


def test_usage_is_shown_against_limits(alice: User, alices: Client, generate: Generate) -> None:
    UserLimits.objects.create(user=alice, per_day=1, waiting=3)
    generate(alice)
    usages = {usage.label: usage for usage in alices.get("/account/").context["usages"]}
    today = usages["Generations in the last 24 hours"]
    assert (today.used, today.limit, today.is_reached) == (1, 1, True)
    assert not usages["Generations queued or running"].is_reached
    assert usages["Megabytes stored"].limit is None


def test_the_page_shows_nothing_of_others(alices: Client, bob: User, generate: Generate) -> None:
    add_app(bob)
    ApiKey.issue(bob)
    generate(bob)
    context = alices.get("/account/").context
    assert (context["count"], context["stored_bytes"]) == (0, 0)
    assert not context["signs_in"].has_second_factor
    assert context["signs_in"].keys == 0


# The export


def exported(client: Client, **headers: str) -> Any:
    return cast("Any", client.get(EXPORT, headers=headers))


def test_the_export_has_all_images_and_settings_and_nothing_of_others(
    alice: User, bob: User, confirmed: Client, generate: Generate, batch_of: Callable[..., Batch], photo: Any
) -> None:
    generation = with_everything(alice, generate, batch_of, photo)
    bobs = generate(bob, prompt="bob's secret")
    answer = exported(confirmed)
    data = answer.getvalue()
    assert int(answer["Content-Length"]) == len(data)
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert b"bob" not in data
    assert str(bobs.pk).encode() not in data
    image = generation.images.get()
    listed = json.loads(archive.read("generations.json"))
    mine = next(item for item in listed if item["id"] == str(generation.pk))
    assert mine["metadata"]["prompt"] == "a lawn"
    assert archive.read(mine["results"][0]["file"]) == Path(image.file.path).read_bytes()
    assert archive.read(mine["pictures"]["source"]) == Path(generation.source.file.path).read_bytes()
    assert archive.read(mine["pictures"]["mask"]) == Path(generation.mask.file.path).read_bytes()
    assert mine["pictures"]["control_image"] in archive.namelist()
    account = json.loads(archive.read("account.json"))
    assert account["email"] == alice.email
    assert [key["name"] for key in account["api_keys"]] == ["script"]
    assert account["webhook_deliveries"][0]["url"] == "https://alice.example/hook"
    assert len(account["batches"]) == 1
    assert archive.read("draft/document.json")
    assert archive.read(f"draft/{'0' * 64}.jpeg") == b"jpeg"
    digest = ApiKey.objects.get(owner=alice).digest
    assert digest.encode() not in data


def test_an_interrupted_export_is_resumed_at_every_byte(alice: User, confirmed: Client, generate: Generate) -> None:
    generate(alice)
    whole = exported(confirmed)
    data, etag = whole.getvalue(), whole["ETag"]
    ApiKey.find(ApiKey.issue(alice)[1])
    for start in (0, 1, 29, 1000, len(data) // 2, len(data) - 30, len(data) - 1):
        if start == 0:
            etag, data = (again := exported(confirmed))["ETag"], again.getvalue()
        rest = exported(confirmed, **{"Range": f"bytes={start}-", "If-Range": etag})
        assert rest.status_code == 206
        assert rest["Content-Range"] == f"bytes {start}-{len(data) - 1}/{len(data)}"
        assert rest.getvalue() == data[start:]
    part = exported(confirmed, Range="bytes=100-199")
    assert part.getvalue() == data[100:200]
    assert exported(confirmed, Range=f"bytes={len(data)}-").status_code == 416


def test_an_export_that_has_changed_since_starts_again(alice: User, confirmed: Client, generate: Generate) -> None:
    generate(alice)
    etag = exported(confirmed)["ETag"]
    generate(alice)
    assert exported(confirmed, **{"Range": "bytes=100-", "If-Range": etag}).status_code == 200


def test_lost_files_and_hidden_and_removed_images_are_left_out(
    alice: User, confirmed: Client, generate: Generate
) -> None:
    lost, removed, hidden = generate(alice), generate(alice), generate(alice)
    Path(lost.images.get().file.path).unlink()
    removed.review(Verdict.REMOVED, note="not allowed here", by=alice)
    image = hidden.images.get()
    image.write_hidden(b"as it was painted")
    image.save()
    data = exported(confirmed).getvalue()
    archive = zipfile.ZipFile(io.BytesIO(data))
    listed = {generation["id"]: generation for generation in json.loads(archive.read("generations.json"))}
    assert listed[str(lost.pk)]["results"] == [{"file": None}]
    assert str(removed.pk) not in listed
    account = json.loads(archive.read("account.json"))
    assert account["removed_by_an_administrator"][0]["reason"] == "not allowed here"
    assert b"as it was painted" not in data


def test_a_stolen_session_gets_no_export(alice: User, alices: Client, generate: Generate) -> None:
    generate(alice)
    for request in (alices.get, alices.head):
        assert request(EXPORT)["Location"].startswith("/accounts/reauthenticate/")
    for headers in ({"Range": "bytes=1-"}, {"Range": "bytes=1-", "If-Range": '"another"'}, {"If-None-Match": "*"}):
        assert exported(alices, **headers)["Location"].startswith("/accounts/reauthenticate/")
    sent = {"password": "correct horse", "next": EXPORT}
    assert alices.post("/accounts/reauthenticate/", sent)["Location"] == EXPORT
    assert exported(alices).status_code == 200


def test_a_download_that_was_begun_is_resumed_after_the_confirmation_has_ended(
    alice: User, confirmed: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(alice)
    whole = exported(confirmed)
    data, later = whole.getvalue(), time.time() + 3600
    monkeypatch.setattr("time.time", lambda: later)
    assert exported(confirmed).status_code == 302
    rest = exported(confirmed, **{"Range": "bytes=100-", "If-Range": whole["ETag"]})
    assert (rest.status_code, rest.getvalue()) == (206, data[100:])


def test_a_key_or_a_visitor_gets_no_export(client: Client, alices_program: Client) -> None:
    for stranger in (client, alices_program):
        assert exported(stranger)["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("zip64", [False, True])
def test_the_length_of_an_archive_is_known_before_it_is_made(zip64: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if zip64:
        for module in (zipfile, archives):
            monkeypatch.setattr(module, "ZIP64_LIMIT", 2000)
            monkeypatch.setattr(module, "ZIP_FILECOUNT_LIMIT", 20)
    members = [Member(f"Ünï/{number}.txt", 150, content=bytes([number]) * 150) for number in range(30)]
    archive = Archive(members, timezone.now())
    data = b"".join(archive.chunks(range(len(archive))))
    assert len(data) == len(archive)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


def test_a_member_that_changes_during_the_download_ends_it() -> None:
    stored = default_storage.save("archived.txt", ContentFile(b"four"))
    archive = Archive([Member("a", 5, stored=stored)], timezone.now())
    with pytest.raises(ArchiveChanged):
        list(archive.chunks(range(len(archive))))
    default_storage.delete(stored)
    with pytest.raises(ArchiveChanged):
        list(archive.chunks(range(len(archive))))


# The deletion


def test_deleting_the_account_deletes_everything_but_an_anonymous_entry(
    alice: User,
    bob: User,
    confirmed: Client,
    generate: Generate,
    batch_of: Callable[..., Batch],
    photo: Any,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    with_everything(alice, generate, batch_of, photo)
    _, key = ApiKey.issue(alice)
    other = Client()
    other.force_login(alice)
    assert other.get("/account/").context["signs_in"].sessions == 2
    kept = generate(bob)
    mine, bobs, pk = files_of(alice), files_of(bob), alice.pk
    with django_capture_on_commit_callbacks(execute=True):
        assert confirmed.post(DELETE, {"email": "Alice@example.com"})["Location"] == "/"
    assert not any(default_storage.exists(name) for name in mine)
    assert all(default_storage.exists(name) for name in bobs)
    assert list(User.objects.all()) == [bob]
    assert list(Generation.objects.all()) == [kept]
    for model in (Batch, Draft, DraftImage, UploadedImage, Retention, UserLimits, WebhookDelivery, ApiKey):
        assert not model._default_manager.exists(), model
    for browser in (confirmed, other):
        assert "/login/" in browser.get("/account/")["Location"]
    assert Client(headers={"X-API-Key": key}).get("/api/generations/").status_code == 401
    assert not any("_auth_user_id" in session.get_decoded() for session in Session.objects.all())
    entry = AuditEntry.objects.get(action=Action.DELETED)
    assert (entry.actor_id, entry.subject_id, entry.target_id) == (pk, pk, str(pk))
    assert alice.email not in str(AuditEntry.objects.values())


def test_a_stolen_session_cannot_delete_the_account(alice: User, alices: Client) -> None:
    assert alices.get(DELETE)["Location"].startswith("/accounts/reauthenticate/")
    assert alices.post(DELETE, {"email": alice.email})["Location"].startswith("/accounts/reauthenticate/")
    alices.post("/accounts/reauthenticate/", {"password": "a guess", "next": DELETE})
    assert alices.post(DELETE, {"email": alice.email})["Location"].startswith("/accounts/reauthenticate/")
    assert User.objects.filter(pk=alice.pk).exists()


def test_a_second_factor_confirms_the_deletion_too(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_015.0)
    add_app(alice)
    client = Client()
    enter_password(client, alice, "correct horse")
    enter_code(client, code_of_app())
    cache.clear()
    client.post("/accounts/2fa/reauthenticate/", {"code": code_of_app(), "next": DELETE})
    client.post(DELETE, {"email": alice.email})
    assert not User.objects.exists()
    assert not Authenticator.objects.exists()


def test_the_address_of_another_account_deletes_nothing(confirmed: Client, bob: User) -> None:
    answer = confirmed.post(DELETE, {"email": bob.email})
    assert b"not the address of your account" in answer.content
    assert User.objects.count() == 2


def test_the_only_administrator_cannot_leave(confirmed: Client, alice: User) -> None:
    alice.is_superuser = True
    alice.save()
    assert b"only administrator" in confirmed.post(DELETE, {"email": alice.email}).content
    User.objects.create_superuser("boss@example.com", "boss-of-it-all")
    confirmed.post(DELETE, {"email": alice.email})
    assert not User.objects.filter(pk=alice.pk).exists()


def test_a_running_generation_is_discarded(alice: User, confirmed: Client, generate: Generate) -> None:
    running = generate(alice, run=False)
    assert running.start()
    confirmed.post(DELETE, {"email": alice.email})
    assert not running.advance(1, 2)  # the worker's next step ends it
    assert not running.succeed([])
