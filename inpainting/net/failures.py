"""What can go wrong between us and another machine, each by its name."""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    NOT_ALLOWED = "not_allowed"
    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    TIMEOUT = "timeout"
    TLS_FAILED = "tls_failed"
    CLOSED = "closed"
    BAD_ANSWER = "bad_answer"  # it speaks, but no HTTP we understand


class Failed(Exception):
    """Carries a failure from where it happened to the two functions that turn it into their own answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure
