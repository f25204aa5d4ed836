"""Masks that a worker finds: leases, limits, idempotency keys, webhooks and cancelling as of generations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from accounts.models import User
from inpainting import metrics
from inpainting.accounting import limits
from inpainting.api.native import masks
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.engines.base import Queue
from inpainting.generations import analyses
from inpainting.generations.delete import delete_all_of_user
from inpainting.generations.retention import sweep
from inpainting.models import Act, Analysis, LedgerEntry, Status, UploadedImage, UserLimits, WebhookDelivery
from inpainting.models.queued_work import QueuedWork
from inpainting.segmenters import registry
from inpainting.segmenters.base import Candidate, Selection
from inpainting.segmenters.grabcut import GrabCut
from inpainting.storage.audit import named_files
from inpainting.webhooks import message_body
from inpainting.worker import own_threads, poller
from inpainting.worker.run import run_waiting
from tests.api.bodies import text
from tests.conftest import png
from tests.support.analyses import queued

pytestmark = pytest.mark.django_db(transaction=True)

URL, BOX, HOOK = "/api/masks/", [40, 20, 80, 50], "https://alice.example/hook"
ASYNC = {"Prefer": "respond-async"}


class Network(GrabCut):
    """A segmenter whose model a web process must not load."""

    name = "network"

    def __init__(self) -> None:
        self.loads = 0

    def loaded(self) -> object:
        self.loads += 1
        return self

    def candidates(self, image: CanonicalImage, selection: Selection) -> list[Candidate]:
        best = self.segment(image, selection)
        return [Candidate(best, 0.75), Candidate(255 - best, 0.5)]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    made = Network()
    monkeypatch.setitem(registry.segmenters(), made.name, made)
    return made


@pytest.fixture
def photo_png() -> bytes:
    """96 x 64: a red disc of radius 10 around (60, 35) on grey."""
    pixels = np.full((64, 96, 3), 110, np.uint8)
    cv2.circle(pixels, (60, 35), 10, (220, 20, 20), -1)
    return png(pixels)


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs what is accepted, until the test does."""
    monkeypatch.setattr(analyses, "notify_workers", lambda queue: None)


def find(program: Client, photo_png: bytes, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    body = {"image": text(photo_png), "box": BOX, **fields}
    return program.post(URL, body, content_type="application/json", headers=headers or {})


def expire_the_lease() -> None:
    Analysis.objects.update(lease_until=timezone.now() - timedelta(hours=1))


def test_a_request_that_does_not_wait_is_followed_at_its_location(
    alices_program: Client, photo_png: bytes, no_worker: None
) -> None:
    answer = find(alices_program, photo_png, ASYNC, format="rle")
    place = answer["Location"]
    assert (answer.status_code, answer["Preference-Applied"]) == (202, "respond-async")
    assert answer.json() == {"status": "processing", "id": place.split("/")[-2], "url": place}
    queued = alices_program.get(place).json()
    assert (queued["status"], queued["task"], "selection" in queued) == ("queued", "segment", False)
    run_waiting(Queue.ANALYSIS)
    ended = alices_program.get(place).json()
    expected = find(alices_program, photo_png, format="rle").json()
    assert (ended["status"], ended["error"]) == ("succeeded", None)
    for name in ("mask", "box", "area", "segmenter", "score", "candidates", "width", "height"):
        assert ended["selection"][name] == expected[name]
    assert alices_program.get(f"{URL}{ended['selection']['id']}/").status_code == 200


def test_a_network_is_loaded_by_a_worker_and_not_by_a_web_process(
    alices_program: Client, photo_png: bytes, network: Network, no_worker: None, settings: Any
) -> None:
    settings.ROLE = "web"
    pending = find(alices_program, photo_png, {"Prefer": "wait=0"}, segmenter="network", format="svg")
    assert (pending.status_code, network.loads, Analysis.objects.count()) == (202, 0, 1)
    assert find(alices_program, photo_png, segmenter="grabcut").status_code == 201
    assert Analysis.objects.count() == 1, "without a network, the mask is found at once"
    run_waiting(Queue.ANALYSIS)
    assert (network.loads, Analysis.objects.get().status) == (1, Status.SUCCEEDED)
    settings.ROLE = "all"
    assert find(alices_program, photo_png, segmenter="network").status_code == 201
    assert Analysis.objects.count() == 1, "in one process the network answers at once"


def test_a_waiting_request_is_answered_alike_by_a_worker(
    alices_program: Client, photo_png: bytes, network: Network, settings: Any
) -> None:
    here = find(alices_program, photo_png, segmenter="network", format="rle").json()
    settings.ROLE = "web"
    answer = find(alices_program, photo_png, segmenter="network", format="rle")
    assert (answer.status_code, answer["Location"]) == (201, f"{URL}{answer.json()['id']}/")
    there = answer.json()
    assert there.keys() == here.keys()
    (other,) = there["candidates"]
    assert (there["score"], other["score"], there["mask"], other["mask"]) == (
        *(0.75, 0.5, here["mask"]),
        here["candidates"][0]["mask"],
    )
    unstored = find(alices_program, photo_png, segmenter="network", store=False)
    assert (unstored.status_code, "id" in unstored.json()) == (200, False)
    assert UploadedImage.objects.count() == 2
    assert not Analysis.objects.exists(), "what has been answered is not kept"
    assert len(list(named_files())) == 2


def test_a_worker_that_is_killed_loses_nothing_and_its_late_result_is_dropped(
    alices_program: Client, photo_png: bytes, no_worker: None
) -> None:
    place = find(alices_program, photo_png, ASYNC)["Location"]
    killed = Analysis.objects.get()
    assert killed.start()
    assert not Analysis.objects.get().start(), "another worker holds it"
    expire_the_lease()
    poller.return_abandoned()
    poller.poll()
    assert own_threads.wait_until_idle(seconds=60)
    assert alices_program.get(place).json()["status"] == "succeeded"
    assert not killed.succeed([])
    assert not killed.advance(0, 0)
    assert (Analysis.objects.get().attempts, UploadedImage.objects.count()) == (1, 1)


def test_one_that_crashes_its_process_fails_after_three_attempts(
    alices_program: Client, photo_png: bytes, no_worker: None
) -> None:
    place = find(alices_program, photo_png, ASYNC)["Location"]
    for _ in range(3):
        running = Analysis.objects.get()
        assert running.start()
        assert running.requeue()
    ended = alices_program.get(place).json()
    assert (ended["status"], ended["error"]["code"]) == ("failed", "job_crashed_worker")


def test_a_repeated_key_returns_the_same_analysis(alices_program: Client, photo_png: bytes, no_worker: None) -> None:
    headers = {**ASYNC, "Idempotency-Key": "once"}
    first, again = find(alices_program, photo_png, headers), find(alices_program, photo_png, headers)
    assert (first.json(), Analysis.objects.count()) == (again.json(), 1)
    refused = find(alices_program, photo_png, headers, box=[1, 1, 20, 20])
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    run_waiting(Queue.ANALYSIS)
    bodies = [find(alices_program, photo_png, {"Idempotency-Key": "once"}) for _ in range(2)]
    assert [body.status_code for body in bodies] == [201, 201]
    assert bodies[0].json()["id"] == bodies[1].json()["id"]


def test_the_limits_of_a_user_count_analyses(
    alice: User, alices_program: Client, photo_png: bytes, no_worker: None
) -> None:
    mine = UserLimits.objects.create(user=alice, waiting=1)
    assert find(alices_program, photo_png, ASYNC).status_code == 202
    refused = find(alices_program, photo_png, ASYNC)
    assert (refused.status_code, refused.json()["code"], refused.json()["limit"]) == (429, "quota_exceeded", 1)
    assert Analysis.objects.count() == 1
    mine.waiting, mine.per_minute = None, 2
    mine.save()
    assert find(alices_program, photo_png, ASYNC).status_code == 202
    refused = find(alices_program, photo_png, ASYNC)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert LedgerEntry.objects.filter(act=Act.ANALYSIS).count() == 2
    assert len(list(named_files())) == 2, "refused images are not kept"


def test_a_selection_that_ends_with_its_response_does_not_count_per_minute(
    alice: User, alices_program: Client, photo_png: bytes, network: Network, settings: Any
) -> None:
    settings.ROLE = "web"
    UserLimits.objects.create(user=alice, per_minute=1)
    for _ in range(2):
        assert find(alices_program, photo_png, segmenter="network").status_code == 201
    assert not LedgerEntry.objects.filter(act=Act.ANALYSIS).exists()
    for status in (202, 429):
        assert find(alices_program, photo_png, ASYNC, segmenter="network").status_code == status


@pytest.mark.parametrize("is_late_async", [True, False])
def test_one_key_sent_at_once_with_and_without_waiting_has_one_answer(
    alices_program: Client,
    photo_png: bytes,
    no_worker: None,
    monkeypatch: pytest.MonkeyPatch,
    is_late_async: bool,
) -> None:
    """The late request looks for its key before the first one has stored it."""
    key = {"Idempotency-Key": "once"}
    late, first = ({**key, **ASYNC}, key) if is_late_async else (key, {**key, **ASYNC})
    looked: list[str] = []

    def look(request: Any, idempotency: Any, form: str) -> Any:
        looked.append(idempotency.key)
        if len(looked) == 1:
            answers.append(find(alices_program, photo_png, first))
            run_waiting(Queue.ANALYSIS)
            return None
        return earlier_answer(request, idempotency, form)

    answers: list[Any] = []
    earlier_answer = masks.earlier_answer
    monkeypatch.setattr(masks, "earlier_answer", look)
    answers.append(find(alices_program, photo_png, late))
    assert [answer.status_code for answer in answers] == ([201, 201] if is_late_async else [202, 201])
    assert UploadedImage.objects.count() == 1
    assert len(looked) == 3


def test_its_end_is_posted_to_the_webhook(alices_program: Client, photo_png: bytes, no_worker: None) -> None:
    for _ in range(2):
        assert find(alices_program, photo_png, ASYNC, webhook_url=HOOK).status_code == 202
    last, first = Analysis.objects.all()
    assert last.cancel()
    run_waiting(Queue.ANALYSIS)
    messages = [message_body(delivery) or b"" for delivery in WebhookDelivery.objects.order_by("id")]
    assert [b'"type":"analysis.cancelled"' in messages[0], b'"type":"analysis.succeeded"' in messages[1]] == [True] * 2
    assert f'"url":"/api/analyses/{first.pk}/"'.encode() in messages[1]
    refused = find(alices_program, photo_png, webhook_url="http://127.0.0.1/")
    assert (refused.status_code, refused.json()["field"]) == (400, "webhook_url")


def test_it_is_cancelled_and_deleted(alices_program: Client, photo_png: bytes, no_worker: None) -> None:
    place = find(alices_program, photo_png, ASYNC)["Location"]
    assert alices_program.post(f"{place}cancel/").json()["status"] == "cancelled"
    assert alices_program.post(f"{place}cancel/").status_code == 409
    assert not list(named_files()), "the image is deleted with the end"
    assert (alices_program.delete(place).status_code, alices_program.get(place).status_code) == (204, 404)
    place = find(alices_program, photo_png, ASYNC)["Location"]
    running = Analysis.objects.get()
    assert running.start()
    assert (alices_program.delete(place).status_code, running.advance(0, 0)) == (409, False)
    assert running.end_cancelled()
    assert alices_program.delete(place).status_code == 204


def test_others_do_not_find_it(alices_program: Client, bobs_program: Client, photo_png: bytes) -> None:
    place = find(alices_program, photo_png, ASYNC)["Location"]
    assert bobs_program.get(place).status_code == 404
    assert bobs_program.delete(place).status_code == 404
    assert bobs_program.post(f"{place}cancel/").status_code == 404
    assert alices_program.get(place).status_code == 200


@pytest.mark.parametrize("stored", [True, False])
def test_a_request_that_only_the_worker_can_refuse_is_refused_as_at_once(
    alices_program: Client, network: Network, settings: Any, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    settings.ROLE = "web"
    ended = {
        outcome: metrics.ENDED.labels(Queue.ANALYSIS, "network", outcome)._value.get()
        for outcome in ("refused", "succeeded")
    }
    monkeypatch.setattr(limits, "FOUND_MASKS", 0)
    disc = np.full((64, 96, 3), 110, np.uint8)
    cv2.circle(disc, (60, 35), 10, (220, 20, 20), -1)
    answer = find(alices_program, png(disc), segmenter="network", store=stored)
    assert (answer.status_code, answer.json().get("code")) == ((429, "quota_exceeded") if stored else (200, None))
    outcome = "refused" if stored else "succeeded"
    assert metrics.ENDED.labels(Queue.ANALYSIS, "network", outcome)._value.get() > ended[outcome]
    assert not list(named_files())


def test_the_image_is_deleted_although_the_first_end_was_not_saved(
    alice: User, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = queued(alice, photo_png)
    image = str(analysis.file.name)
    assert analysis.start()
    save = QueuedWork._change

    def save_and_lose(*args: Any, **changes: Any) -> bool:
        save(*args, **changes)
        raise OperationalError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(QueuedWork, "_change", save_and_lose)
        with pytest.raises(OperationalError):
            analysis.fail(code="a", message="b")
    assert len(list(named_files())) == 1
    assert analysis.fail(code="a", message="b")
    analysis.refresh_from_db()
    assert (analysis.status, analysis.file.name) == (Status.FAILED, "")
    assert not default_storage.exists(image)


def test_a_model_that_fails_is_an_error_in_both_answers(
    alices_program: Client, photo_png: bytes, network: Network, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks_a_weight() -> None:
        raise EngineFailed("The model lacks a weight.", code="model_unavailable")

    monkeypatch.setattr(network, "loaded", lacks_a_weight)
    settings.ROLE = "web"
    answer = find(alices_program, photo_png, segmenter="network")
    assert (answer.status_code, answer.json()["code"]) == (500, "model_unavailable")
    place = find(alices_program, photo_png, ASYNC, segmenter="network")["Location"]
    assert alices_program.get(place).json()["error"] == {
        "code": "model_unavailable",
        "message": "The model lacks a weight.",
    }


def test_it_expires_and_goes_with_its_owner(alice: User, alices_program: Client, photo_png: bytes) -> None:
    find(alices_program, photo_png, ASYNC, segmenter="grabcut")
    assert len(list(named_files())) == 2
    assert sweep(timezone.now() + timedelta(hours=25))
    assert not Analysis.objects.exists()
    assert not list(named_files())
    for _ in range(3):
        find(alices_program, photo_png, ASYNC, store=False)
    later = timezone.now() + timedelta(hours=25)
    assert [(sweep(later, at_most=2), Analysis.objects.count()) for _ in range(2)] == [(False, 1), (True, 0)]
    find(alices_program, photo_png, ASYNC)
    delete_all_of_user(alice)
    assert not Analysis.objects.exists()
    assert not list(named_files())
