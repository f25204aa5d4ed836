"""The broker inside `serve`: kombu's in-memory transport, with consumers that are notified instead of polling.

kombu's own transport polls every `polling_interval` seconds, which delays each task and keeps an idle server busy. Here
the interval is only a fallback, so it can be long.
"""

from __future__ import annotations

import threading
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import memory

_message_added = threading.Condition()
_messages = 0


class Channel(memory.Channel):  # type: ignore[misc]  # kombu ships no types
    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        _notify()

    def _put_fanout(self, exchange: str, message: Any, routing_key: str | None = None, **options: Any) -> None:
        super()._put_fanout(exchange, message, routing_key, **options)
        _notify()


class Transport(memory.Transport):  # type: ignore[misc]
    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Deliver one message. Raises TimeoutError if none arrives within `timeout` seconds.

        Also polls every `polling_interval`, because a consumer that was at its prefetch limit is not notified when it
        can take a message again.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            seen = _messages  # read before the attempt, so that a later message ends the wait below
            try:
                self.cycle.get(self._deliver, timeout=timeout)
                return
            except Empty:
                if deadline is not None and monotonic() >= deadline:
                    raise TimeoutError from None
                _wait_for_message(seen, self.polling_interval)


def _wait_for_message(seen: int, seconds: float) -> None:
    """Wait until the message count differs from `seen`, for at most `seconds`."""
    with _message_added:
        _message_added.wait_for(lambda: _messages != seen, seconds)


def _notify() -> None:
    global _messages
    with _message_added:
        _messages += 1
        _message_added.notify_all()
