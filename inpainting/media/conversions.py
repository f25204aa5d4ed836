"""Conversions of stored images for a response, of which one runs at a time in a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inpainting.media.files import ConversionsBusy, ImageGone, StorageAway
from inpainting.storage import StorageUnavailable

WAIT_SECONDS = 10.0
_converting = threading.BoundedSemaphore()
"""One at a time: the largest image takes ten seconds of a core, and any client with a link may ask."""


@contextmanager
def converting() -> Iterator[None]:
    """Convert in the context, one image at a time. Raises ConversionsBusy if it is not its turn within WAIT_SECONDS;
    ImageGone for a file that is gone; StorageAway if the storage does not answer.
    """
    if not _converting.acquire(timeout=WAIT_SECONDS):
        raise ConversionsBusy
    try:
        yield
    except FileNotFoundError as error:
        raise ImageGone from error
    except StorageUnavailable as error:
        raise StorageAway from error
    finally:
        _converting.release()
