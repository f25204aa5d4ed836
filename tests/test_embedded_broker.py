"""The broker inside `serve`: a message notifies its consumer at once."""

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


def test_celery_uses_it() -> None:
    assert isinstance(app.connection().transport, embedded_broker.Transport)


def test_a_message_notifies_its_consumer() -> None:
    queue, received = Queue(uuid4().hex), []
    with connected(polling_interval=3600) as reading, connected(polling_interval=3600) as writing:

        def listen() -> None:
            with Consumer(reading, queue, callbacks=[lambda body, message: received.append(body)], no_ack=True):
                ready.set()
                reading.drain_events(timeout=3600)

        ready = threading.Event()
        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        assert ready.wait(PATIENCE_SECONDS)
        writing.Producer().publish("look", exchange="", routing_key=queue.name)
        reader.join(PATIENCE_SECONDS)
    assert received == ["look"]


def test_waiting_ends_at_the_timeout() -> None:
    with (
        connected(polling_interval=0.01) as reading,
        Consumer(reading, Queue(uuid4().hex), no_ack=True),
        pytest.raises(TimeoutError),
    ):
        reading.drain_events(timeout=0.02)
