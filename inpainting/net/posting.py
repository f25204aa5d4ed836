"""A JSON message posted to another machine, once: what came back, or by name what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inpainting.net.addresses import opened_by
from inpainting.net.connecting import Deadline, Outside, connected
from inpainting.net.exchange import Response, exchange
from inpainting.net.failures import Failed, Failure
from inpainting.net.limits import Limits
from inpainting.net.urls import read_url

MAX_BODY_START = 512


@dataclass(frozen=True, slots=True)
class Answer:
    """The receiver answered. A status of 300 or above is the caller's to judge; no redirect is followed.

    body_start: at most 512 bytes; empty when an administrator's network alone let the address be called, for a log of
    answers from there would read out the network to whoever may see the log. retry_after: the header as it came.
    """

    status: int
    body_start: bytes
    seconds: float
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """No status came back; whether the receiver saw the message is not known, save for NOT_ALLOWED and DNS_FAILED."""

    failure: Failure
    seconds: float


def post_json(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    deadline_seconds: float,
    limits: Limits,
    outside: Outside | None = None,
) -> Answer | NotDelivered:
    """Post `body` once, with `headers` (not those that frame the message), by the address rule and ports of `limits`.

    deadline_seconds: from the first look at the URL to the status. h11.LocalProtocolError for headers that are none.
    """
    deadline = Deadline(deadline_seconds)
    try:
        target = read_url(url, limits)
        with connected(target, limits, outside or Outside(), deadline) as connection:
            framed = {"content-type": "application/json", "content-length": str(len(body)), **headers}
            response = exchange(connection, target, deadline, method="POST", headers=framed, body=body)
            private = opened_by(connection.address, limits.allowed_networks)
            start = b"" if private else _start_of_body(response)
            return Answer(response.status, start, deadline.elapsed(), response.headers.get("retry-after"))
    except Failed as failed:
        return NotDelivered(failed.failure, deadline.elapsed())


def _start_of_body(response: Response) -> bytes:
    """The status has come, so the message is delivered: a body that drips, stops or breaks changes nothing."""
    start = b""
    try:
        for part in response.body:
            start += part
            if len(start) >= MAX_BODY_START:
                break
    except Failed:
        pass
    return start[:MAX_BODY_START]
