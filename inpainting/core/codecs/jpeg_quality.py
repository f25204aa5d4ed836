"""Estimates the quality that a JPEG was saved with from its quantisation tables.

Encoders scale the example tables of ITU-T T.81, annex K.1, as `jpeg_quality_scaling` of libjpeg (jcparam.c) does.
Tables that are no such scaling, as those of cameras, get the quality whose tables are closest, by least squares.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""Table K.1, row by row."""
CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
"""Table K.2, row by row."""
ZIGZAG = sorted(range(64), key=lambda at: (sum(divmod(at, 8)), at // 8 if sum(divmod(at, 8)) % 2 else at % 8))
"""The order of the elements in a file (T.81, figure A.6): along the diagonals, in turn downwards and upwards."""
Table = NDArray[np.int64]
"""The 64 elements of a table, in the order of the file."""


def tables_in(segment: bytes) -> Iterator[tuple[int, Table]]:
    """Yield number and elements of each table of a DQT segment (T.81 B.2.4.1), up to the first that is damaged."""
    position = 0
    while position < len(segment):
        precision, number = divmod(segment[position], 16)
        size = 64 << min(precision, 1)
        body = segment[position + 1 : position + 1 + size]
        if len(body) < size:
            return
        yield number, np.frombuffer(body, ">u2" if precision else "u1").astype(np.int64)
        position += 1 + size


def estimate_quality(luminance: Table, chrominance: Table | None) -> int:
    """Return the quality, 1 to 100, whose tables are closest to these.

    chrominance: None where there is but one table.
    """
    distances = _distances(luminance, LUMINANCE)
    if chrominance is not None:
        distances = distances + _distances(chrominance, CHROMINANCE)
    return 1 + int(distances.argmin())


def _distances(table: Table, example: tuple[int, ...]) -> NDArray[np.int64]:
    """Return for each quality the sum of the squared differences between the table and the scaled example."""
    qualities = np.arange(1, 101)
    percent = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    scaled = (np.array(example)[ZIGZAG] * percent[:, np.newaxis] + 50) // 100
    return ((scaled.clip(1, 255) - table) ** 2).sum(axis=1)
