"""Signatures of Standard Webhooks 1.0, and their secrets."""

from __future__ import annotations

import base64
from datetime import timedelta

from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.models import User
from inpainting.models import WebhookSecret
from inpainting.webhooks import signature, signed_headers, signing_secrets
from tests.webhooks.receiving import Message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())


def test_the_specifications_test_vector() -> None:
    # libraries/javascript/src/webhook.test.ts, "sign function works"; the other languages' tests have the same.
    signed = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', SECRET)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(body=st.binary(max_size=200), secrets=st.lists(KEYS, min_size=1, max_size=3, unique=True), other=KEYS)
def test_only_the_signing_secrets_verify_a_message(body: bytes, secrets: list[str], other: str) -> None:
    sent = Message(signed_headers("msg_1", 1700000000, body, secrets), body)
    assert all(sent.verifies_with(secret) for secret in secrets)
    assert other in secrets or not sent.verifies_with(other)
    assert not Message(sent.headers, body + b" ").verifies_with(secrets[0])
    assert not Message({**sent.headers, "webhook-timestamp": "1700000001"}, body).verifies_with(secrets[0])
    assert not Message({**sent.headers, "webhook-id": "msg_2"}, body).verifies_with(secrets[0])


def test_a_secret_has_32_bytes_and_is_stable_and_different_per_owner(alice: User, bob: User) -> None:
    (alices,), (bobs,) = signing_secrets(alice), signing_secrets(bob)
    assert alices.startswith("whsec_")
    assert len(base64.b64decode(alices[6:], validate=True)) == 32
    assert alices != bobs
    assert signing_secrets(alice) == [alices]


def test_for_a_day_after_a_rotation_two_secrets_sign_and_never_three(alice: User) -> None:
    (first,) = signing_secrets(alice)
    WebhookSecret.rotate(alice)
    second, former = signing_secrets(alice)
    assert (former, second) == (first, signing_secrets(alice)[0])
    assert second != first
    WebhookSecret.rotate(alice)
    third, former = signing_secrets(alice)
    assert former == second
    assert third not in (first, second)
    former_row = WebhookSecret.objects.exclude(retires_at=None).get()
    assert former_row.retires_at is not None
    assert timedelta(hours=23) < former_row.retires_at - timezone.now() < timedelta(hours=25)
    WebhookSecret.objects.exclude(retires_at=None).update(retires_at=timezone.now() - timedelta(seconds=1))
    assert signing_secrets(alice) == [third]


def test_the_database_alone_is_not_enough_to_forge_a_message(alice: User, settings: Settings) -> None:
    (secret,) = signing_secrets(alice)
    key = base64.b64decode(secret[6:])
    seed = WebhookSecret.objects.get().seed
    assert key.hex() not in seed
    settings.SECRET_KEY, former = "the site has a new one", settings.SECRET_KEY
    assert signing_secrets(alice) != [secret]
    settings.SECRET_KEY_FALLBACKS = [former]
    assert signing_secrets(alice)[1:] == [secret]
