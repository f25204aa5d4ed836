"""Erases from the sample photo of the first page, for visitors without an account. Stores nothing.

Only quick-fill paints, on one thread of low priority, so that generations of users are not delayed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.conf import settings

from inpainting.core.codecs import DecodedImage, IntakeLimits, decode_image, encode_png
from inpainting.core.errors import Cancelled, PaintingError
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import sentence
from inpainting.engines import registry
from inpainting.engines.base import Step
from inpainting.engines.painting import paint
from inpainting.engines.plan import Planner
from inpainting.engines.quick_fill.declaration import QUICK_FILL
from inpainting.planning import planner

PATH = "img/sample.jpg"
"""In the folder `static`: the launch pad of DSCOVR, by SpaceX, in the public domain
(https://www.flickr.com/photos/spacexphotos/16511594820), as in scikit-image 0.26."""
MASK_LIMITS = IntakeLimits(max_bytes=64 * 2**10, max_side=2048, max_pixels=2**20)
MAX_SECONDS = 15.0
"""After that a mask is refused, waiting or half painted: one object takes 1 s, hundreds of small ones 17 s."""
MAX_WAITING = 4
"""Masks that wait or are painted; each holds a thread of the server."""
NICENESS = 5
"""A third of the processor time of a thread with the usual priority, where they compete for one."""


class SampleBusy(PaintingError):
    """Too many visitors paint, or painting took too long."""

    default_code = "try_again"

    def __init__(self) -> None:
        super().__init__(sentence("Many are trying this at the moment. Try again in a few seconds."))


def erase(mask_file: bytes) -> bytes:
    """The sample photo as a PNG, repainted where the mask is black.

    Raises InvalidRequest for a mask that cannot be read, is empty or covers the whole photo, and SampleBusy.
    """
    mask = decode_image(mask_file, limits=MASK_LIMITS, field="mask")
    plans = planner()
    deadline = time.monotonic() + MAX_SECONDS
    if not _free.acquire(blocking=False):
        raise SampleBusy
    try:
        painting = _thread.submit(_erase, mask, plans, deadline)
    except BaseException:
        _free.release()
        raise
    painting.add_done_callback(lambda _: _free.release())
    try:
        return painting.result(timeout=MAX_SECONDS)
    except (Cancelled, TimeoutError) as error:
        painting.cancel()
        raise SampleBusy from error


def _erase(mask: DecodedImage, plans: Planner, deadline: float) -> bytes:
    def stop_late(_: Step) -> None:
        if time.monotonic() > deadline:
            raise Cancelled

    request, _ = build_request(photo(), mask, PaintSettings(), MaskPolarity.BLACK_REPAINTS)
    plan = plans.plan(request, QUICK_FILL.name, seed=1)
    return encode_png(paint(plan, registry.find(QUICK_FILL.name), stop_late)[0].image)


@cache
def photo() -> DecodedImage:
    return decode_image((settings.BASE_DIR / "static" / PATH).read_bytes())


def _lower_priority() -> None:
    """Linux gives each thread a priority of its own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS))


_free = threading.BoundedSemaphore(MAX_WAITING)
_thread = ThreadPoolExecutor(1, thread_name_prefix="sample", initializer=_lower_priority)
