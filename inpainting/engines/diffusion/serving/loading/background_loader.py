"""A thread that loads models and adapters beside the device's thread, which goes on with the steps of others."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """An object to load.

    key: equal for the same object from the same files. byte_count: of its weights, as predicted. read: run on the
    loader's thread; must change nothing that the device's thread uses. keep: run on the device's thread with what
    `read` returned.
    """

    key: Hashable
    byte_count: int
    read: Callable[[], Any]
    keep: Callable[[Any], None]


class BackgroundLoader:
    """Loads one object at a time, because the libraries do not support more. Only the device's thread calls it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._current: tuple[Load, Future[Any]] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an object is being loaded that is not ready yet."""
        return self._current is not None and not self._current[1].done()

    @property
    def byte_count(self) -> int:
        """Of the object that is being loaded, or is ready and not kept yet."""
        return 0 if self._current is None else self._current[0].byte_count

    def has(self, key: Hashable) -> bool:
        """Whether that object is being loaded, or is ready and not kept yet."""
        return self._current is not None and self._current[0].key == key

    def start(self, load: Load) -> None:
        """Start to load an object. The loader must be free."""
        self._current = load, self._executor.submit(load.read)

    def finish(self) -> BaseException | None:
        """Wait for the current object, if there is one, and keep it. Returns the error if that is not possible."""
        current, self._current = self._current, None
        if current is None:
            return None
        load, future = current
        if (error := future.exception()) is not None:
            return error
        try:
            load.keep(future.result())
        except Exception as error:
            return error
        return None
