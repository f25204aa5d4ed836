"""A stopping server finishes its responses, within its time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from daphne.http_protocol import WebRequest

from dreamlayer_site import stopping
from dreamlayer_site.stopping import StoppingServer


class Port:
    is_listening = True

    def stopListening(self) -> None:  # noqa: N802 - Twisted's name
        self.is_listening = False


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
