"""The sample on the first page, which paints for anybody, asked for by many addresses without a pause."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from time import monotonic

import numpy as np
import pytest

from tests.attacks.clients import csrf_headers_and_token
from tests.attacks.measurement import MB, Measurement
from tests.conftest import png
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

ADDRESSES, SECONDS = 40, 12
PER_MINUTE = 20
"""From one address, by ACCOUNT_RATE_LIMITS."""
MASK = np.full((427, 640), 255, np.uint8)
MASK[20:400, 20:600] = 0


def form(token: str) -> tuple[bytes, str]:
    parts = f'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
    parts += '--b\r\nContent-Disposition: form-data; name="mask"; filename="m.png"\r\n\r\n'
    return parts.encode() + png(MASK) + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


class Flood:
    """Visitors who ask for the sample again and again, and a user's clicks, which compute in the same process."""

    def __init__(self, server: Installation, photo_png: bytes) -> None:
        self.server = server
        headers, token = csrf_headers_and_token(server)
        self.body, kind = form(token)
        self.headers = {**headers, "Content-Type": kind}
        fields = '--b\r\nContent-Disposition: form-data; name="points"\r\n\r\n[[20, 20]]\r\n'
        fields += '--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        self.click_body = fields.encode() + photo_png + b"\r\n--b--\r\n"

    def visit(self, number: int) -> int:
        source = (f"127.0.2.{number + 1}", 0)
        with closing(
            HTTPConnection(self.server.host, self.server.port, timeout=60, source_address=source)
        ) as connection:
            connection.request("POST", "/sample/", self.body, self.headers)
            response = connection.getresponse()
            response.read()
            return response.status

    def click(self) -> float:
        started, headers = monotonic(), {"Content-Type": self.headers["Content-Type"]}
        status, answer = self.server.get("/api/masks/", key=self.server.key, data=self.click_body, headers=headers)
        assert status in (200, 201), answer
        return monotonic() - started


@pytest.mark.usefixtures("server_key")
def test_a_flood_of_the_sample_delays_no_page_and_no_users_click(server: Installation, photo_png: bytes) -> None:
    flood = Flood(server, photo_png)
    assert flood.visit(ADDRESSES) == 200  # what painting and clicks import is not counted
    flood.click()
    end = monotonic() + SECONDS

    def visit_until_the_end(number: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        while monotonic() < end:
            statuses[flood.visit(number)] += 1
        return statuses

    def click_until_the_end() -> list[float]:
        times: list[float] = []
        while monotonic() < end:
            times.append(flood.click())
        return times

    with Measurement(server) as measured, ThreadPoolExecutor(ADDRESSES + 1) as pool:
        clicks = pool.submit(click_until_the_end)
        statuses = sum(pool.map(visit_until_the_end, range(ADDRESSES)), Counter[int]())
        times = clicks.result()
    print(f"answers: {dict(statuses)}; {len(times)} clicks, the slowest {max(times):.2f} s")
    assert set(statuses) <= {200, 429, 503}
    assert 0 < statuses[200] <= ADDRESSES * PER_MINUTE
    assert max(times) < 10
    assert measured.extra_memory < 150 * MB
    assert measured.slowest_page < 5
