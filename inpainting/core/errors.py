"""The errors of requests and engines.

Each carries a stable `code` for programs and a message for people that states the actual value and the limit. Surfaces
(API, pages, command line) only translate them into their own format.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

OUT_OF_MEMORY = "gpu_out_of_memory"
"""The code of the one failure after which a smaller engine may succeed."""


class PaintingError(Exception):
    """Base of all errors with a code. `field`, `limit` and `actual` describe the refused value, where there is one.

    not_loaded: the slug of the model or adapter whose files this machine could not load, where that is the reason.
    """

    default_code: ClassVar[str]
    not_loaded: str = ""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        field: str | None = None,
        limit: int | float | str | None = None,
        actual: int | float | str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.field = field
        self.limit = limit
        self.actual = actual


class InvalidRequest(PaintingError):
    """The request is invalid: a number out of range, an unknown engine, an empty mask."""

    default_code = "field_invalid"


@contextmanager
def as_field(name: str) -> Iterator[None]:
    """Let the errors of a part of a field name the field, which is what was sent."""
    try:
        yield
    except InvalidRequest as error:
        error.field = name
        raise


class InvalidImage(InvalidRequest):
    """The bytes are not an image that is accepted. `code` starts with `image_` or `mask_`."""


class EngineFailed(PaintingError):
    """The engine failed on a valid request."""

    default_code = "engine_failed"


class ModelRequired(PaintingError):
    """Only a model can paint the request, and none is installed."""

    default_code = "model_unavailable"


class DeviceLost(Exception):
    """The device fails every operation until the process is restarted."""


class Cancelled(Exception):
    """Raised by `on_step` to stop an engine; engines do not catch it."""
