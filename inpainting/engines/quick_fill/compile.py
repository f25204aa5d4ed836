"""Compile the kernels of quick-fill ahead of the first filling: `python -m inpainting.engines.quick_fill.compile`.

numba keeps the machine code on disk, so that later processes load it in a fraction of a second.
"""

from __future__ import annotations

import numpy as np

from inpainting.engines.quick_fill.filling import Search, fill

SIDE = 64


def compile_kernels() -> None:
    """Fill a hole in a plain image, which uses every kernel."""
    image = np.full((SIDE, SIDE, 3), 100, np.uint8)
    image[SIDE // 2 :] = 150  # plain enough for a guide, and no smooth trend
    hole = np.zeros((SIDE, SIDE), bool)
    hole[24:40, 24:40] = True
    fill(image, ~hole, hole, Search(), np.random.default_rng(0), lambda share: None)


if __name__ == "__main__":
    compile_kernels()
