"""Download an image by its URL, following redirects."""

from __future__ import annotations

from inpainting.core.codecs.accepted import CONTENT_TYPES
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.net.connecting import Deadline, NetworkTransport, open_connection
from inpainting.net.exchange import Response, exchange
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.outbound_policy import OutboundPolicy
from inpainting.net.url_parsing import Target, parse_url, resolve_redirect

REDIRECTS = {301, 302, 303, 307, 308}
ACCEPT = f"{','.join(CONTENT_TYPES)};q=0.9,*/*;q=0.1"

# One message for all reasons: with different ones a client could map the internal network.
NOT_ALLOWED = sentence(
    "This URL is not allowed: it must start with http:// or https://, contain no user name, use the default port, "
    "and lead to a public address after a few redirects at most."
)


def download_image(url: str, *, field: str, policy: OutboundPolicy, transport: NetworkTransport | None = None) -> bytes:
    """Return the response body, at most policy.max_bytes. The codecs check whether it is an image.

    field: the request field that held the URL, for error messages.
    Raises InvalidRequest with code url_not_allowed, url_not_found (no such host), url_tls_error, url_timeout,
    url_too_large or url_fetch_failed (`actual` is the other server's status, if there was one). No packet is sent to a
    blocked address.
    """
    deadline = Deadline(policy.total_seconds)
    try:
        target = parse_url(url, policy)
        for _ in range(policy.max_redirects + 1):
            result = _request(target, field, policy, transport or NetworkTransport(), deadline)
            if isinstance(result, bytes):
                return result
            target = result
        raise NetworkError(Failure.NOT_ALLOWED)
    except NetworkError as error:
        raise _invalid_request(error.failure, field, policy) from error


def _request(
    target: Target, field: str, policy: OutboundPolicy, transport: NetworkTransport, deadline: Deadline
) -> bytes | Target:
    """Send one request. Returns the body, or the target of a redirect."""
    with open_connection(target, policy, transport, deadline) as connection:
        response = exchange(connection, target, deadline, method="GET", headers={"accept": ACCEPT})
        location = response.headers.get("location")
        if response.status in REDIRECTS and location is not None:
            return resolve_redirect(target, location, policy)
        if response.status != 200:
            raise InvalidRequest(
                sentence("The server of this URL responded with status {status}.", status=response.status),
                code="url_fetch_failed",
                field=field,
                actual=response.status,
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise NetworkError(Failure.BAD_ANSWER)
        return _whole_body(response, field, policy)


def _whole_body(response: Response, field: str, policy: OutboundPolicy) -> bytes:
    declared = int(response.headers.get("content-length", "0"))  # h11 has checked that it is a number
    if declared > policy.max_bytes:
        raise _too_large(field, policy, declared)
    body = bytearray()
    for part in response.body:
        body += part
        if len(body) > policy.max_bytes:
            raise _too_large(field, policy, None)
    return bytes(body)


def _too_large(field: str, policy: OutboundPolicy, actual: int | None) -> InvalidRequest:
    return InvalidRequest(
        sentence(
            "The file at this URL is too large; at most {max_bytes} bytes are allowed.", max_bytes=policy.max_bytes
        ),
        code="url_too_large",
        field=field,
        limit=policy.max_bytes,
        actual=actual,
    )


def _invalid_request(failure: Failure, field: str, policy: OutboundPolicy) -> InvalidRequest:
    match failure:
        case Failure.NOT_ALLOWED:
            return InvalidRequest(NOT_ALLOWED, code="url_not_allowed", field=field)
        case Failure.DNS_FAILED:
            return InvalidRequest(sentence("The host of this URL does not exist."), code="url_not_found", field=field)
        case Failure.TLS_FAILED:
            return InvalidRequest(
                sentence("The server of this URL has no valid certificate."), code="url_tls_error", field=field
            )
        case Failure.TIMEOUT:
            return InvalidRequest(
                sentence(
                    "The server of this URL did not respond within {total_seconds:g} seconds.",
                    total_seconds=policy.total_seconds,
                ),
                code="url_timeout",
                field=field,
                limit=policy.total_seconds,
            )
        case Failure.CONNECT_FAILED | Failure.CLOSED | Failure.BAD_ANSWER:
            return InvalidRequest(
                sentence("The server of this URL gave no valid HTTP response."), code="url_fetch_failed", field=field
            )
