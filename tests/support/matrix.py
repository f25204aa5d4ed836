"""Parameters of matrix tests, of which the default run takes a part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import pytest


def each_value_once(*axes: Sequence[Any]) -> list[Any]:
    """The product of the axes as parameters. Those that are not needed to have each value once are marked `full`."""
    needed = {tuple(row % len(axis) for axis in axes) for row in range(max(len(axis) for axis in axes))}
    return [
        pytest.param(
            *flattened(axis[index] for axis, index in zip(axes, indexes, strict=True)),
            marks=[] if indexes in needed else [pytest.mark.full],
        )
        for indexes in product(*(range(len(axis)) for axis in axes))
    ]


def first_alone(*values: Any) -> list[Any]:
    """The values as parameters. All but the first are marked `full`."""
    return [values[0], *(pytest.param(value, marks=pytest.mark.full) for value in values[1:])]


def flattened(values: Iterable[Any]) -> list[Any]:
    """The values; those of a tuple one by one."""
    return [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
