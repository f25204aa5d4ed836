"""Each generation with a webhook URL creates one message when it ends."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import numpy as np
import pytest
from django.db import IntegrityError, OperationalError, transaction
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.generations.submit import Submission, submit
from inpainting.models import GeneratedImage, Generation, Status, WebhookDelivery
from inpainting.webhooks import message_body

URL = "https://alice.example/hook"
Wait = Callable[..., Generation]


@pytest.fixture
def waits(alice: User, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> Wait:
    """Return waits(), which creates a queued generation of Alice's."""

    def make(url: str = URL) -> Generation:
        request = InpaintRequest(CanonicalImage(photo), hole)
        generation = Generation.from_request(request, owner=alice, engine="quick-fill", webhook_url=url)
        generation.save_new()
        return generation

    return make


def stored_messages() -> list[tuple[object, str, str, str]]:
    rows = WebhookDelivery.objects.order_by("id")
    return [(row.generation_id, row.event, row.url, row.state) for row in rows]


def test_no_message_exists_before_the_end(waits: Wait) -> None:
    generation = waits()
    assert generation.start()
    assert generation.advance(1, 2)
    assert generation.release()
    assert generation.start()
    assert generation.cancel()  # only requested, not yet ended
    assert stored_messages() == []


def test_every_final_status_has_its_message(waits: Wait) -> None:
    succeeded, failed, cancelled, stopped, given_up = (waits() for _ in range(5))
    for generation in (succeeded, failed, stopped):
        assert generation.start()
    assert succeeded.succeed([])
    assert failed.fail(code="nothing_known", message="there is nothing to copy from")
    assert cancelled.cancel()
    assert stopped.cancel()
    assert stopped.end_cancelled()
    for _ in range(3):
        assert given_up.start()
        assert given_up.requeue()
    assert stored_messages() == [
        (succeeded.pk, "generation.succeeded", URL, "pending"),
        (failed.pk, "generation.failed", URL, "pending"),
        (cancelled.pk, "generation.cancelled", URL, "pending"),
        (stopped.pk, "generation.cancelled", URL, "pending"),
        (given_up.pk, "generation.failed", URL, "pending"),
    ]
    assert WebhookDelivery.due().count() == 5
    assert failed.webhook_deliveries.get().data["error"] == {
        "code": "nothing_known",
        "message": "there is nothing to copy from",
    }


def test_a_lost_state_change_creates_no_message(waits: Wait) -> None:
    generation = waits()
    assert generation.start()
    late = Generation.objects.get(pk=generation.pk)
    assert generation.succeed([])
    assert not late.succeed([])
    assert not late.fail(code="late", message="too late")
    assert not late.cancel()
    assert [event for _, event, _, _ in stored_messages()] == ["generation.succeeded"]


def test_without_url_there_is_no_message(waits: Wait) -> None:
    assert waits("").cancel()
    assert stored_messages() == []


def test_a_rolled_back_end_creates_no_message(waits: Wait) -> None:
    generation = waits()
    assert generation.start()
    twice = GeneratedImage(generation=generation, index=0, width=1, height=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        generation.succeed([twice, GeneratedImage(generation=generation, index=0, width=1, height=1)])
    generation.refresh_from_db()
    assert generation.status == Status.RUNNING
    assert stored_messages() == []


def test_if_the_message_cannot_be_stored_the_generation_does_not_end(
    waits: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = waits()
    assert generation.start()

    def away(ended: Generation) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(WebhookDelivery, "create_for", away)
    with pytest.raises(OperationalError), transaction.atomic():
        generation.succeed([])
    assert Generation.objects.get().status == Status.RUNNING


def test_each_event_has_one_message(waits: Wait) -> None:
    generation = waits()
    assert generation.cancel()
    with pytest.raises(IntegrityError), transaction.atomic():
        WebhookDelivery.create_for(generation)


def test_the_body_is_small_and_identical_in_every_attempt(waits: Wait) -> None:
    generation = waits()
    assert generation.start()
    assert generation.fail(code="engine_failed", message="😱" * 5000)
    delivery = WebhookDelivery.objects.get()
    body = message_body(delivery)
    assert body is not None
    assert len(body) <= 20_000
    generation.delete()
    assert message_body(WebhookDelivery.objects.get()) == body  # unchanged after the generation is deleted


def test_a_submitted_url_is_stored_and_a_private_one_refused(
    alice: User, photo: NDArray[np.uint8], hole: NDArray[np.uint8], transactional_db: None
) -> None:
    request = InpaintRequest(CanonicalImage(photo), hole)
    assert submit(request, Submission(alice, webhook_url=URL)).webhook_url == URL
    refused = ["http://127.0.0.1/", "https://[::1]/", "ftp://alice.example/", "hook", "https://alice.example:22/"]
    for url in [*refused, f"https://alice.example/{'x' * 2000}", f"https://{uuid4().hex}@alice.example/"]:
        with pytest.raises(InvalidRequest) as caught:
            submit(request, Submission(alice, webhook_url=url))
        assert (caught.value.code, caught.value.field) == ("url_not_allowed", "webhook_url")
    assert Generation.objects.count() == 1
