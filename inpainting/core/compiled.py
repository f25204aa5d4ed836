"""Loops as machine code, by numba, where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

AVAILABLE = importlib.util.find_spec("numba") is not None
"""Modules with compiled functions can be imported. numba has no wheel for macOS on Intel processors."""


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return `function`, compiled at its first call with each combination of types; it runs without the GIL.

    The machine code is kept beside the source file or, where that folder cannot be written, in the user's cache folder;
    without either it is compiled in each process. A change of a constant in another module is not noticed: hand such
    constants in.
    """
    import numba  # half a second, which a process that never paints need not wait

    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)
