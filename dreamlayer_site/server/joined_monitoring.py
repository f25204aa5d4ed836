"""`/livez`, `/readyz` and `/metrics` of several children on one port, which the parent process of `serve` answers.

Each child answers them on a port of its own. Like the parent, this module does without Django.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ASK_SECONDS = 2.5
"""How long a child may take to answer. The health check of the Dockerfile waits for 3 seconds."""
READ_SECONDS = 5.0
"""How long a client may be silent."""
MAX_CONNECTIONS = 32
HEALTH, METRICS = ("/livez", "/readyz"), "/metrics"
HEALTH_STATUSES = (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{?)(.*)")
"""A line of a sample: its name, whether labels follow, the rest (Prometheus' text format 0.0.4)."""


@dataclass(frozen=True, slots=True)
class ProcessAnswer:
    """status: of HTTP, 0 from a child that does not answer. content_type, challenge: headers, empty without them."""

    status: int = 0
    body: bytes = b""
    content_type: str = ""
    challenge: str = ""


class JoinedMonitoring(ThreadingHTTPServer):
    """listener: the socket on which it answers. children: their own sockets, by the names of their devices."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, children: Mapping[str, socket.socket]) -> None:
        super().__init__(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.children = listener, children
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def start(self) -> None:
        """Answer on threads that end with the process."""
        threading.Thread(target=self.serve_forever, name="monitoring", daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that break."""

    def ask(self, path: str, authorization: str = "") -> dict[str, ProcessAnswer]:
        """Return what each child answers, by the names of their devices."""
        with ThreadPoolExecutor(len(self.children)) as threads:
            answers = threads.map(lambda child: ask(child, path, authorization), self.children.values())
            return dict(zip(self.children, answers, strict=True))


class Handler(BaseHTTPRequestHandler):
    server: JoinedMonitoring
    server_version, sys_version = "DreamLayer", ""
    timeout = READ_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in HEALTH:
            self.send(join_health(self.server.ask(path)))
        elif path == METRICS:
            self.send(join_metrics(self.server.ask(path, self.headers.get("Authorization", ""))))
        else:
            self.send(ProcessAnswer(HTTPStatus.NOT_FOUND))

    do_HEAD = do_GET  # noqa: N815 - the name of http.server

    def send(self, answer: ProcessAnswer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": answer.content_type, "WWW-Authenticate": answer.challenge}
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, *arguments: Any) -> None:
        """Leave the log to the children: probes come every few seconds."""


def ask(child: socket.socket, path: str, authorization: str = "") -> ProcessAnswer:
    """Return what the child on a socket of this machine answers."""
    host, port = child.getsockname()
    connection = http.client.HTTPConnection(host, port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": authorization} if authorization else {})
        told = connection.getresponse()
        content_type, challenge = (told.headers.get(name, "") for name in ("Content-Type", "WWW-Authenticate"))
        return ProcessAnswer(told.status, told.read(), content_type, challenge)
    except (OSError, http.client.HTTPException):
        return ProcessAnswer()
    finally:
        connection.close()


def join_health(answers: Mapping[str, ProcessAnswer]) -> ProcessAnswer:
    """Return 200 if all children answer 200, else 503; with the answer of each."""
    fault = {"status": "unavailable", "service": "does not answer"}
    states = {
        name: json.loads(answer.body) if answer.status in HEALTH_STATUSES else fault for name, answer in answers.items()
    }
    is_well = all(answer.status == HTTPStatus.OK for answer in answers.values())
    body = {"status": "ok" if is_well else "unavailable", "devices": states}
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return ProcessAnswer(status, json.dumps(body).encode(), "application/json")


def join_metrics(answers: Mapping[str, ProcessAnswer]) -> ProcessAnswer:
    """Return the metrics of the children that answer, with a label `device`; else what one of them refuses with."""
    given = {name: answer for name, answer in answers.items() if answer.status}
    if not given:
        return ProcessAnswer(HTTPStatus.SERVICE_UNAVAILABLE)
    if refused := next((answer for answer in given.values() if answer.status != HTTPStatus.OK), None):
        return refused
    text = join_samples({name: answer.body.decode() for name, answer in given.items()})
    return ProcessAnswer(HTTPStatus.OK, text.encode(), next(iter(given.values())).content_type)


def join_samples(texts: Mapping[str, str]) -> str:
    """Return several texts of metrics as one, in which each metric is in one place and each sample has its device."""
    families: dict[str, list[str]] = {}
    for device, text in texts.items():
        family = ""
        known = frozenset(families)
        for line in text.splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                if family not in known:
                    families.setdefault(family, []).append(line)
            elif sample := SAMPLE.fullmatch(line):
                name, brace, rest = sample.groups()
                label = f'{{device="{device}"'
                joined = f"{name}{label},{rest}" if brace else f"{name}{label}}}{rest}"
                families.setdefault(family, []).append(joined)
    return "".join(f"{line}\n" for lines in families.values() for line in lines)
