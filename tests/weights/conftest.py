"""Fixtures of the tests with published weights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.weights import cache
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
            reason = f"The published weights {slug} are not in {cache.folder()}; `make weights` fetches them."
            if os.environ.get(REQUIRED):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        except cache.WrongHash as error:
            pytest.fail(str(error), pytrace=False)
        return cache.path_of(file)

    return find
