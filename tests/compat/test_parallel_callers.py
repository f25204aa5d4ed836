"""Fifty callers of all services at the same time on one server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import cycle, islice

import numpy as np
import pytest
from PIL import Image

from inpainting.api import dialects
from tests import picture_host
from tests.compat.clients import CLIENTS, ServiceClient
from tests.installation import Installation

CALLERS = 50
SERVICES = sorted(one.name for one in dialects.registered())


@pytest.mark.full
def test_fifty_callers_of_mixed_services_get_their_own_results(open_site: Installation, open_site_key: str) -> None:
    def call(numbered: tuple[int, str]) -> bytes:
        number, service = numbered
        return CLIENTS[service](ServiceClient(open_site, open_site_key, f"caller {number}", picture_host.photo(number)))

    with ThreadPoolExecutor(CALLERS) as threads:
        results = list(threads.map(call, enumerate(islice(cycle(SERVICES), CALLERS))))
    inside = np.asarray(picture_host.mask()) > 0
    for number, result in enumerate(results):
        with Image.open(BytesIO(result)) as image:
            changed = np.any(np.asarray(image.convert("RGB")) != picture_host.photo(number), axis=2)
        assert changed[inside].any()
        assert not changed[~inside].any()
