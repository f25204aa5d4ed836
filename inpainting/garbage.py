"""Keep garbage collections short.

A full collection visits all objects of the process while every other thread waits. With diffusers imported these are
half a million, nearly all of them of modules, and it takes half a second: `python -m benchmarks.garbage`.
"""

from __future__ import annotations

import gc
from functools import cache


@cache
def freeze_imports(of: str) -> None:
    """Leave what exists now out of all later garbage collections of this process. of: called again, it does nothing.

    To be called after imports and before models are loaded: a frozen network whose parts refer to each other would
    never be freed. https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.collect()
    gc.freeze()
