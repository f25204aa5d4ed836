"""Webhooks, logs and the audit log are in English, whatever the language is in which a person is answered."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry, User
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.engines import registry
from inpainting.models import Generation, UserLimits, WebhookDelivery
from inpainting.webhooks import message_body
from tests.api.bodies import shape_a
from tests.support.catalogs import LOCALE, entries

pytestmark = pytest.mark.django_db(transaction=True)

GERMAN = {"accept-language": "de"}
TEMPLATE = "The model failed ({name}); see the server's log."
FAILED, GESCHEITERT = "The model failed (X); see the server's log.", "Das Modell ist gescheitert (X)"


def german_in(text: str) -> list[str]:
    """Return what of the German catalog occurs in a text: translations without values, and the words between them."""
    found = []
    for message, plural, _, translations in entries(LOCALE / "de" / "LC_MESSAGES" / "django.po"):
        for translation in translations:
            pieces = re.split(r"%\(\w+\)s|\{[^}]*\}|%%", translation)
            longest = max(pieces, key=len).strip()
            if len(longest) > 15 and longest not in message + plural and longest in text:
                found.append(longest)
    return found


@pytest.fixture
def all_logs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """All records of the site, also of loggers that pass none on."""
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.split(".")[0] in ("accounts", "dreamlayer_site", "inpainting"):
            monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.DEBUG)
    return caplog


def test_german_is_recognised() -> None:
    assert german_in(f"… {GESCHEITERT}; siehe das Protokoll des Servers.")
    assert german_in(FAILED) == []


@pytest.mark.parametrize("service", ["", "modelslab"])
def test_webhooks_and_logs_are_in_english(
    alice: User,
    alices_program: Client,
    photo_png: bytes,
    mask_png: bytes,
    all_logs: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
) -> None:
    def fail(*arguments: object, **options: object) -> Any:
        error = EngineFailed(sentence(TEMPLATE, name="X"), code="model_failed")
        logging.getLogger("inpainting").info("It failed: %s", error)
        raise error

    monkeypatch.setattr(registry.engines()["quick-fill"], "inpaint", fail)
    User.objects.filter(pk=alice.pk).update(language="de")
    url = "https://example.com/hook"
    answer = alices_program.post(
        "/api/img2img", shape_a(photo_png, mask_png, engine="quick-fill", webhook_url=url), headers=GERMAN
    )
    assert GESCHEITERT in answer.json()["message"], answer.content
    delivery = WebhookDelivery.objects.get()
    if service:
        delivery.data = {**delivery.data, "service": service}
        Generation.objects.update(service=service)
    body = (message_body(delivery) or b"").decode()
    assert FAILED in body
    assert german_in(body) == []
    assert any(FAILED in record.getMessage() for record in all_logs.records)
    assert {
        record.getMessage(): german for record in all_logs.records if (german := german_in(record.getMessage()))
    } == {}


def test_the_audit_log_is_in_english(alice: User, client: Client, generate: Callable[..., Generation]) -> None:
    boss = User.objects.create_superuser("boss@example.com", "a long one")
    User.objects.update(language="de")
    client.force_login(boss)
    generation = generate(alice, run=False)
    verdict = client.post(
        f"/admin/inpainting/generation/{generation.pk}/verdict/", {"verdict": "removed", "note": "spam"}, headers=GERMAN
    )
    assert verdict.status_code == 302, verdict.content
    limits = UserLimits.objects.get_or_create(user=alice)[0]
    page = f"/admin/inpainting/userlimits/{limits.pk}/change/"
    changed = client.post(page, {"user": alice.pk, "per_day": 5, "weight": 1}, headers=GERMAN)
    assert changed.status_code == 302, changed.content
    recorded = [f"{entry} {entry.note} {entry.before} {entry.after}" for entry in AuditEntry.objects.all()]
    assert len(recorded) == 2
    assert [german for text in recorded if (german := german_in(text))] == []
