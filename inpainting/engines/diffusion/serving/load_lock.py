"""Load one network at a time in a process: the libraries change global state while they load.

transformers and diffusers set torch's default dtype to the model's, and accelerate replaces
`Module.register_parameter`; each restores what it found. Of two concurrent loads one would find, and later restore, the
other's values. diffusers also restores nothing when a network cannot be built.
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
    """Decorate a function that builds networks: it holds LOAD_LOCK, and the default dtype is the same afterwards."""

    @wraps(load)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Loaded:
        with LOAD_LOCK:
            dtype = torch.get_default_dtype()
            try:
                return load(*args, **kwargs)
            finally:
                torch.set_default_dtype(dtype)

    return wrapper
