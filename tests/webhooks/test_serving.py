"""`serve` delivers webhooks, with real processes, also after it was killed."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.net.fake_network import Listener, answer
from tests.support.installation import Installation
from tests.webhooks.receiving import messages, url_of


@pytest.mark.full
def test_a_message_is_sent_again_after_the_server_was_killed_while_sending(tmp_path: Path) -> None:
    server_died: list[int] = []

    def kill_the_first_sender(visitor: socket.socket, request: bytes) -> None:
        if not server_died:
            server_died.extend(installation.children_of(server.pid))
            os.kill(server_died[0], signal.SIGKILL)
        else:
            answer("200 OK")(visitor, request)

    with Listener(kill_the_first_sender) as receiver:
        installation = Installation(
            tmp_path, DREAMLAYER_ALLOWED_NETWORKS="127.0.0.0/8", DREAMLAYER_ALLOWED_PORTS=str(receiver.port)
        )
        key = installation.migrate_with_key()
        with installation.serving() as server:
            body = json.dumps({"url": url_of(receiver)}).encode()
            headers = {"Content-Type": "application/json"}
            status, created = installation.get("/api/webhooks/test/", key=key, data=body, headers=headers)
            assert status == 201
            listed = "/api/webhooks/deliveries/"
            installation.wait_until(lambda: b'"delivered"' in installation.get(listed, key=key)[1], seconds=90)
            (delivery,) = json.loads(installation.get(listed, key=key)[1])["results"]
            assert [attempt["status"] for attempt in delivery["attempts"]] == [200]
        first, second = messages(receiver)
    assert first.id == second.id == json.loads(created)["id"] == delivery["id"]
    assert server_died
