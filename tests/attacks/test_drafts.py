"""Documents of the editor with as many values as are accepted, sent by several programs at the same time."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

VALUES, PROGRAMS, EACH = 499_000, 8, 3
"""The limit of the parser is 500,000; one document takes 40 MB when it is parsed."""


def document(values: int) -> bytes:
    points = [[1234.56789, 987.654321]] * (values // 3)
    entries = [{"kind": "mask", "strokes": [{"points": points}]}]
    document = {"version": 1, "entries": entries, "cursor": 1, "settings": {}, "generation": None, "step": "editing"}
    return json.dumps({"revision": 0, "document": document, "pictures": []}).encode()


@pytest.mark.parametrize(
    ("values", "statuses"), [(VALUES, {200, 409, 429, 503}), (10 * VALUES, {400, 413, 503})], ids=["most", "more"]
)
def test_parallel_drafts_take_bounded_memory(
    server: Installation, server_key: str, values: int, statuses: set[int]
) -> None:
    body = document(values)

    def put(_: int) -> int:
        with closing(HTTPConnection(server.host, server.port, timeout=120)) as connection:
            headers = {"X-API-Key": server_key, "Content-Type": "application/json"}
            connection.request("PUT", "/api/draft/", body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

    with Measurement(server) as measured, ThreadPoolExecutor(PROGRAMS) as pool:
        found = Counter(pool.map(put, range(PROGRAMS * EACH)))
    print(f"{len(body) / MB:.1f} MB each: {dict(found)}")
    assert set(found) <= statuses
    assert measured.extra_memory < 600 * MB
    assert measured.slowest_page < 5
