"""The broker inside `serve`: kombu's in-memory queues, whose readers are woken by a message instead of polling for it.

kombu's own looks every `polling_interval` seconds, which every picture waits for and which an idle server pays for.
Here that is only how often a reader looks though nobody woke it, so it may be long.
"""

from __future__ import annotations

import threading
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import memory

_put = threading.Condition()
_messages = 0


class Channel(memory.Channel):  # type: ignore[misc]  # kombu ships no types
    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        _wake()

    def _put_fanout(self, exchange: str, message: Any, routing_key: str | None = None, **options: Any) -> None:
        super()._put_fanout(exchange, message, routing_key, **options)
        _wake()


class Transport(memory.Transport):  # type: ignore[misc]
    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Deliver one message. Raises TimeoutError where none came within `timeout` seconds.

        It looks every `polling_interval` all the same: a message that could not be taken at first, because its reader
        was full, wakes nobody when it can.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            seen = _messages  # read before looking: what comes after this look is not slept through
            try:
                self.cycle.get(self._deliver, timeout=timeout)
                return
            except Empty:
                if deadline is not None and monotonic() >= deadline:
                    raise TimeoutError from None
                _wait_for_more(seen, self.polling_interval)


def _wait_for_more(seen: int, seconds: float) -> None:
    """Until more messages have come than `seen`, or so long."""
    with _put:
        _put.wait_for(lambda: _messages != seen, seconds)


def _wake() -> None:
    global _messages
    with _put:
        _messages += 1
        _put.notify_all()
