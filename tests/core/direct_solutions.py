"""Direct sparse solutions of the equations that the smooth surfaces solve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from inpainting.core.image import Mask


def harmonic(values: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """Laplace's equation by a direct sparse solution: each pixel inside is the mean of its neighbours."""
    inside = mask > 0
    number = np.cumsum(inside).reshape(mask.shape) - 1
    rows, columns = np.nonzero(inside)
    entries: list[tuple[int, int, float]] = []
    right = np.zeros(len(rows))
    for i, (y, x) in enumerate(zip(rows, columns, strict=True)):
        for other in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= other[0] < mask.shape[0] and 0 <= other[1] < mask.shape[1]:
                entries.append((i, i, 1.0))
                if inside[other]:
                    entries.append((i, number[other], -1.0))
                else:
                    right[i] += values[other]
    at_row, at_column, weight = zip(*entries, strict=True)
    result = values.copy()
    result[inside] = spsolve(csr_matrix((weight, (at_row, at_column)), (len(rows), len(rows))), right)
    return result
