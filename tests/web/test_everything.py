"""Everything that belongs to a user is in the export and goes with the account: each model that leads to a user."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, cast
from zipfile import ZipFile

import pytest
from django.db.models import Model
from django.test import Client

from accounts.models import AuditEntry, User
from inpainting.models import Batch, Generation
from tests.accounts.codes import confirm
from tests.web.everything import rows_of, ways_to_user, with_everything

pytestmark = pytest.mark.django_db

LEFT_OUT = {
    "account.EmailConfirmation": "a link that was sent by e-mail; a secret",
    "accounts.Ticket": "opens one websocket within a minute; a secret",
    "admin.LogEntry": "what administrators did in Django's pages, which the audit log has too",
    "inpainting.Analysis": "a search for a mask or for words, deleted a day after; a mask that is kept is in uploads/",
    "inpainting.AnalysisMask": "goes with its analysis",
    "inpainting.ConditioningImage": "the images themselves are in control-images/ and ip-adapter-images/",
    "inpainting.Flow": "the place in the queue of the user's next generation",
    "inpainting.IdempotencyKey": "made by programs, and kept for a day",
    "inpainting.LedgerEntry": "counts the last day's generations against limits",
    "inpainting.ServiceOptions": "chosen by programs, such as the model that an API key paints with",
    "inpainting.WebhookPause": "until when nothing is sent to a host after a failed attempt, a few seconds",
}
"""Models that are not in the export, and why."""
STAYS = {AuditEntry}
"""Without the address, so that what administrators did can still be read."""


class Export:
    """The archive, read: `member[path]` finds the values, `*` stands for every entry of a list."""

    def __init__(self, client: Client) -> None:
        answer = cast("Any", client.get("/account/export.zip"))
        self.archive = ZipFile(io.BytesIO(answer.getvalue()))

    def values(self, place: str) -> list[Any]:
        """The names that begin with the place; or of `file.json key.*.key` the values in the file, without null."""
        member, _, path = place.partition(" ")
        if not member.endswith(".json"):
            return [name for name in self.archive.namelist() if name.startswith(member)]
        found = [json.loads(self.archive.read(member))]
        for key in path.split("."):
            if key == "*":
                found = [entry for entries in found for entry in entries]
            elif key:
                found = [entry[key] for entry in found if entry.get(key) is not None]
        return found


PLACES = {
    "accounts.User": "account.json email",
    "account.EmailAddress": "account.json addresses.*",
    "accounts.ApiKey": "account.json api_keys.*",
    "accounts.AuditEntry": "account.json audit_log.*",
    "inpainting.Batch": "account.json batches.*",
    "inpainting.BatchItem": "account.json batches.*.items.*.generation",
    "inpainting.Draft": "draft/document.json version",
    "inpainting.DraftImage": "draft/0",
    "inpainting.GeneratedImage": "generations.json *.results.*.file",
    "inpainting.Generation": "generations.json *.id",
    "inpainting.Mask": "masks/",
    "inpainting.ReferenceImage": "control-images/",
    "inpainting.Retention": "account.json deleted_after_days",
    "inpainting.Share": "account.json shares.*.expires_at",
    "inpainting.SourceImage": "sources/",
    "inpainting.Stack": "stacks.json *.id",
    "inpainting.StackShare": "shared/",
    "inpainting.StackStep": "stacks.json *.steps.*.generation",
    "inpainting.StepMask": "step-masks/",
    "inpainting.UploadedImage": "uploads/",
    "inpainting.UserLimits": "account.json limits.per_day",
    "inpainting.WebhookAttempt": "account.json webhook_deliveries.*.attempts.*.at",
    "inpainting.WebhookDelivery": "account.json webhook_deliveries.*.url",
    "inpainting.WebhookSecret": "account.json webhook_secrets.*",
    "mfa.Authenticator": "account.json second_factors.*",
    "usersessions.UserSession": "account.json sessions.*",
}
"""For each model the place in the archive that has one value for each row; see `Export.values`."""


@pytest.fixture
def alices(alice: User, generate: Callable[..., Generation], batch_of: Callable[..., Batch], photo: Any) -> Client:
    """The browser of Alice, who has a row of every model."""
    with_everything(alice, generate, batch_of, photo)
    client = Client()
    client.force_login(alice)
    return confirm(client)


def label(model: type[Model]) -> str:
    return model._meta.label


def test_every_model_of_a_user_has_a_place_in_the_export_or_a_reason_to_be_left_out() -> None:
    assert sorted(label(model) for model in ways_to_user()) == sorted([*PLACES, *LEFT_OUT])


def test_the_export_has_each_row_and_the_account_takes_all_with_it(
    alice: User, alices: Client, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    models = ways_to_user()
    export = Export(alices)
    rows = {label(model): rows_of(alice, model).count() for model in models}
    assert all(rows.values()), rows
    assert {name: len(export.values(place)) for name, place in PLACES.items()} == {name: rows[name] for name in PLACES}

    pks = {model: list(rows_of(alice, model).values_list("pk", flat=True)) for model in models}
    with django_capture_on_commit_callbacks(execute=True):
        alices.post("/account/delete/", {"email": alice.email})
    left = {label(model) for model in models if model._default_manager.filter(pk__in=pks[model]).exists()}
    assert left == {label(model) for model in STAYS}
