"""The vocabulary of what can go wrong while painting.

Each error carries a stable `code` for programs and a message for people that says what was seen and what is allowed.
Surfaces translate them into their own shape; nothing else in the house invents error texts for these cases.
"""

from __future__ import annotations

OUT_OF_MEMORY = "gpu_out_of_memory"
"""The code of the one failure after which a smaller engine may do better."""


class PaintingError(Exception):
    """Anything this house says no to. `code` is stable; `field`, `limit` and `actual` say where and by how much."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        field: str | None = None,
        limit: int | float | str | None = None,
        actual: int | float | str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.limit = limit
        self.actual = actual


class InvalidRequest(PaintingError):
    """What was asked cannot be done as asked: a bad number, an unknown engine, an empty mask."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "field_invalid",
        field: str | None = None,
        limit: int | float | str | None = None,
        actual: int | float | str | None = None,
    ) -> None:
        super().__init__(message, code=code, field=field, limit=limit, actual=actual)


class InvalidPicture(InvalidRequest):
    """The bytes are not a picture we take. `code` starts with `image_` or `mask_`."""


class EngineFailed(PaintingError):
    """The engine could not paint, though the request was fine."""

    def __init__(self, message: str, *, code: str = "engine_failed") -> None:
        super().__init__(message, code=code)


class DeviceLost(Exception):
    """The device that paints answers no more, whatever it is asked: only another process can go on."""


class Cancelled(Exception):
    """Raised by `on_step` to stop an engine; engines let it pass."""
