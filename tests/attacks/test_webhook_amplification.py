"""A user's webhooks do not let this server send many requests to a host that wants none, in all the days of retries."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db.models import F, Min
from django.utils import timezone

from accounts.models import User
from inpainting import webhooks
from inpainting.models import DeliveryState, WebhookDelivery, WebhookPause
from inpainting.net import PostResponse
from inpainting.webhooks import RETRY_SECONDS, deliver_due

pytestmark = [pytest.mark.attack, pytest.mark.full, pytest.mark.django_db(transaction=True)]

DELIVERIES = 60
ATTEMPTS_EACH = len(RETRY_SECONDS) + 1
URLS = [
    "http://victim.example/hook?n={}",
    "http://VICTIM.example:80/{}",
    "http://victim.example./{}",
    "https://victim.example/{}",
]
"""The same host, spelled in four ways."""


class Host:
    """A receiver that refuses everything; it notes when it was called, by a clock that the test moves."""

    def __init__(self) -> None:
        self.passed = timedelta()
        self.calls: list[datetime] = []

    def post(self, *_: object, **__: object) -> PostResponse:
        self.calls.append(timezone.now() + self.passed)
        return PostResponse(status=503, body_start=b"", seconds=0.01, retry_after=None)

    def wait_for_the_next(self) -> bool:
        """Move all times back to when the next attempt is due. False: there is none."""
        pending = WebhookDelivery.objects.filter(state=DeliveryState.PENDING)
        next_at = pending.aggregate(n=Min("next_attempt_at"))["n"]
        if next_at is None:
            return False
        for pause in WebhookPause.objects.all():
            next_at = max(next_at, pause.until)
        wait = max(timedelta(), next_at - timezone.now()) + timedelta(milliseconds=1)
        pending.update(next_attempt_at=F("next_attempt_at") - wait)
        WebhookPause.objects.update(until=F("until") - wait)
        self.passed += wait
        return True


def test_a_host_that_refuses_gets_a_bounded_number_of_attempts(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    monkeypatch.setattr(webhooks, "post_json", host.post)
    for number in range(DELIVERIES):
        WebhookDelivery.create_test(alice, URLS[number % len(URLS)].format(number))
    assert WebhookDelivery.objects.values("host").distinct().count() == 1
    while host.wait_for_the_next():
        deliver_due()
    pauses = [(later - earlier).total_seconds() for earlier, later in zip(host.calls, host.calls[1:], strict=False)]
    hours = host.passed.total_seconds() / 3600
    print(f"{len(host.calls)} attempts in {hours:.0f} hours, the shortest pause {min(pauses):.2f} s")
    assert len(host.calls) == DELIVERIES * ATTEMPTS_EACH
    assert min(pauses) > 3.9  # the pause of 5 s, with the jitter of the retries
    assert hours < 24 * 7
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {DeliveryState.FAILED}
