"""The webhook API: deliveries with their attempts, resending, test messages, secrets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.accounting import limits
from inpainting.models import DeliveryState, LedgerEntry, WebhookDelivery
from inpainting.webhooks import deliver_due, signing_secrets
from tests.net.fake_network import Listener, answer
from tests.webhooks.receiving import messages, open_to, url_of

URL = "https://alice.example/hook"


def test_a_test_event_is_sent_and_its_attempt_is_listed(
    alice: User, alices_program: Client, settings: Settings
) -> None:
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        body = {"url": url_of(receiver)}
        made = alices_program.post("/api/webhooks/test/", body, content_type="application/json")
        assert made.status_code == 201
        created = made.json()
        assert (created["type"], created["state"], created["attempts"]) == ("test", "pending", [])
        deliver_due()
        (message,) = messages(receiver)
    secret = alices_program.get("/api/webhooks/secret/")
    assert secret["Cache-Control"] == "no-store"
    assert message.verifies_with(secret.json()["secret"])
    (listed,) = alices_program.get("/api/webhooks/deliveries/").json()["results"]
    assert listed["id"] == created["id"] == message.id
    assert (listed["state"], listed["url"], listed["next_attempt_at"]) == ("delivered", body["url"], None)
    (attempt,) = listed["attempts"]
    assert (attempt["status"], attempt["failure"], attempt["answer"]) == (200, None, "")
    assert attempt["milliseconds"] >= 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "field_missing"),
        ({"url": 7}, "url_not_allowed"),
        ({"url": "http://127.0.0.1/"}, "url_not_allowed"),
        ({"url": "http://169.254.169.254/"}, "url_not_allowed"),
        ({"url": "ftp://alice.example/"}, "url_not_allowed"),
        ({"url": "https://alice.example/" + "x" * 2000}, "field_invalid"),
    ],
)
def test_an_invalid_url_is_refused(alices_program: Client, body: dict[str, object], code: str) -> None:
    answer = alices_program.post("/api/webhooks/test/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "url")
    assert not WebhookDelivery.objects.exists()


def test_own_deliveries_are_listed_newest_first_in_pages(alice: User, bob: User, alices_program: Client) -> None:
    ids = [WebhookDelivery.create_test(alice, URL).webhook_id for _ in range(3)]
    WebhookDelivery.create_test(bob, URL)
    first = alices_program.get("/api/webhooks/deliveries/?page_size=2").json()
    second = alices_program.get(first["next"]).json()
    assert [result["id"] for result in [*first["results"], *second["results"]]] == ids[::-1]
    assert (first["count"], second["next"]) == (3, None)
    assert alices_program.get("/api/webhooks/deliveries/?page=9").status_code == 404
    assert alices_program.get("/api/webhooks/deliveries/?page=x").status_code == 400


def test_resending_makes_it_due_again_under_its_id(alice: User, alices_program: Client) -> None:
    delivery = WebhookDelivery.create_test(alice, URL)
    WebhookDelivery.objects.update(state=DeliveryState.DISABLED, next_attempt_at=None)
    answer = alices_program.post(f"/api/webhooks/deliveries/{delivery.webhook_id}/resend/")
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["state"]) == (delivery.webhook_id, "pending")
    assert WebhookDelivery.due().get() == delivery


@pytest.mark.django_db(transaction=True)
def test_test_messages_and_resends_share_one_exact_limit(
    alice: User, alices_key: str, bobs_program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEBHOOKS_PER_MINUTE", 5)
    delivery = WebhookDelivery.create_test(alice, URL)

    def send(number: int) -> Any:
        program = Client(headers={"X-API-Key": alices_key})
        try:
            if number % 2:
                return program.post(f"/api/webhooks/deliveries/{delivery.webhook_id}/resend/")
            return program.post("/api/webhooks/test/", {"url": URL}, content_type="application/json")
        finally:
            connection.close()

    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(send, range(24)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 19
    assert {(answer.json()["code"], answer.json()["limit"]) for answer in refused} == {("rate_limited", 5)}
    assert all(1 <= int(answer["Retry-After"]) <= 60 for answer in refused)
    sent = [answer for answer in answers if answer.status_code == 201]
    assert WebhookDelivery.objects.count() == 1 + len(sent)  # refused requests created no deliveries
    assert bobs_program.post("/api/webhooks/test/", {"url": URL}, content_type="application/json").status_code == 201
    LedgerEntry.objects.update(at=timezone.now() - timedelta(seconds=61))
    assert send(0).status_code == 201


def test_a_rotation_returns_a_new_secret_and_when_the_previous_one_retires(
    alice: User, bob: User, alices_program: Client
) -> None:
    before = alices_program.get("/api/webhooks/secret/").json()
    assert before["former_secret_until"] is None
    after = alices_program.post("/api/webhooks/secret/rotate/").json()
    assert after["secret"] != before["secret"]
    assert after["former_secret_until"] is not None
    assert alices_program.get("/api/webhooks/secret/").json() == after
    assert signing_secrets(alice) == [after["secret"], before["secret"]]
    assert len(signing_secrets(bob)) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "deliveries/"),
        ("POST", "deliveries/msg_1/resend/"),
        ("POST", "test/"),
        ("GET", "secret/"),
        ("POST", "secret/rotate/"),
    ],
)
def test_a_key_needs_the_scope_manage(alice: User, client: Client, method: str, path: str) -> None:
    assert client.generic(method, f"/api/webhooks/{path}").status_code == 401
    key = ApiKey.issue(alice, scopes=[Scope.GENERATE, Scope.READ])[1]
    answer = Client(headers={"X-API-Key": key}).generic(method, f"/api/webhooks/{path}")
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


def test_an_administrator_reads_deliveries_and_attempts(client: Client, alice: User) -> None:
    with Listener(answer("200 OK")) as receiver:  # not in the allowed networks
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        deliver_due()
    client.force_login(User.objects.create_superuser("boss@example.com", "a long one"))
    assert url_of(receiver) in client.get("/admin/inpainting/webhookdelivery/?q=alice").content.decode()
    page = client.get(f"/admin/inpainting/webhookdelivery/{delivery.pk}/change/").content.decode()
    assert delivery.webhook_id in page
    assert "not_allowed" in page
    assert client.post(f"/admin/inpainting/webhookdelivery/{delivery.pk}/change/").status_code == 403
