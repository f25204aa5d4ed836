"""Download a large file by its URL piece by piece, from any byte on, following redirects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.net.connecting import Deadline, NetworkTransport, open_connection
from inpainting.net.exchange import exchange
from inpainting.net.image_download import REDIRECTS
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.outbound_policy import OutboundPolicy
from inpainting.net.url_parsing import parse_url, resolve_redirect


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on another server."""

    size: int  # of the whole file in bytes
    body: Iterator[bytes]  # from the requested byte on


class DownloadFailed(EngineFailed):
    """A file cannot be had; the message says why."""

    default_code = "download_failed"


@contextmanager
def open_remote_file(
    url: str, *, first_byte: int = 0, policy: OutboundPolicy, transport: NetworkTransport | None = None
) -> Iterator[RemoteFile]:
    """Request a file by https and yield it while the connection is open. Raises DownloadFailed, also from the block.

    The body is not limited here: read no more of it than `size` promises. No packet is sent to a blocked address.
    """
    deadline = Deadline(policy.total_seconds)
    try:
        target = parse_url(url, policy)
        for _ in range(policy.max_redirects + 1):
            if target.scheme != "https":
                raise NetworkError(Failure.NOT_ALLOWED)
            with open_connection(target, policy, transport or NetworkTransport(), deadline) as connection:
                # With a range of the whole file too, so that every answer states the size in the same header.
                headers = {"accept": "*/*", "range": f"bytes={first_byte}-"}
                response = exchange(connection, target, deadline, method="GET", headers=headers)
                location = response.headers.get("location")
                if response.status in REDIRECTS and location is not None:
                    target = resolve_redirect(target, location, policy)
                    continue
                yield RemoteFile(size_of(response.status, response.headers, first_byte), response.body)
                return
        raise NetworkError(Failure.NOT_ALLOWED)
    except NetworkError as error:
        raise DownloadFailed(
            sentence("{url} cannot be downloaded ({failure}).", url=url, failure=error.failure)
        ) from error


def size_of(status: int, headers: Mapping[str, str], first_byte: int) -> int:
    """Return the size of the whole file from the head of an answer. Raises DownloadFailed, or NetworkError for a bad
    head."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise NetworkError(Failure.BAD_ANSWER)
    if status == 206:
        start, _, size = headers.get("content-range", "").removeprefix("bytes ").partition("/")
        if start.partition("-")[0] == str(first_byte) and size.isdecimal():
            return int(size)
        raise NetworkError(Failure.BAD_ANSWER)
    if status == 200 and first_byte == 0 and headers.get("content-length", "").isdecimal():
        return int(headers["content-length"])
    raise DownloadFailed(sentence("The server of the file responded with status {status}.", status=status))
