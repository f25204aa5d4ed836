"""The reasons why a request to another server fails."""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    NOT_ALLOWED = "not_allowed"
    DNS_FAILED = "dns_failed"
    CONNECT_FAILED = "connect_failed"
    TIMEOUT = "timeout"
    TLS_FAILED = "tls_failed"
    CLOSED = "closed"
    BAD_ANSWER = "bad_answer"  # not HTTP that we can parse


class NetworkError(Exception):
    """The error of a request, internal to this package: `download_image` and `post_json` translate it into their own
    results."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure
