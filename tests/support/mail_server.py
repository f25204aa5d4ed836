"""An SMTP server of this machine that keeps what it is sent."""

from __future__ import annotations

import email
import email.policy
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.installation import Installation
from tests.support.ports import free_port


class MailServer:
    """messages: the recipients of the envelope, which nobody who reads the mail can change, and the message."""

    def __init__(self) -> None:
        self.messages: list[tuple[list[str], EmailMessage]] = []
        self.lock = threading.Lock()
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.controller.port}"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        with self.lock:
            self.messages.append((list(envelope.rcpt_tos), message))
        return "250 OK"

    def next_to(self, address: str) -> str:
        """The text of the earliest message to exactly this address, which is then removed; waits for it."""
        found: list[EmailMessage] = []

        def look() -> bool:
            with self.lock:
                for sent in self.messages:
                    if sent[0] == [address] == [sent[1]["To"]]:
                        self.messages.remove(sent)
                        found.append(sent[1])
                        return True
            return False

        Installation.wait_until(look)
        return f"{found[0]['Subject']}\n{found[0].get_content()}"

    def link_to(self, address: str) -> str:
        """The only link with a token in the next message to the address."""
        (link,) = set(re.findall(r"https?://\S+/(?:key|confirm-email)/\S+", self.next_to(address)))
        return link


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    server.controller.start()
    try:
        yield server
    finally:
        server.controller.stop()
