"""Clicks on photos of 40 megapixels with each segmenter that is always there, by several programs at the same time."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from time import monotonic

import pytest

from inpainting.segmenters import registry
from tests.attacks.images import HEIGHT, WIDTH, large_gif
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = [pytest.mark.attack, pytest.mark.full]

PROGRAMS = 3
HINTS = {
    "points": [[WIDTH // 2, HEIGHT // 2], [100, 100]],
    "box": [WIDTH // 8, HEIGHT // 8, WIDTH // 2, HEIGHT // 2],
}


def body(segmenter: str) -> bytes:
    image = BytesIO()
    large_gif().save(image, "GIF")
    understood = {hint.value for hint in registry.segmenters()[segmenter].reads}
    marks = {name: json.dumps(value) for name, value in HINTS.items() if name in understood}
    fields = {"segmenter": segmenter, "store": "false", **marks}
    parts = "".join(f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    parts += '--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n'
    return parts.encode() + image.getvalue() + b"\r\n--b--\r\n"


@pytest.mark.parametrize("segmenter", registry.segmenters())
def test_clicks_on_the_largest_photo_take_bounded_memory_and_time(
    server: Installation, server_key: str, segmenter: str
) -> None:
    sent, headers = body(segmenter), {"Content-Type": "multipart/form-data; boundary=b"}

    def click(_: int) -> tuple[int, bytes, float]:
        started = monotonic()
        status, answer = server.get("/api/masks/", key=server_key, data=sent, headers=headers)
        return status, answer[:300], monotonic() - started

    with Measurement(server) as measured, ThreadPoolExecutor(PROGRAMS) as pool:
        answers = list(pool.map(click, range(PROGRAMS)))
    print(f"{segmenter}: {[(status, round(seconds, 1)) for status, _, seconds in answers]}")
    assert {status for status, _, _ in answers} <= {200, 429, 503}, answers
    assert 200 in {status for status, _, _ in answers}, answers
    assert max(seconds for _, _, seconds in answers) < 45
    assert measured.extra_memory < 1200 * MB
    assert measured.slowest_page < 5
