"""Load one network at a time in a process: the libraries change global state while they load.

transformers and diffusers set torch's default dtype to the model's, and accelerate replaces
`Module.register_parameter`; each restores what it found. Of two concurrent loads one would find, and later restore, the
other's values. Other threads go on painting meanwhile, so the default dtype changes for the loading thread alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Self, TypeVar

import torch
from torch.overrides import TorchFunctionMode

Arguments = ParamSpec("Arguments")
Loaded = TypeVar("Loaded")

LOAD_LOCK = threading.RLock()


FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)
"""Functions by which networks create their weights, in the default dtype unless they are given another."""


class ThreadDefaultDtype(TorchFunctionMode):  # type: ignore[misc]  # torch declares no type
    """A default dtype for the thread that enters the context; that of torch is the same for all threads."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()
        self._of_torch = torch.get_default_dtype, torch.set_default_dtype
        self._dtype = torch.get_default_dtype()

    def __enter__(self) -> Self:
        torch.get_default_dtype, torch.set_default_dtype = self._get, self._set
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.get_default_dtype, torch.set_default_dtype = self._of_torch

    def _get(self) -> torch.dtype:
        return self._dtype if threading.get_ident() == self._thread else self._of_torch[0]()

    def _set(self, dtype: torch.dtype) -> None:
        if threading.get_ident() == self._thread:
            self._dtype = dtype
        else:
            self._of_torch[1](dtype)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in FACTORIES and kwargs.get("dtype") is None:
            kwargs["dtype"] = self._dtype
        return func(*args, **kwargs)


def is_held_elsewhere() -> bool:
    """Whether another thread is loading a network, for which a thread that loads one now would wait."""
    if LOAD_LOCK.acquire(blocking=False):
        LOAD_LOCK.release()
        return False
    return True


def serialize(load: Callable[Arguments, Loaded]) -> Callable[Arguments, Loaded]:
    """Decorate a function that builds networks: it holds LOAD_LOCK, and torch's default dtype stays the same."""

    @wraps(load)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Loaded:
        with LOAD_LOCK, ThreadDefaultDtype():
            return load(*args, **kwargs)

    return wrapper
