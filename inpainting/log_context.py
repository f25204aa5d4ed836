"""The request and the generation that the present code works for, which structured logs name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
generation_id: ContextVar[str] = ContextVar("generation_id", default="")


@contextmanager
def working_for(generation: str, *, request: str) -> Iterator[None]:
    """Let records name this generation and the HTTP request that it came with; both are ids."""
    generation_token, request_token = generation_id.set(generation), request_id.set(request)
    try:
        yield
    finally:
        generation_id.reset(generation_token)
        request_id.reset(request_token)
