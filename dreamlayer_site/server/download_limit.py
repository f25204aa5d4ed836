"""Limits the downloads of an address: each occupies a thread and a file until the client has read it."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from dreamlayer_site.client_address import client_address
from dreamlayer_site.server.refusals import too_many_downloads
from inpainting.api.error_handlers import render_error
from inpainting.media.streaming import IteratorResponse


@async_only_middleware
def download_limit(get_response: Any) -> Any:
    """Let a download wait until its address has fewer than DOWNLOADS_PER_ADDRESS; 429 after DOWNLOAD_WAIT_SECONDS.

    The outermost middleware: once it has counted a response, Django closes it in every case.
    """
    places: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, str], asyncio.Semaphore] = WeakValueDictionary()

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await get_response(request)
        if not isinstance(response, IteratorResponse):
            return response
        address = client_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
        loop = asyncio.get_running_loop()  # A synchronous test client has one for each request.
        free = places.setdefault((loop, address), asyncio.Semaphore(settings.DOWNLOADS_PER_ADDRESS))
        try:
            async with asyncio.timeout(settings.DOWNLOAD_WAIT_SECONDS):
                await free.acquire()
        except TimeoutError:
            await sync_to_async(response.close)()
            return render_error(too_many_downloads(), request.path)

        def release() -> None:  # runs in a thread
            if not loop.is_closed():
                loop.call_soon_threadsafe(free.release)

        response.when_closed.callback(release)
        return response

    return middleware
