"""A stopping server finishes its responses, within its time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from daphne.http_protocol import WebRequest
from twisted.web.http import HTTPChannel

from dreamlayer_site.server import stopping
from dreamlayer_site.server.stopping import StoppingServer


class Factory:
    def __init__(self) -> None:
        self.protocols: list[Any] = []


class Port:
    """Accepts the connections that wait at a listening socket of this machine."""

    is_listening = True

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.factory = Factory()
        self.accepted: list[socket.socket] = []

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        self.accepted.append(self.socket.accept()[0])

    def stopListening(self) -> None:  # noqa: N802 - Twisted's name
        self.is_listening = False
        self.socket.close()


class Channel(HTTPChannel):  # type: ignore[misc]  # twisted is not checked
    """A connection with so many requests whose responses are not finished."""

    is_open = True

    def __init__(self, requests: int) -> None:
        self.requests = [None] * requests

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        self.is_open = False


@dataclass
class Wrapper:
    wrappedProtocol: Any  # noqa: N815 - Twisted's name


def server_of(
    *applications: asyncio.Task[None], stop_seconds: float = 60, before_stop: Callable[[], None] = lambda: None
) -> StoppingServer:
    """A server with one HTTP connection for each application, and an idle one."""
    server = StoppingServer(None, endpoints=["none"], before_stop=before_stop, stop_seconds=stop_seconds)
    server.ports = [Port()]
    requests = [WebRequest.__new__(WebRequest) for _ in applications]
    server.connections = {
        WebRequest.__new__(WebRequest): {"connected": 0.0},
        **{
            request: {"application_instance": task, "connected": 0.0}
            for request, task in zip(requests, applications, strict=True)
        },
    }
    return server


async def test_it_finishes_the_responses_and_takes_no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "FLUSH_SECONDS", 0)
    written = asyncio.Event()

    async def respond() -> None:
        await written.wait()

    response = asyncio.create_task(respond())
    server = server_of(response)
    finish = asyncio.create_task(server.finish())
    await asyncio.sleep(0.1)
    assert not server.ports[0].is_listening
    assert not finish.done()
    written.set()
    await finish
    assert not response.cancelled()


async def test_it_ends_unfinished_responses_and_sockets_within_its_time() -> None:
    response, socket = (asyncio.create_task(asyncio.sleep(3600)) for _ in range(2))
    server = server_of(response, stop_seconds=0.1)
    server.connections[object()] = {"application_instance": socket}
    await server.finish()
    assert response.cancelled()
    assert socket.cancelled()


async def test_it_waits_for_responses_but_not_for_sockets() -> None:
    socket = asyncio.create_task(asyncio.sleep(3600))
    server = server_of()
    server.connections[object()] = {"application_instance": socket}
    await server.finish()
    assert socket.cancelled()


@pytest.mark.parametrize("fails", [False, True])
async def test_the_work_before_it_stops_runs_in_a_thread(fails: bool) -> None:
    threads: list[threading.Thread] = []

    def before_stop() -> None:
        threads.append(threading.current_thread())
        if fails:
            raise OSError

    await server_of(before_stop=before_stop).finish()
    assert threads != [threading.current_thread()]
    assert len(threads) == 1


async def test_connections_that_wait_in_the_backlog_are_accepted_and_later_ones_refused() -> None:
    server = server_of()
    (port,) = server.ports
    address = port.socket.getsockname()
    clients = [socket.create_connection(address) for _ in range(3)]
    await server.finish()
    assert {one.getpeername() for one in port.accepted} == {client.getsockname() for client in clients}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for connection in (*clients, *port.accepted):
        connection.close()


async def test_it_waits_for_requests_that_arrive_and_closes_idle_connections() -> None:
    server, arriving, idle, websocket = server_of(), Channel(1), Channel(0), object()
    server.ports[0].factory.protocols += [Wrapper(connection) for connection in (arriving, idle, websocket)]
    finish = asyncio.create_task(server.finish())
    await asyncio.sleep(0.3)
    assert not finish.done()
    arriving.requests.clear()
    await finish
    assert not idle.is_open
