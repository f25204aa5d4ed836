"""Many sign-ins at once, each of which costs the server a password hash."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest

from tests.attacks.clients import SIGN_IN_PAGE, csrf_headers_and_token
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

SIGN_INS = 64


def test_many_sign_ins_take_little_memory_and_delay_no_page(server: Installation) -> None:
    headers, token = csrf_headers_and_token(server)

    def sign_in(number: int) -> int:
        form = {"csrfmiddlewaretoken": token, "login": f"user-{number}@example.com", "password": "a wrong one"}
        source = (f"127.0.1.{number + 1}", 0)  # an address of its own: the rate limits count per address
        with closing(HTTPConnection(server.host, server.port, timeout=60, source_address=source)) as connection:
            connection.request("POST", SIGN_IN_PAGE, urlencode(form), headers)
            response = connection.getresponse()
            response.read()
        assert response.status == 200 or response.headers["Retry-After"]
        return response.status

    with Measurement(server) as measured, ThreadPoolExecutor(SIGN_INS) as pool:
        statuses = Counter(pool.map(sign_in, range(SIGN_INS)))
    print(f"answers: {dict(statuses)}")
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 8
    assert measured.extra_memory < 300 * MB
    assert measured.slowest_page < 6
