"""Time stamps of signatures: a server adds them, and no download fails without it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from c2pa import C2paError
from django.core.management import CommandError, call_command
from django.test import Client

from inpainting.core.credentials import DigitalSourceType, Provenance
from inpainting.media import signing
from tests.api.signed_results import manifest_of, painted, read, signed
from tests.support.signed_photos import signed_photo
from tests.support.timestamp_server import TimestampService, timestamp_service

PROVENANCE = Provenance(
    source_type=DigitalSourceType.COMPOSITE,
    is_enlarged=False,
    coverage=0.1,
    engine="erase",
    model="migan",
    source_sha256="0" * 64,
)


@pytest.fixture
def service(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[TimestampService]:
    monkeypatch.setattr(signing, "timestamps", signing.TimestampServer())
    with timestamp_service(tmp_path) as running:
        settings.CONTENT_CREDENTIALS_TIMESTAMP_URL = running.url
        yield running


def codes_of(data: bytes, format: str) -> set[str]:
    results = read(data, format).get_validation_results()
    assert results is not None
    return {entry["code"] for kind in ("success", "informational") for entry in results["activeManifest"][kind]}


def time_of(data: bytes, format: str) -> str | None:
    found: str | None = manifest_of(data, format)["signature_info"].get("time")
    return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_signature_has_the_time_of_the_server(
    alices_program: Client, mask_png: bytes, service: TimestampService, format: str
) -> None:
    url = painted(alices_program, signed_photo("jpeg"), mask_png, keep_metadata="all")
    data = signed(alices_program, url, format)
    assert read(data, format).get_validation_state() == "Valid"
    assert "timeStamp.validated" in codes_of(data, format)
    assert time_of(data, format)
    assert len(service.queries) == 1  # none by the photo that was read


def test_a_site_without_a_server_asks_none(service: TimestampService, settings: Any) -> None:
    settings.CONTENT_CREDENTIALS_TIMESTAMP_URL = ""
    data = signing.sign(signed_photo("png"), "png", PROVENANCE)
    assert time_of(data, "png") is None
    assert service.queries == []


@pytest.mark.parametrize("problem", ["status", "noise", "refused"])
def test_a_server_that_gives_none_stops_no_signature(
    service: TimestampService,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    problem: str,
) -> None:
    if problem == "refused":
        with socket.socket() as bound:  # does not listen
            bound.bind(("127.0.0.1", 0))
            settings.CONTENT_CREDENTIALS_TIMESTAMP_URL = f"http://127.0.0.1:{bound.getsockname()[1]}/"
            data = signing.sign(signed_photo("png"), "png", PROVENANCE)
        settings.CONTENT_CREDENTIALS_TIMESTAMP_URL = service.url
    else:
        service.answers = problem
        data = signing.sign(signed_photo("png"), "png", PROVENANCE)
    assert time_of(data, "png") is None
    assert "Signing without time stamps for 300 seconds" in caplog.text
    service.answers = "time"
    service.queries.clear()
    assert time_of(signing.sign(signed_photo("png"), "png", PROVENANCE), "png") is None
    assert service.queries == []  # it is left alone
    later = time.monotonic() + signing.PAUSE_SECONDS + 1
    monkeypatch.setattr("inpainting.media.signing.time.monotonic", lambda: later)
    assert time_of(signing.sign(signed_photo("png"), "png", PROVENANCE), "png")


def test_an_error_of_the_file_is_not_hidden(service: TimestampService) -> None:
    with pytest.raises(C2paError):
        signing.sign(b"no image", "png", PROVENANCE)


@pytest.mark.parametrize("address", ["tsa.example.org", "ftp://tsa.example.org", "http://[", "http:///tsr"])
def test_the_check_refuses_another_address_than_one_of_a_web_server(settings: Any, address: str) -> None:
    settings.CONTENT_CREDENTIALS_TIMESTAMP_URL = address
    with pytest.raises(CommandError, match=r"(?s)DREAMLAYER_CONTENT_CREDENTIALS_TIMESTAMP_URL is .*RFC 3161"):
        call_command("check")
    settings.CONTENT_CREDENTIALS_TIMESTAMP_URL = "https://tsa.example.org/tsr"
    call_command("check")
