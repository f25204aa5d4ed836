"""Signing by Standard Webhooks 1.0, and the secrets it is done with."""

from __future__ import annotations

import base64
from datetime import timedelta

from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.models import User
from inpainting.models import WebhookSecret
from inpainting.webhooks import active_secrets, signature, signed_headers
from tests.webhooks.receiving import Message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())


def test_it_signs_as_the_specifications_own_vector_says() -> None:
    # libraries/javascript/src/webhook.test.ts, "sign function works"; the other languages' tests have the same.
    signed = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', SECRET)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(body=st.binary(max_size=200), secrets=st.lists(KEYS, min_size=1, max_size=3, unique=True), other=KEYS)
def test_each_active_secret_verifies_it_and_no_other(body: bytes, secrets: list[str], other: str) -> None:
    sent = Message(signed_headers("msg_1", 1700000000, body, secrets), body)
    assert all(sent.verifies_with(secret) for secret in secrets)
    assert other in secrets or not sent.verifies_with(other)
    assert not Message(sent.headers, body + b" ").verifies_with(secrets[0])
    assert not Message({**sent.headers, "webhook-timestamp": "1700000001"}, body).verifies_with(secrets[0])
    assert not Message({**sent.headers, "webhook-id": "msg_2"}, body).verifies_with(secrets[0])


def test_a_secret_is_32_bytes_ones_own_and_the_same_tomorrow(alice: User, bob: User) -> None:
    (alices,), (bobs,) = active_secrets(alice), active_secrets(bob)
    assert alices.startswith("whsec_")
    assert len(base64.b64decode(alices[6:], validate=True)) == 32
    assert alices != bobs
    assert active_secrets(alice) == [alices]


def test_for_a_day_after_a_rotation_both_sign_and_never_three(alice: User) -> None:
    (first,) = active_secrets(alice)
    WebhookSecret.rotate(alice)
    second, former = active_secrets(alice)
    assert (former, second) == (first, active_secrets(alice)[0])
    assert second != first
    WebhookSecret.rotate(alice)
    third, former = active_secrets(alice)
    assert former == second
    assert third not in (first, second)
    former_row = WebhookSecret.objects.exclude(retires_at=None).get()
    assert former_row.retires_at is not None
    assert timedelta(hours=23) < former_row.retires_at - timezone.now() < timedelta(hours=25)
    WebhookSecret.objects.exclude(retires_at=None).update(retires_at=timezone.now() - timedelta(seconds=1))
    assert active_secrets(alice) == [third]


def test_a_copy_of_the_database_alone_forges_nothing(alice: User, settings: Settings) -> None:
    (secret,) = active_secrets(alice)
    key = base64.b64decode(secret[6:])
    seed = WebhookSecret.objects.get().seed
    assert key.hex() not in seed
    settings.SECRET_KEY, former = "the site has a new one", settings.SECRET_KEY
    assert active_secrets(alice) != [secret]
    settings.SECRET_KEY_FALLBACKS = [former]
    assert active_secrets(alice)[1:] == [secret]
