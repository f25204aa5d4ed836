"""A picture that somebody names by its URL, fetched: its bytes, or one clear reason why not."""

from __future__ import annotations

from inpainting.core.errors import InvalidRequest
from inpainting.net.connecting import Deadline, Outside, connected
from inpainting.net.exchange import Response, exchange
from inpainting.net.failures import Failed, Failure
from inpainting.net.limits import Limits
from inpainting.net.urls import Target, follow, read_url

REDIRECTS = {301, 302, 303, 307, 308}
ACCEPT = "image/png,image/jpeg,image/webp,image/gif;q=0.9,*/*;q=0.1"

# One text for whatever the reason: told apart, the reasons would map the network behind us.
NOT_ALLOWED = (
    "This URL may not be fetched: it must start with http:// or https://, name no user, use the usual port, "
    "and lead, by a few redirects at most, to a public address."
)


def fetch_picture_bytes(url: str, *, field: str, limits: Limits, outside: Outside | None = None) -> bytes:
    """The bytes behind a URL, at most limits.max_bytes; whether they are a picture is for the codecs to say.

    `field`: where the URL stood in the request, for the error. Raises InvalidRequest with code url_not_allowed,
    url_not_found (no such host), url_tls_error, url_timeout, url_too_large or url_fetch_failed; the last has the other
    server's status in `actual`, if it gave one. An address that is refused is sent no packet at all.
    """
    deadline = Deadline(limits.total_seconds)
    try:
        target = read_url(url, limits)
        for _ in range(limits.max_redirects + 1):
            found = _fetch(target, field, limits, outside or Outside(), deadline)
            if isinstance(found, bytes):
                return found
            target = found
        raise Failed(Failure.NOT_ALLOWED)
    except Failed as failed:
        raise _in_words(failed.failure, field, limits) from failed


def _fetch(target: Target, field: str, limits: Limits, outside: Outside, deadline: Deadline) -> bytes | Target:
    """One hop: the picture, or where to go on."""
    with connected(target, limits, outside, deadline) as connection:
        response = exchange(connection, target, deadline, method="GET", headers={"accept": ACCEPT})
        location = response.headers.get("location")
        if response.status in REDIRECTS and location is not None:
            return follow(target, location, limits)
        if response.status != 200:
            raise InvalidRequest(
                f"The server behind this URL answered with status {response.status}.",
                code="url_fetch_failed",
                field=field,
                actual=response.status,
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Failed(Failure.BAD_ANSWER)
        return _whole_body(response, field, limits)


def _whole_body(response: Response, field: str, limits: Limits) -> bytes:
    promised = response.headers.get("content-length", "0")  # h11 has checked that it is a number
    if int(promised) > limits.max_bytes:
        raise _too_large(field, limits, int(promised))
    body = bytearray()
    for part in response.body:
        body += part
        if len(body) > limits.max_bytes:
            raise _too_large(field, limits, None)
    return bytes(body)


def _too_large(field: str, limits: Limits, actual: int | None) -> InvalidRequest:
    return InvalidRequest(
        f"The file behind this URL is too large; at most {limits.max_bytes} bytes are taken.",
        code="url_too_large",
        field=field,
        limit=limits.max_bytes,
        actual=actual,
    )


def _in_words(failure: Failure, field: str, limits: Limits) -> InvalidRequest:
    match failure:
        case Failure.NOT_ALLOWED:
            return InvalidRequest(NOT_ALLOWED, code="url_not_allowed", field=field)
        case Failure.DNS_FAILED:
            return InvalidRequest("The host of this URL cannot be found.", code="url_not_found", field=field)
        case Failure.TLS_FAILED:
            return InvalidRequest(
                "The server behind this URL has no certificate that we can trust.", code="url_tls_error", field=field
            )
        case Failure.TIMEOUT:
            return InvalidRequest(
                f"The server behind this URL took too long; {limits.total_seconds:g} seconds are allowed.",
                code="url_timeout",
                field=field,
                limit=limits.total_seconds,
            )
        case Failure.CONNECT_FAILED | Failure.CLOSED | Failure.BAD_ANSWER:
            return InvalidRequest(
                "The server behind this URL gave no usable answer.", code="url_fetch_failed", field=field
            )
