"""Deliveries to real receivers on this machine, some of which misbehave."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from inpainting import webhooks
from inpainting.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookPause, WebhookSecret
from inpainting.net import Failure, OutboundPolicy, PostFailure
from inpainting.webhooks import RETRY_SECONDS, deliver, deliver_due, signing_secrets
from inpainting.worker import poller
from tests.net.fake_network import PUBLIC, FakeNetwork, Handler, Listener, answer, silent
from tests.support.threads import with_own_connection
from tests.webhooks.receiving import let_time_pass, messages, open_to, seeded, url_of


def fresh(delivery: WebhookDelivery) -> WebhookDelivery:
    return WebhookDelivery.objects.get(pk=delivery.pk)


def in_turn(*handlers: Handler) -> Handler:
    """Return a handler that uses the given handlers in turn, and the last one from then on."""
    calls = iter([*handlers[:-1]])
    return lambda visitor, request: next(calls, handlers[-1])(visitor, request)


def seconds_until_the_next(delivery: WebhookDelivery) -> float:
    next_attempt_at = fresh(delivery).next_attempt_at
    assert next_attempt_at is not None
    return (next_attempt_at - timezone.now()).total_seconds()


def test_a_message_arrives_once_and_its_signature_verifies(alice: User, settings: Settings) -> None:
    with Listener(answer("204 No Content")) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        before = int(time.time())
        deliver_due()
        deliver_due()
        (message,) = messages(receiver)
    assert all(message.verifies_with(secret) for secret in signing_secrets(alice))
    assert message.id == delivery.webhook_id
    assert before <= int(message.headers["webhook-timestamp"]) <= time.time()
    assert message.headers["content-type"] == "application/json"
    assert message.content["type"] == "test"
    assert message.content["timestamp"] == delivery.created_at.isoformat()
    assert message.content["data"]["sequence"] > 0
    delivery = fresh(delivery)
    assert (delivery.state, delivery.tries, delivery.next_attempt_at) == (DeliveryState.DELIVERED, 0, None)
    assert delivery.delivered_at is not None
    attempt = delivery.attempts.get()
    assert (attempt.status, attempt.failure) == (204, "")


def test_a_failed_message_is_retried_later_with_the_same_id_and_body(
    alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1700000000.9, 1700000007.2])
    monkeypatch.setattr(webhooks, "time", SimpleNamespace(time=lambda: next(times)))
    with Listener(in_turn(answer("500 Oh"), answer("200 OK"))) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        deliver_due()
        assert fresh(delivery).state == DeliveryState.PENDING
        assert 3 < seconds_until_the_next(delivery) <= 6
        deliver_due()  # not due yet
        assert len(receiver.requests) == 1
        let_time_pass()
        deliver_due()
        first, second = messages(receiver)
    assert (first.id, first.body) == (second.id, second.body)
    assert [either.headers["webhook-timestamp"] for either in (first, second)] == ["1700000000", "1700000007"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert second.verifies_with(*signing_secrets(alice))
    assert fresh(delivery).state == DeliveryState.DELIVERED
    assert [attempt.status for attempt in delivery.attempts.all()] == [500, 200]


def test_after_ten_attempts_the_delivery_has_failed(alice: User, settings: Settings) -> None:
    with Listener(answer("503 Later")) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        for pause in RETRY_SECONDS:
            let_time_pass()
            deliver_due()
            assert fresh(delivery).state == DeliveryState.PENDING
            assert 0.7 * pause < seconds_until_the_next(delivery) <= 1.2 * pause
        let_time_pass()
        deliver_due()
        assert len(receiver.requests) == 10
    assert (fresh(delivery).state, fresh(delivery).next_attempt_at) == (DeliveryState.FAILED, None)
    let_time_pass()
    assert not WebhookDelivery.due().exists()


def test_an_attempt_ends_at_the_deadline(alice: User, settings: Settings) -> None:
    with Listener(silent) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        assert deliver(delivery, deadline_seconds=0.3)
    attempt = delivery.attempts.get()
    assert (attempt.status, attempt.failure) == (None, "timeout")
    assert 250 <= attempt.milliseconds < 10_000
    assert fresh(delivery).state == DeliveryState.PENDING


def test_a_redirect_is_a_failure_and_is_not_followed(alice: User, settings: Settings) -> None:
    with Listener(answer("200 OK")) as elsewhere:
        with Listener(answer("302 Found", location=url_of(elsewhere))) as receiver:
            open_to(settings, receiver, elsewhere)
            delivery = WebhookDelivery.create_test(alice, url_of(receiver))
            deliver_due()
        assert elsewhere.visitors() == 0
    assert delivery.attempts.get().status == 302
    assert fresh(delivery).state == DeliveryState.PENDING


def test_after_410_the_owners_deliveries_to_the_url_are_disabled(alice: User, bob: User, settings: Settings) -> None:
    with Listener(in_turn(answer("410 Gone"), answer("200 OK"))) as receiver:
        open_to(settings, receiver)
        url = url_of(receiver)
        first, second, elsewhere = (WebhookDelivery.create_test(alice, to) for to in (url, url, f"{url}/other"))
        bobs = WebhookDelivery.create_test(bob, url)
        assert deliver(first)
        for delivery in (first, second):
            assert (fresh(delivery).state, fresh(delivery).next_attempt_at) == (DeliveryState.DISABLED, None)
        deliver_due()
        assert {message.id for message in messages(receiver)} == {
            first.webhook_id,
            elsewhere.webhook_id,
            bobs.webhook_id,
        }
        assert len(receiver.requests) == 3


@pytest.mark.parametrize(("retry_after", "seconds"), [("600", 600), ("172800", 24 * 3600)])
def test_retry_after_is_honoured_up_to_a_day(alice: User, settings: Settings, retry_after: str, seconds: int) -> None:
    with Listener(answer("429 Too Many Requests", retry_after=retry_after)) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        deliver_due()
    assert seconds - 60 < seconds_until_the_next(delivery) <= seconds


def test_512_bytes_of_a_response_of_100_megabytes_are_kept(alice: User) -> None:
    sent_bytes = 0

    def pour(visitor: socket.socket, request: bytes) -> None:
        nonlocal sent_bytes
        visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n\xff\x00")
        while sent_bytes < 100 * 2**20:
            visitor.sendall(b"y" * 65536)
            sent_bytes += 65536

    with Listener(pour) as receiver:
        network = FakeNetwork({"hooks.example": [[PUBLIC]]}, {(PUBLIC, 80): receiver})
        delivery = WebhookDelivery.create_test(alice, "http://hooks.example/")
        assert deliver(delivery, policy=OutboundPolicy(), transport=network.transport())
    assert sent_bytes < 50 * 2**20
    attempt = WebhookAttempt.objects.get()
    assert bytes(attempt.answer) == b"\xff\x00" + b"y" * 510
    assert attempt.answer_text.startswith("�\x00yy")
    assert fresh(delivery).state == DeliveryState.DELIVERED


def test_a_name_that_now_resolves_to_a_private_address_is_refused(alice: User, settings: Settings) -> None:
    with Listener(answer("200 OK")) as private:
        settings.ALLOWED_PORTS = [private.port]
        direct = WebhookDelivery.create_test(alice, url_of(private))
        network = FakeNetwork({"hooks.example": [[PUBLIC], ["127.0.0.1"]]}, {("127.0.0.1", 80): private})
        moved = WebhookDelivery.create_test(alice, "http://hooks.example/")
        deliver(moved, policy=OutboundPolicy(), transport=network.transport())  # no server listens there
        let_time_pass()
        deliver(moved, policy=OutboundPolicy(), transport=network.transport())
        deliver(direct)
        assert private.visitors() == 0
    assert [attempt.failure for attempt in moved.attempts.all()] == ["connect_failed", "not_allowed"]
    assert [attempt.failure for attempt in direct.attempts.all()] == ["not_allowed"]


def test_the_response_from_an_allowed_network_is_not_kept(alice: User, settings: Settings) -> None:
    with Listener(answer("200 OK", b"the router's password")) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        deliver_due()
    assert delivery.attempts.get().answer_text == ""


def test_resending_keeps_the_id_and_restarts_the_schedule(alice: User, settings: Settings) -> None:
    with Listener(in_turn(answer("200 OK"), answer("500 Oh"), answer("200 OK"))) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        deliver_due()
        assert fresh(delivery).resend()
        assert fresh(delivery).delivered_at is None
        deliver_due()
        assert fresh(delivery).tries == 1
        WebhookDelivery.objects.update(state=DeliveryState.FAILED, tries=10, next_attempt_at=None)
        assert fresh(delivery).resend()
        assert fresh(delivery).tries == 0
        deliver_due()
        assert {message.id for message in messages(receiver)} == {delivery.webhook_id}
        assert len(receiver.requests) == 3
    assert fresh(delivery).state == DeliveryState.DELIVERED
    assert delivery.attempts.count() == 3


def test_after_a_rotation_the_next_attempt_is_signed_with_both_secrets(alice: User, settings: Settings) -> None:
    (former,) = signing_secrets(alice)
    with Listener(in_turn(answer("500 Oh"), answer("200 OK"))) as receiver:
        open_to(settings, receiver)
        WebhookDelivery.create_test(alice, url_of(receiver))
        deliver_due()
        (present,) = WebhookSecret.rotate(alice).texts
        let_time_pass()
        deliver_due()
        first, second = messages(receiver)
    assert (first.verifies_with(former), first.verifies_with(present)) == (True, False)
    assert (second.verifies_with(former), second.verifies_with(present)) == (True, True)
    assert len(second.headers["webhook-signature"].split(" ")) == 2


@pytest.mark.usefixtures("polled_work_runs_at_once")
def test_a_message_whose_sender_died_is_sent_again_with_the_same_id(
    alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        delivery = WebhookDelivery.create_test(alice, url_of(receiver))
        with monkeypatch.context() as dying:
            dying.setattr(webhooks, "record", lambda *args: (_ for _ in ()).throw(OperationalError("gone")))
            with pytest.raises(OperationalError):
                deliver(delivery)
        deliver_due()  # the lease has not expired
        assert len(receiver.requests) == 1
        let_time_pass()
        poller.poll()
        first, second = messages(receiver)
    assert first.id == second.id
    assert fresh(delivery).state == DeliveryState.DELIVERED
    assert delivery.attempts.count() == 1


def test_a_sender_whose_lease_was_taken_over_changes_nothing(alice: User) -> None:
    delivery = WebhookDelivery.create_test(alice, "https://alice.example/")
    late = fresh(delivery)
    assert late.claim(lease_seconds=30)
    assert not fresh(delivery).claim(lease_seconds=30)
    let_time_pass()
    holder = fresh(delivery)
    assert holder.claim(lease_seconds=30)
    assert not late.mark_failed(WebhookAttempt(delivery=late, failure="timeout", milliseconds=1))
    assert not late.schedule_retry(WebhookAttempt(delivery=late, failure="timeout", milliseconds=1), pause_seconds=9)
    assert not late.disable(WebhookAttempt(delivery=late, status=410, milliseconds=1))
    assert holder.mark_delivered(WebhookAttempt(delivery=holder, status=200, milliseconds=1))
    assert not holder.mark_delivered(WebhookAttempt(delivery=holder, status=200, milliseconds=1))
    assert [attempt.status for attempt in delivery.attempts.all()] == [200]
    assert fresh(delivery).state == DeliveryState.DELIVERED


def test_owners_with_fewer_running_attempts_come_first(alice: User, bob: User) -> None:
    first, second = (WebhookDelivery.create_test(alice, f"https://alice.example/{n}") for n in (1, 2))
    bobs = WebhookDelivery.create_test(bob, "https://bob.example/")
    assert list(WebhookDelivery.due()) == [first, second, bobs]
    assert first.claim(lease_seconds=30)
    assert list(WebhookDelivery.due()) == [bobs, second]


def test_a_host_that_fails_gets_few_attempts_however_many_deliveries_wait(
    alice: User, bob: User, settings: Settings
) -> None:
    with Listener(answer("404 Not Found")) as victim:
        open_to(settings, victim)
        for number in range(20):  # spelled differently, with different paths
            host = ["127.0.0.1", "2130706433", "127.1", "%31%32%37.0.0.1"][number % 4]
            WebhookDelivery.create_test(alice, f"http://{host}:{victim.port}/{number}")
        deliver_due()
        assert len(victim.requests) == 1
        WebhookDelivery.create_test(bob, url_of(victim))
        deliver_due()
        assert len(victim.requests) == 2  # another owner's deliveries do not wait
        deliver_due()
        assert len(victim.requests) == 2
        let_time_pass()
        deliver_due()
        assert len(victim.requests) == 4


def test_a_host_that_works_again_gets_the_deliveries_that_waited(alice: User, settings: Settings) -> None:
    with (
        Listener(in_turn(answer("503 Later"), *[answer("200 OK")] * 6)) as receiver,
        Listener(answer("200 OK")) as other,
    ):
        open_to(settings, receiver, other)
        first, *waiting = (WebhookDelivery.create_test(alice, url_of(receiver)) for _ in range(5))
        deliver_due()
        assert len(receiver.requests) == 1
        elsewhere = WebhookDelivery.create_test(alice, url_of(other).replace("127.0.0.1", "127.0.0.2"))
        assert elsewhere.host != first.host
        assert WebhookDelivery.due().get() == elsewhere
        let_time_pass()
        deliver_due()
        assert len(receiver.requests) == 6
        for delivery in (first, *waiting):
            assert fresh(delivery).state == DeliveryState.DELIVERED
        assert fresh(first).tries == 1
        assert all(fresh(delivery).tries == 0 for delivery in waiting)


def test_a_failure_writes_one_row_however_many_deliveries_wait(alice: User, bob: User) -> None:
    """And deliveries that are added meanwhile wait too, until an attempt succeeds."""
    failing, *waiting = (WebhookDelivery.create_test(alice, f"https://alice.example/{n}") for n in range(4))
    before = list(WebhookDelivery.objects.exclude(pk=failing.pk).values())
    assert failing.claim(lease_seconds=30)
    with CaptureQueriesContext(connection) as queries:
        failing.schedule_retry(WebhookAttempt(delivery=failing, failure="timeout", milliseconds=1), pause_seconds=5)
    writes = [query["sql"].split()[:3] for query in queries if query["sql"].startswith(("INSERT", "UPDATE"))]
    assert writes == [
        ["UPDATE", '"inpainting_webhookdelivery"', "SET"],
        ["INSERT", "INTO", '"inpainting_webhookattempt"'],
        ["INSERT", "INTO", '"inpainting_webhookpause"'],
    ]
    assert list(WebhookDelivery.objects.exclude(pk=failing.pk).values()) == before
    elsewhere, bobs = (
        WebhookDelivery.create_test(alice, "https://other.example/"),
        WebhookDelivery.create_test(bob, "https://alice.example/"),
    )
    late = WebhookDelivery.create_test(alice, "https://alice.example/late")
    assert set(WebhookDelivery.due()) == {elsewhere, bobs}
    assert not late.claim(lease_seconds=30)
    let_time_pass()
    tried = waiting[0]
    assert tried.claim(lease_seconds=30)
    assert WebhookPause.objects.exists()
    assert tried.mark_delivered(WebhookAttempt(delivery=tried, status=200, milliseconds=1))
    assert not WebhookPause.objects.exists()
    assert set(WebhookDelivery.due()) == {failing, *waiting[1:], elsewhere, bobs, late}


def test_pauses_of_hosts_that_are_never_called_again_are_deleted(alice: User) -> None:
    WebhookPause.begin(WebhookDelivery.create_test(alice, "https://alice.example/"))
    WebhookPause.prune(timezone.now())
    assert WebhookPause.objects.exists()
    WebhookPause.prune(timezone.now() + timedelta(days=2))
    assert not WebhookPause.objects.exists()


def test_the_jitter_comes_from_the_given_random_source(alice: User) -> None:
    pauses = []
    for host in ("nowhere.example", "elsewhere.example"):  # one alone would have to wait after a failure
        delivery = WebhookDelivery.create_test(alice, f"http://{host}/")
        deliver(delivery, policy=OutboundPolicy(), transport=FakeNetwork().transport(), chance=seeded(4))
        pauses.append(seconds_until_the_next(delivery))
    assert abs(pauses[0] - pauses[1]) < 1
    assert fresh(delivery).attempts.get().failure == "dns_failed"


@pytest.mark.django_db(transaction=True)
def test_many_senders_send_each_message_once(alice: User, settings: Settings) -> None:
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        sent = {WebhookDelivery.create_test(alice, url_of(receiver)).webhook_id for _ in range(12)}
        senders = [threading.Thread(target=with_own_connection, args=(deliver_due,)) for _ in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(60)
        ids = [message.id for message in messages(receiver)]
    assert len(ids) == 12
    assert set(ids) == sent
    assert not WebhookDelivery.objects.exclude(state=DeliveryState.DELIVERED).exists()


def test_a_delivery_deleted_during_an_attempt_is_ignored(alice: User) -> None:
    delivery = WebhookDelivery.create_test(alice, "https://alice.example/")
    assert delivery.claim(lease_seconds=30)
    WebhookDelivery.objects.all().delete()
    failed = PostFailure(Failure.TIMEOUT, 0.1)
    webhooks.record(delivery, failed, seeded(1))
    assert not WebhookAttempt.objects.exists()
    assert not delivery.resend()
