"""Post a JSON message to another server, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inpainting.net.addresses import is_allowed_by_exception
from inpainting.net.connecting import Deadline, NetworkTransport, open_connection
from inpainting.net.exchange import Response, exchange
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.outbound_policy import OutboundPolicy
from inpainting.net.url_parsing import parse_url

MAX_BODY_START_BYTES = 512


@dataclass(frozen=True, slots=True)
class PostResponse:
    """The receiver responded, with any status. Redirects are not followed."""

    status: int
    # At most MAX_BODY_START_BYTES. Empty if only DREAMLAYER_ALLOWED_NETWORKS allows the address, because users can read
    # the delivery log.
    body_start: bytes
    seconds: float
    retry_after: str | None = None  # the value of the header


@dataclass(frozen=True, slots=True)
class PostFailure:
    """The receiver did not respond. After NOT_ALLOWED and DNS_FAILED nothing was sent; otherwise the message may have
    arrived."""

    failure: Failure
    seconds: float


def post_json(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    deadline_seconds: float,
    policy: OutboundPolicy,
    transport: NetworkTransport | None = None,
) -> PostResponse | PostFailure:
    """Post `body` once, without retries or redirects.

    headers: in addition to content-type and content-length.

    deadline_seconds: for everything from parsing the URL to reading the status line.
    Raises h11.LocalProtocolError for invalid headers.
    """
    deadline = Deadline(deadline_seconds)
    try:
        target = parse_url(url, policy)
        with open_connection(target, policy, transport or NetworkTransport(), deadline) as connection:
            fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
            response = exchange(connection, target, deadline, method="POST", headers=fields, body=body)
            private = is_allowed_by_exception(connection.address, policy.allowed_networks)
            start = b"" if private else _start_of_body(response)
            return PostResponse(response.status, start, deadline.elapsed(), response.headers.get("retry-after"))
    except NetworkError as error:
        return PostFailure(error.failure, deadline.elapsed())


def _start_of_body(response: Response) -> bytes:
    """Read the first bytes. Errors are ignored: the message was delivered, because the status has arrived."""
    start = b""
    try:
        for part in response.body:
            start += part
            if len(start) >= MAX_BODY_START_BYTES:
                break
    except NetworkError:
        pass
    return start[:MAX_BODY_START_BYTES]
