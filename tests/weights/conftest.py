"""Fixtures of the tests with published weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.weights import cache, reference
from tests.weights.published import PUBLISHED, PublishedFile

REQUIRED = "DREAMLAYER_TEST_WEIGHTS_REQUIRED"
"""The environment variable that makes a missing file a failure."""


@pytest.fixture(scope="session")
def published_file() -> PublishedFile:
    """published_file(slug) -> the path of a published file. A test whose file was not fetched is skipped.

    A file with another hash than the pinned one is a failure, and so is a missing one where REQUIRED is set.
    """

    def find(slug: str) -> Path:
        file = PUBLISHED[slug]
        try:
            cache.check(file)
        except FileNotFoundError:
            skip_or_fail(f"The published weights {slug} are not in {cache.folder()}; `make weights` fetches them.")
        except cache.WrongHash as error:
            pytest.fail(str(error), pytrace=False)
        return cache.path_of(file)

    return find


@pytest.fixture(scope="session")
def rembg_masks() -> Iterator[Callable[..., list[NDArray[np.uint8]]]]:
    """`reference.masks`. A test is skipped without rembg, or fails where REQUIRED is set."""
    with program_of(reference.REMBG) as patch:
        patch.setitem(sys.modules, "rembg", reference.package())
        yield reference.masks


@pytest.fixture
def ncnn() -> Iterator[None]:
    """The package `ncnn` can be imported. A test is skipped without it, or fails where REQUIRED is set."""
    with program_of(reference.NCNN):
        yield


@contextmanager
def program_of(pins: tuple[str, ...]) -> Iterator[pytest.MonkeyPatch]:
    folder = reference.folder(pins)
    if not folder.exists():
        skip_or_fail(f"{pins[0]} is not in {cache.folder()}; `make weights` installs it there.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        yield patch


def skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
