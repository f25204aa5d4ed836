"""One HTTP/1.1 request and its answer over a connected socket, every wait cut at the deadline.

HTTP is read by h11, which does no input or output of its own: the socket stays ours, and with it the address it is
pinned to and the deadline of each single read. Clients that own their sockets time each
read on its own, and a drip outlives that.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import h11

from inpainting.net.connecting import Connection, Deadline
from inpainting.net.failures import Failed, Failure
from inpainting.net.urls import Target

MAX_HEAD_BYTES = 64 * 1024
READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case; of several with one name, the last
    body: Iterator[bytes]  # read while the connection is open; raises Failed


def exchange(
    connection: Connection,
    target: Target,
    deadline: Deadline,
    *,
    method: str,
    headers: Mapping[str, str],
    body: bytes = b"",
) -> Response:
    """Send the request and read the answer's head. Raises Failed: TIMEOUT, CLOSED, TLS_FAILED, BAD_ANSWER.

    Compressed answers are not asked for: a small one could unpack into any size.
    """
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    request = h11.Request(
        method=method,
        target=target.path,
        headers=[
            ("host", target.host_header),
            ("user-agent", "DreamLayer"),
            ("accept-encoding", "identity"),
            ("connection", "close"),
            *headers.items(),
        ],
    )
    events = [request, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
    _send(connection, b"".join(http.send(event) or b"" for event in events), deadline)
    while True:
        event = _next_event(connection, http, deadline)
        if isinstance(event, h11.Response):
            heads = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in event.headers}
            return Response(event.status_code, heads, _body(connection, http, deadline))
        if not isinstance(event, h11.InformationalResponse):
            raise Failed(Failure.CLOSED)


def _body(connection: Connection, http: h11.Connection, deadline: Deadline) -> Iterator[bytes]:
    while isinstance(event := _next_event(connection, http, deadline), h11.Data):
        yield bytes(event.data)


def _next_event(connection: Connection, http: h11.Connection, deadline: Deadline) -> object:
    while True:
        try:
            event = http.next_event()
            if event is not h11.NEED_DATA:
                return event
            http.receive_data(_receive(connection, deadline))
        except h11.RemoteProtocolError as wrong:
            ended = http.trailing_data[1]
            raise Failed(Failure.CLOSED if ended else Failure.BAD_ANSWER) from wrong


def _receive(connection: Connection, deadline: Deadline) -> bytes:
    connection.socket.settimeout(deadline.left())
    try:
        return connection.socket.recv(READ_BYTES)
    except OSError as wrong:
        raise Failed(_failure_of(wrong)) from wrong


def _send(connection: Connection, data: bytes, deadline: Deadline) -> None:
    rest = memoryview(data)
    while rest:
        connection.socket.settimeout(deadline.left())
        try:
            rest = rest[connection.socket.send(rest) :]
        except OSError as wrong:
            raise Failed(_failure_of(wrong)) from wrong


def _failure_of(wrong: OSError) -> Failure:
    if isinstance(wrong, TimeoutError):
        return Failure.TIMEOUT
    return Failure.TLS_FAILED if isinstance(wrong, ssl.SSLError) else Failure.CLOSED
