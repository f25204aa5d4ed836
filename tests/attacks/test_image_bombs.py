"""Small files that declare or decode too much: refused in the promised shape, or painted, in bounded memory."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from json import dumps, loads

import numpy as np
import pytest
from PIL import Image

from tests.attacks.measurement import MB, Measurement
from tests.core import hostile, tiffs
from tests.core.hostile_heifs import REFUSED as HEIF_LIES
from tests.core.hostile_tiffs import HOSTILE as TIFF_LIES
from tests.support.installation import Installation

pytestmark = pytest.mark.attack

LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    f"{kind}: {name}": lie for kind, lies in (("HEIF", HEIF_LIES), ("TIFF", TIFF_LIES)) for name, lie in lies.items()
}


def send(server: Installation, key: str, image: bytes) -> tuple[int, bytes]:
    mask = hostile.saved(Image.new("L", (64, 64), 255), "PNG")
    body = {"image": b64encode(image).decode(), "mask": b64encode(mask).decode(), "prompt": "", "engine": "quick-fill"}
    headers = {"Content-Type": "application/json"}
    return server.get("/api/img2img", key=key, data=dumps(body).encode(), headers=headers)


@pytest.mark.full
def test_lies_of_tiff_avif_and_heic_are_refused_in_little_memory(server: Installation, server_key: str) -> None:
    files = {name: build() for name, (build, _) in LIES.items()}
    with Measurement(server) as measured:
        for name, file in files.items():
            status, answer = send(server, server_key, file)
            assert (status, loads(answer)["code"]) == (400, f"image_{LIES[name][1]}"), name
    assert measured.extra_memory < 150 * MB
    assert measured.slowest_page < 5


@pytest.mark.full
def test_twelve_megapixels_that_take_a_few_kilobytes_are_bounded(server: Installation, server_key: str) -> None:
    """With a mask that repaints nothing, so that decoding is what is measured."""
    flat = np.zeros((3000, 4000, 4), np.uint16)
    for file in (
        hostile.saved(Image.fromarray(flat.astype(np.uint8)), "TIFF", compression="tiff_lzw"),
        tiffs.by_tifffile(flat, photometric="rgb", compression="deflate", extrasamples=["assocalpha"], tile=(16, 16)),
    ):
        assert len(file) < 4 * MB
        with Measurement(server) as measured:
            status, answer = send(server, server_key, file)
        assert (status, loads(answer)["code"]) == (400, "mask_empty"), answer
        assert measured.extra_memory < 500 * MB
