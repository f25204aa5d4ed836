"""Each HTTP request has an id, which logs name from the door to the worker, and is counted by its route."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from accounts.models import User
from dreamlayer_site.asgi import application
from dreamlayer_site.json_log import JsonFormatter
from dreamlayer_site.request_context import RequestContextMiddleware
from dreamlayer_site.server.body_limit import Application, Message, Receive, Send
from inpainting.log_context import request_id, working_for
from inpainting.models import Generation, Status

Generate = Callable[..., Generation]


def scope(path: str, *headers: tuple[bytes, bytes], method: str = "GET") -> dict[str, Any]:
    described = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    return {**described, "headers": [(b"host", b"localhost"), *headers], "http_version": "1.1", "server": ("x", 80)}


async def respond(
    path: str, *headers: tuple[bytes, bytes], method: str = "GET", app: Application = application
) -> tuple[int, dict[bytes, bytes]]:
    """The status and the headers with which the application answers a request without a body."""
    received: list[Message] = [{"type": "http.request", "body": b""}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not received:
            await asyncio.Event().wait()  # the client stays
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope(path, *headers, method=method), receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


def count(route: str, status: int, method: str = "GET") -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("dreamlayer_http_request_seconds_count", labels) or 0.0


@pytest.mark.parametrize(
    ("sent", "is_kept"), [("a-b.c_1", True), ("x" * 65, False), ("two words", False), ("", False), ("é", False)]
)
async def test_a_well_formed_id_is_kept_and_answered(sent: str, is_kept: bool) -> None:
    seen = []

    async def view(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        seen.append(request_id.get())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    _, headers = await respond("/", (b"x-request-id", sent.encode()), app=RequestContextMiddleware(view))
    answered = headers[b"x-request-id"].decode()
    assert seen == [answered]
    assert (answered == sent) is is_kept
    assert 6 < len(answered) <= 64


@pytest.mark.django_db(transaction=True)
async def test_requests_are_counted_by_the_pattern_of_their_url() -> None:
    before = {key: count(*key) for key in [("/api/generations/<uuid:pk>/", 401), ("unmatched", 404), ("/livez", 200)]}
    other = count("unmatched", 404, "other")
    for number in range(2):
        assert (await respond(f"/api/generations/{uuid4()}/"))[0] == 401
        status, headers = await respond(f"/no-such-page-{number}")
        assert (status, len(headers[b"x-request-id"])) == (404, 32)
        assert (await respond("/livez"))[0] == 200
    assert (await respond("/no-such-page", method="INVENTED"))[0] == 404
    assert {key: count(*key) - before[key] for key in before} == dict.fromkeys(before, 2)
    assert count("unmatched", 404, "other") - other == 1


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in caplog.text.splitlines()]


def test_the_worker_logs_the_id_of_the_request(
    alice: User, generate: Generate, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logging.getLogger("inpainting"), "level", logging.INFO)
    token = request_id.set("from-the-door")
    try:
        generation = generate(alice)
    finally:
        request_id.reset(token)
    assert generation.status == Status.SUCCEEDED
    own = [line for line in lines_of(caplog) if line.get("generation_id") == str(generation.pk)]
    assert [line["message"].partition(f"{generation.pk}")[2] for line in own] == [
        " is accepted",
        " starts, attempt 1",
        " is succeeded",
    ]
    assert {line["request_id"] for line in own} == {"from-the-door"}
    for secret in ("alice", generation.prompt):
        assert not secret or secret not in caplog.text


def test_an_error_is_one_line_with_its_traceback() -> None:
    with working_for("1234", request="5678"):
        try:
            raise ValueError("wrong")
        except ValueError:
            record = logging.LogRecord("some", logging.ERROR, "", 0, "it %s", ("failed",), sys.exc_info())
        text = JsonFormatter().format(record)
    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["message"], line["generation_id"], line["request_id"]) == (
        *("ERROR", "it failed"),
        *("1234", "5678"),
    )
    assert line["error"].endswith("ValueError: wrong")
