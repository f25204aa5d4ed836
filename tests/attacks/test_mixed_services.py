"""Fifty programs of mixed services and two accounts call one server at the same time: each gets its own result."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import pytest

from inpainting.api import dialects
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation
from tests.support.service_clients import CALLS, Caller

pytestmark = [pytest.mark.attack, pytest.mark.full]

CALLERS = 50


def test_every_caller_of_mixed_services_gets_its_own_result(server: Installation, server_key: str) -> None:
    calls = list(islice(cycle(CALLS.items()), CALLERS))
    keys = server_key, server.manage("create_api_key", "other@example.com", "--create-user").strip()
    callers = [Caller(server.url, keys[number % 2], number) for number in range(CALLERS)]
    assert {name.split(",")[0] for name in CALLS} == {dialect.name for dialect in dialects.registered_dialects()}
    assert len({caller.colour for caller in callers}) == CALLERS
    started = time.monotonic()
    with Measurement(server) as measured, ThreadPoolExecutor(CALLERS) as pool:
        results = list(pool.map(lambda pair: pair[0][1](pair[1]), zip(calls, callers, strict=True)))
    print(f"{CALLERS} callers in {time.monotonic() - started:.1f} s: {dict(Counter(name for name, _ in calls))}")
    strangers = [
        name for (name, _), caller, data in zip(calls, callers, results, strict=True) if not caller.has_own_result(data)
    ]
    assert strangers == []
    for key in keys:
        _, listed = server.get("/api/generations/?status=succeeded", key=key)
        assert f'"count":{CALLERS // 2}'.encode() in listed
    assert measured.slowest_page < 7.0
    assert measured.extra_memory < 450 * MB
