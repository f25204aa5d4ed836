"""Answers that are sent a piece at a time, so that none of them is ever whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.db.models.fields.files import FieldFile
from django.http import StreamingHttpResponse

CHUNK_BYTES = 2**18


class Streamed(StreamingHttpResponse):
    """What a plain iterator yields. Under ASGI, Django alone would gather all of it before it sends any."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = iter(self)

        @sync_to_async
        def following() -> bytes | None:
            return next(pieces, None)

        while (piece := await following()) is not None:
            yield piece


def chunks(file: FieldFile, part: range) -> Iterator[bytes]:
    """Those bytes of a file, which is opened when they are asked for, and closed whenever that ends."""
    with file.storage.open(str(file.name), "rb") as opened:
        opened.seek(part.start)
        left = len(part)
        while left and (chunk := opened.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
