"""One HTTP/1.1 request and response over a connected socket, with one deadline for all reads and writes.

h11 parses HTTP without doing any I/O, so this module keeps the socket that is pinned to a checked address. HTTP clients
that own their sockets apply a timeout to each read, which a server that sends a byte at a time never exceeds.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import h11

from inpainting.net.connecting import Connection, Deadline
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.url_parsing import Target

MAX_HEAD_BYTES = 64 * 1024
READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case; the last value of a repeated header
    body: Iterator[bytes]  # reads from the open connection; raises NetworkError


def exchange(
    connection: Connection,
    target: Target,
    deadline: Deadline,
    *,
    method: str,
    headers: Mapping[str, str],
    body: bytes = b"",
) -> Response:
    """Send the request and read the response headers. Raises NetworkError: TIMEOUT, CLOSED, TLS_FAILED, BAD_ANSWER.

    Requests identity encoding, because a small compressed body can decompress to any size.
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
            fields = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in event.headers}
            return Response(event.status_code, fields, _body(connection, http, deadline))
        if not isinstance(event, h11.InformationalResponse):
            raise NetworkError(Failure.CLOSED)


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
        except h11.RemoteProtocolError as error:
            ended = http.trailing_data[1]
            raise NetworkError(Failure.CLOSED if ended else Failure.BAD_ANSWER) from error


def _receive(connection: Connection, deadline: Deadline) -> bytes:
    connection.socket.settimeout(deadline.seconds_left())
    try:
        return connection.socket.recv(READ_BYTES)
    except OSError as error:
        raise NetworkError(_failure(error)) from error


def _send(connection: Connection, data: bytes, deadline: Deadline) -> None:
    rest = memoryview(data)
    while rest:
        connection.socket.settimeout(deadline.seconds_left())
        try:
            rest = rest[connection.socket.send(rest) :]
        except OSError as error:
            raise NetworkError(_failure(error)) from error


def _failure(error: OSError) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT
    return Failure.TLS_FAILED if isinstance(error, ssl.SSLError) else Failure.CLOSED
