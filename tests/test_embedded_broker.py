"""The broker inside `serve`: a message wakes whoever waits for it."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from kombu import Connection, Consumer, Queue

from dreamlayer_site import embedded_broker
from dreamlayer_site.celery import app

PATIENCE_SECONDS = 30


def connected(*, polling_interval: float) -> Connection:
    return Connection("embedded://here", transport_options={"polling_interval": polling_interval})


def test_it_is_the_site_s_own() -> None:
    assert isinstance(app.connection().transport, embedded_broker.Transport)


def test_a_message_wakes_its_reader() -> None:
    queue, heard = Queue(uuid4().hex), []
    with connected(polling_interval=3600) as reading, connected(polling_interval=3600) as writing:

        def listen() -> None:
            with Consumer(reading, queue, callbacks=[lambda body, message: heard.append(body)], no_ack=True):
                ready.set()
                reading.drain_events(timeout=3600)

        ready = threading.Event()
        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        assert ready.wait(PATIENCE_SECONDS)
        writing.Producer().publish("look", exchange="", routing_key=queue.name)
        reader.join(PATIENCE_SECONDS)
    assert heard == ["look"]


def test_nothing_is_waited_for_no_longer_than_asked() -> None:
    with (
        connected(polling_interval=0.01) as reading,
        Consumer(reading, Queue(uuid4().hex), no_ack=True),
        pytest.raises(TimeoutError),
    ):
        reading.drain_events(timeout=0.02)
