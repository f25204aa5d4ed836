"""Websockets whose clients may send little: they only listen, so nothing reads their messages."""

from __future__ import annotations

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

MAX_MESSAGE_BYTES = 4 * 1024
BURST_BYTES, BYTES_PER_SECOND = 2 * MAX_MESSAGE_BYTES, 256
"""What a client may send at once, and on average: one pong and one ping of the usual 20 seconds take about 30 bytes."""
MESSAGE_TOO_BIG, POLICY_VIOLATION = 1009, 1008


class LimitedSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne ships no types
    """Closes with 1009 at the beginning of a message over MAX_MESSAGE_BYTES, with 1008 where a client sends too much.

    Frames of one byte cost the event loop 30 to 50 us each, pings most of all, so all bytes count.
    """

    head_received = False
    refused = False
    unpaid_bytes = 0.0
    """What the client has sent and BYTES_PER_SECOND have not paid for yet."""
    received_at = 0.0

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self.refused:
            return
        if not self.head_received:  # the head of the HTTP request, which Daphne passes on
            self.head_received, self.received_at = True, self.factory.reactor.seconds()
            super().dataReceived(data)
            return
        now = self.factory.reactor.seconds()
        self.unpaid_bytes = max(0.0, self.unpaid_bytes - (now - self.received_at) * BYTES_PER_SECOND) + len(data)
        self.received_at = now
        # The first bytes may say that a message is too long, which is the better reason.
        super().dataReceived(data[:BURST_BYTES])
        if self.unpaid_bytes > BURST_BYTES and not self.refused:
            self.refuse(POLICY_VIOLATION, f"more than {BYTES_PER_SECOND} bytes a second")

    def onMessageFrameBegin(self, length: int) -> None:  # noqa: N802 - Autobahn's name
        super().onMessageFrameBegin(length)
        if self.message_data_total_length > MAX_MESSAGE_BYTES:
            self.refuse(MESSAGE_TOO_BIG, f"a message of more than {MAX_MESSAGE_BYTES} bytes")

    def refuse(self, code: int, reason: str) -> None:
        """Send the close code and read nothing more. Autobahn cuts the connection off a second later."""
        self.refused = True
        if self.state == self.STATE_CONNECTING:
            self.dropConnection(abort=True)
        else:
            self.sendCloseFrame(code, reason.encode())


class LimitedSocketFactory(WebSocketFactory):  # type: ignore[misc]
    protocol = LimitedSocket
