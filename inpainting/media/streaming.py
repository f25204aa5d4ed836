"""Responses that are sent in chunks, so that no file is ever whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

from asgiref.sync import sync_to_async
from django.core.files import File
from django.http import StreamingHttpResponse

CHUNK_BYTES = 2**19
"""Each chunk is read on a thread and costs about a millisecond, whatever its size."""


class IteratorResponse(StreamingHttpResponse):
    """Streams a plain iterator. Under ASGI, Django alone would consume all of it before sending any.

    Django closes the response, and with it the iterator, also when the client disconnects.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.when_closed = ExitStack()

    def close(self) -> None:
        with self.when_closed:
            super().close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = iter(self)

        @sync_to_async
        def next_chunk() -> bytes | None:
            return next(chunks, None)

        while (chunk := await next_chunk()) is not None:
            yield chunk


def file_chunks(file: File, byte_range: range) -> Iterator[bytes]:
    """Yield the bytes of the range. The file is opened at the first chunk and closed however the iteration ends."""
    with file.open("rb") as opened:
        opened.seek(byte_range.start)
        left = len(byte_range)
        while left and (chunk := opened.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
