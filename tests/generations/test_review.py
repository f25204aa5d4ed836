"""Verdicts of administrators, what a removal hides, and the audit log."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection, transaction
from django.test import Client
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from accounts.audit import Action, AuditLogIsAppendOnly
from accounts.models import AuditEntry, User
from inpainting.api.compat.fooocus import DIALECT
from inpainting.api.compat.fooocus.events import last_event
from inpainting.api.media.links import image_link, read_own_link
from inpainting.core.errors import InvalidRequest
from inpainting.generations import history
from inpainting.generations.batches import delete_batch
from inpainting.generations.review import MAX_NOTE_CHARACTERS, delete_as_administrator, give_verdict
from inpainting.models import Batch, Generation, Status, Verdict, WebhookDelivery
from inpainting.webhooks import message_body

Generate = Callable[..., Generation]


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss@example.com")


def remove(*generations: Generation, by: User, reason: str = "not allowed here") -> None:
    assert give_verdict([generation.pk for generation in generations], Verdict.REMOVED, note=reason, by=by) == len(
        generations
    )
    for generation in generations:
        generation.refresh_from_db()


def test_a_verdict_is_kept_with_its_note_and_every_change_of_it_is_in_the_audit_log(
    alice: User, boss: User, generate: Generate
) -> None:
    generation = generate(alice)
    give_verdict([generation.pk], Verdict.ATTENTION, note="look again", by=boss)
    give_verdict([generation.pk], Verdict.FINE, note="", by=boss)
    generation.refresh_from_db()
    assert (generation.verdict, generation.review_note, generation.reviewed_by) == ("fine", "", boss)
    assert generation.reviewed_at is not None
    newest, oldest = AuditEntry.objects.filter(target_type="inpainting.generation", target_id=str(generation.pk))
    assert (oldest.actor, oldest.subject, oldest.action, oldest.note) == (boss, alice, Action.VERDICT, "look again")
    assert newest.changes == [("note", "look again", ""), ("verdict", "attention", "fine")]


def test_a_removal_needs_a_reason_and_a_note_has_a_limit(alice: User, boss: User, generate: Generate) -> None:
    generation = generate(alice)
    for verdict, note in ((Verdict.REMOVED, ""), (Verdict.FINE, "x" * (MAX_NOTE_CHARACTERS + 1))):
        with pytest.raises(InvalidRequest) as refused:
            give_verdict([generation.pk], verdict, note=note, by=boss)
        assert refused.value.field == "note"
    assert not AuditEntry.objects.exists()


def test_a_removed_generation_that_still_waits_is_cancelled(alice: User, boss: User, generate: Generate) -> None:
    waiting = generate(alice, run=False)
    remove(waiting, by=boss)
    assert waiting.status == Status.CANCELLED


def test_the_lists_leave_removed_generations_out_and_the_history_names_the_reason(
    alice: User, boss: User, generate: Generate, client: Client, alices_program: Client
) -> None:
    removed, kept = generate(alice), generate(alice)
    remove(removed, by=boss, reason="<b>private</b>")
    ids = [result["id"] for result in alices_program.get("/api/generations/").json()["results"]]
    assert ids == [str(kept.pk)]
    client.force_login(alice)
    page = client.get("/history/").content.decode()
    assert f"/api/generations/{removed.pk}/" not in page
    assert "&lt;b&gt;private" in page
    own = client.get(f"/generations/{removed.pk}/")
    assert own.status_code == 410
    assert "&lt;b&gt;private" in own.content.decode()


def test_links_to_the_inputs_of_a_removed_generation_lead_nowhere(
    alice: User, boss: User, generate: Generate, client: Client
) -> None:
    generation = generate(alice)
    links = [image_link("inputs", "a.png", stored, origin="") for stored in (generation.source, generation.mask)]
    own = f"/api/generations/{generation.pk}/images/0/"
    assert [client.get(link).status_code for link in links] == [200, 200]
    request = Request(APIRequestFactory().get("/"))
    request.user, request.auth = alice, None
    assert read_own_link(own, request, field="image")
    remove(generation, by=boss)
    assert [client.get(link).status_code for link in links] == [404, 404]
    for link in (*links, own):
        with pytest.raises(InvalidRequest):
            read_own_link(link, request, field="image")
    give_verdict([generation.pk], Verdict.NONE, note="", by=boss)
    assert [client.get(link).status_code for link in links] == [200, 200]


def test_a_batch_shows_a_removed_item_as_deleted_with_the_reason_and_its_archive_lacks_it(
    alice: User, boss: User, generate: Generate, batch_of: Callable[..., Batch], alices_program: Client
) -> None:
    kept, removed = generate(alice), generate(alice)
    batch = batch_of(kept, removed)
    remove(removed, by=boss)
    body = alices_program.get(f"/api/batches/{batch.pk}/").json()
    assert (body["counts"]["succeeded"], body["counts"]["deleted"], body["total"]) == (1, 1, 2)
    item = body["items"][1]
    assert (item["status"], item["images"], item["error"]["code"]) == ("deleted", [], "generation_removed")
    archive = alices_program.get(f"/api/batches/{batch.pk}/results.zip").getvalue()
    assert len(zipfile.ZipFile(io.BytesIO(archive)).namelist()) == 2  # the other image and the manifest
    delete_batch(batch)
    assert list(Generation.objects.all()) == [removed]


def test_messages_of_other_services_stop_at_a_removal(alice: User, boss: User, generate: Generate) -> None:
    generation = generate(alice)
    generation.webhook_url = "https://alice.example/hook"
    generation.service = "modelslab"
    WebhookDelivery.create_for(generation)
    remove(generation, by=boss)
    assert message_body(WebhookDelivery.objects.get()) is None
    assert b'"images": []' in last_event(generation.pk, DIALECT.meta)
    assert b"not allowed here" in last_event(generation.pk, DIALECT.meta)


def test_repeating_a_request_does_not_bring_a_removed_generation_back(
    alice: User, boss: User, generate: Generate, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    def post() -> Any:
        sent = {"image": photo_png, "mask": mask_png}
        files: dict[str, Any] = {
            name: SimpleUploadedFile(f"{name}.png", data, "image/png") for name, data in sent.items()
        }
        headers = {"Idempotency-Key": "one", "Prefer": "respond-async"}
        return alices_program.post("/api/img2img", {**files, "prompt": ""}, headers=headers)

    assert post().status_code == 202
    remove(Generation.objects.get(), by=boss)
    again = post()
    assert (again.status_code, again.json()["code"]) == (410, "generation_removed")


def test_removed_generations_are_not_found_by_others_and_never_listed(
    alice: User, bob: User, boss: User, generate: Generate
) -> None:
    generation = generate(alice)
    remove(generation, by=boss)
    assert history.find(bob, generation.pk) is None
    assert list(history.removed_of(alice)) == [generation]
    assert list(history.removed_of(bob)) == []
    with pytest.raises(history.GenerationRemoved, match="not allowed here"):
        history.find(alice, generation.pk)


def test_a_deletion_by_an_administrator_is_recorded(alice: User, boss: User, generate: Generate) -> None:
    generation = generate(alice)
    assert delete_as_administrator([generation.pk], by=boss) == 1
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target_id, entry.subject) == (Action.DELETED, str(generation.pk), alice)


def test_an_entry_can_be_neither_changed_nor_deleted(alice: User, boss: User) -> None:
    entry = AuditEntry.record(boss, Action.CHANGED, alice)
    for change in (
        entry.save,
        entry.delete,
        lambda: AuditEntry.objects.update(note="x"),
        lambda: AuditEntry.objects.all().delete(),
        lambda: AuditEntry.objects.bulk_update([entry], ["note"]),
    ):
        with pytest.raises(AuditLogIsAppendOnly):
            change()
    for statement in ("UPDATE accounts_auditentry SET note = 'x'", "DELETE FROM accounts_auditentry"):
        with pytest.raises(DatabaseError, match="neither changed nor deleted"), transaction.atomic():
            connection.cursor().execute(statement)


def test_an_entry_outlives_the_accounts_that_it_is_about(alice: User, boss: User) -> None:
    entry = AuditEntry.record(boss, Action.CHANGED, alice, subject=alice.pk)
    numbers = boss.pk, alice.pk
    boss.delete()
    alice.delete()
    entry = AuditEntry.objects.get(pk=entry.pk)
    assert (entry.actor_id, entry.subject_id) == numbers
    assert "@" not in str(entry)
