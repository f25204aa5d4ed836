"""One network at a time is loaded in a process: what the libraries change meanwhile, they change for all threads.

transformers and diffusers set torch's default type to the model's, accelerate replaces `Module.register_parameter`, and
each puts back what it found. Of two at once, one finds what the other has put there; and diffusers puts nothing back
where a network cannot be made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Loaded = TypeVar("Loaded")

LOAD_LOCK = threading.RLock()


def serialized(load: Callable[Arguments, Loaded]) -> Callable[Arguments, Loaded]:
    """A function that makes networks, which waits until no other thread is in another one."""

    @wraps(load)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Loaded:
        with LOAD_LOCK:
            usual = torch.get_default_dtype()
            try:
                return load(*args, **kwargs)
            finally:
                torch.set_default_dtype(usual)

    return wrapper
