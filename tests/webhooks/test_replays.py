"""A message that somebody has recorded is worth nothing to a receiver that follows the documentation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from pytest_django import Settings

from accounts.models import User
from inpainting.models import WebhookDelivery
from inpainting.webhooks import RETRY_SECONDS, deliver_due, signing_secrets
from tests.net.fake_network import Listener, answer
from tests.webhooks.receiving import Message, let_time_pass, messages, open_to, url_of

TOLERANCE_SECONDS = 300


@dataclass
class Receiver:
    """A user's, who follows docs/use/api.md: the signature, then the age, then whether the id is known."""

    user: User
    known: set[str] = field(default_factory=set)

    def accepts(self, message: Message, *, now: float) -> bool:
        if not message.verifies_with(signing_secrets(self.user)[0]):
            return False
        if abs(now - int(message.headers["webhook-timestamp"])) > TOLERANCE_SECONDS or message.id in self.known:
            return False
        self.known.add(message.id)
        return True


@pytest.fixture
def recorded(alice: User, settings: Settings) -> Message:
    with Listener(answer("200 OK")) as listener:
        open_to(settings, listener)
        WebhookDelivery.create_test(alice, url_of(listener))
        deliver_due()
        (message,) = messages(listener)
    return message


def test_it_is_accepted_once(alice: User, recorded: Message) -> None:
    receiver, now = Receiver(alice), time.time()
    assert receiver.accepts(recorded, now=now)
    assert not receiver.accepts(recorded, now=now)
    assert not receiver.accepts(recorded, now=now + 60)


def test_a_receiver_that_has_forgotten_its_id_sees_its_age(alice: User, recorded: Message) -> None:
    receiver = Receiver(alice)
    assert not receiver.accepts(recorded, now=time.time() + TOLERANCE_SECONDS + 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 3600)},
        lambda headers: {**headers, "webhook-id": "msg_another"},
        lambda headers: {**headers, "webhook-signature": "v1," + "A" * 43 + "="},
        lambda headers: {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v1a,")},
    ],
    ids=["a later time", "another id", "another signature", "another version"],
)
def test_it_cannot_be_made_new(
    alice: User, recorded: Message, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    altered = replace(recorded, headers=change(recorded.headers))
    receiver = Receiver(alice)
    assert not receiver.accepts(altered, now=int(altered.headers["webhook-timestamp"]))


def test_it_is_no_message_for_another_user(bob: User, recorded: Message) -> None:
    assert not Receiver(bob).accepts(recorded, now=time.time())


def test_a_repetition_by_the_server_is_accepted_however_late(alice: User, settings: Settings) -> None:
    """Its time is that of the attempt, so a receiver need not accept old ones for the sake of repetitions."""
    with Listener(answer("503 Later")) as listener:
        open_to(settings, listener)
        WebhookDelivery.create_test(alice, url_of(listener))
        for _ in range(len(RETRY_SECONDS) + 1):
            let_time_pass()
            deliver_due()
        sent = messages(listener)
    assert len(sent) == len(RETRY_SECONDS) + 1
    assert len({message.id for message in sent}) == 1
    for message in sent:
        assert Receiver(alice).accepts(message, now=time.time())
