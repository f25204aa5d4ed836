"""`POST /api/masks/` with input that no client should send: every answer is a clear refusal, never a 500."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from PIL import Image

from tests.api.bodies import text
from tests.conftest import png

URL = "/api/masks/"
INSIDE = [[10, 10]]


@pytest.fixture(scope="module")
def image() -> str:
    return text(png(np.full((40, 60, 3), 90, np.uint8)))


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"points": [[-1, 5]]}, "field_out_of_range", "points"),
        ({"points": [[61, 5]]}, "field_out_of_range", "points"),
        ({"points": [[1e308, -1e308]]}, "field_out_of_range", "points"),
        ({"points": [[10, 10], [10, 41, 0]]}, "field_out_of_range", "points"),
        ({"points": [[10, 10]] * 10_000}, "body_too_many_values", None),
        ({"points": [[10, 10]] * 5000}, "field_out_of_range", "points"),
        ({"points": [[10, 10, 0]] * 100}, "field_missing", "points"),
        ({"points": [[None, 10]]}, "field_invalid", "points"),
        ({"points": [[[10, 10]]]}, "field_invalid", "points"),
        ({"points": "[" * 10_000}, "field_invalid", "points"),
        ({"points": 7}, "field_invalid", "points"),
        ({"points": [[float("nan"), 10]]}, "body_invalid", None),
        ({"points": "[[NaN, 10]]"}, "field_invalid", "points"),
        ({"points": "[[1e999, 10]]"}, "field_invalid", "points"),
        ({"box": "[0, 0, Infinity, 5]"}, "field_invalid", "box"),
        ({"box": [60, 0, 90, 40]}, "field_out_of_range", "box"),
        ({"box": [-50, -50, -1, -1]}, "field_out_of_range", "box"),
        ({"box": [10, 10, 10, 10]}, "field_invalid", "box"),
        ({"box": [0, 0, 1e400, 5]}, "body_invalid", None),
        ({"box": [[0, 0], [5, 5]]}, "field_invalid", "box"),
        ({"outline": [[1, 1], [2, 2]]}, "field_invalid", "outline"),
        ({"outline": [[1, 1, 1]] * 3}, "field_invalid", "outline"),
        ({"outline": [[70, 1], [80, 1], [80, 9]]}, "field_out_of_range", "outline"),
        ({"outline": [[1, 1], [20, 1], [9, 9]] * 1000}, "field_out_of_range", "outline"),
        ({"outline": {"x": 1}}, "field_invalid", "outline"),
        ({"points": INSIDE, "words": "w" * 10_000}, "field_out_of_range", "words"),
        ({"points": INSIDE, "words": ["a"]}, "field_invalid", "words"),
        ({"points": INSIDE, "words": "a cat"}, "field_invalid", "words"),
        ({"points": INSIDE, "box_threshold": 0.5}, "field_invalid", "box_threshold"),
        ({"points": INSIDE, "dilate": -3}, "field_invalid", "dilate"),
        ({"words": "cup", "box_threshold": 1.01}, "field_out_of_range", "box_threshold"),
        ({"words": "cup", "text_threshold": -0.1}, "field_out_of_range", "text_threshold"),
        ({"words": "cup", "text_threshold": "much"}, "field_invalid", "text_threshold"),
        ({"words": "cup", "max_detections": 21}, "field_out_of_range", "max_detections"),
        ({"words": "cup", "max_detections": 1.5}, "field_invalid", "max_detections"),
        ({"words": "cup", "dilate": 65}, "field_out_of_range", "dilate"),
        ({"words": "cup", "dilate": True}, "field_invalid", "dilate"),
        ({"points": INSIDE, "category": "c" * 10_000}, "field_out_of_range", "category"),
        ({"points": INSIDE, "segmenter": "s" * 10_000}, "field_out_of_range", "segmenter"),
        ({"points": INSIDE, "segmenter": "\ud800"}, "body_invalid", None),
        ({"points": INSIDE, "format": "gif"}, "field_invalid", "format"),
        ({"points": INSIDE, "store": "perhaps"}, "field_invalid", "store"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_hostile_input_is_refused_by_name(
    alices_program: Client, image: str, fields: dict[str, Any], code: str, field: str | None
) -> None:
    answer = alices_program.post(URL, {"image": image, **fields}, content_type="application/json")
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (400, code, field), body["message"]
    assert len(body["message"]) < 400


def test_selections_at_the_very_edges_are_answered(alices_program: Client, image: str) -> None:
    edges: list[dict[str, Any]] = [
        {"points": [[0, 0]]},
        {"points": [[60, 40]]},
        {"points": [[5, 5, index % 2] for index in range(100)]},
        {"box": [-1e9, -1e9, 1e9, 1e9]},
        {"box": [59.5, 39.5, 60, 40]},
        {"outline": [[-1e30, -1e30], [1e30, -1e30], [1e30, 1e30]]},
        {"outline": [[5, 5]] * 1000},
    ]
    for fields in edges:
        answer = alices_program.post(URL, {"image": image, "store": False, **fields}, content_type="application/json")
        assert answer.status_code == 200, (fields, answer.content)


@pytest.mark.parametrize("sent", ["0" * 8 + "-0000-0000-0000-" + "0" * 12, "../../etc/passwd", "x" * 10_000, ""])
def test_no_id_leads_to_a_mask_that_is_not_there(alices_program: Client, image: str, sent: str) -> None:
    answer = alices_program.post(URL + "operations/", {"mask": sent}, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert alices_program.get(f"{URL}{sent[:40] or 'x'}/").status_code == 404


def disc(dtype: type[np.uint8] | type[np.uint16] = np.uint8) -> np.ndarray[Any, Any]:
    """60 x 90, in OpenCV's order of channels: a red disc of radius 12 around (60, 20) on grey."""
    pixels = np.full((60, 90, 3), 110, np.uint8)
    cv2.circle(pixels, (60, 20), 12, (20, 20, 220), -1)
    return pixels if dtype is np.uint8 else pixels.astype(np.uint16) * 257


def encoded(pixels: np.ndarray[Any, Any]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def with_alpha() -> bytes:
    """The disc is opaque, the rest is transparent."""
    alpha = cv2.circle(np.zeros((60, 90), np.uint8), (60, 20), 12, 255, -1)
    return encoded(np.dstack([disc(), alpha]))


def turned() -> bytes:
    """A JPEG whose pixels lie on their side, with the EXIF orientation that turns them back."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(disc()[:, :, ::-1])).save(file, "JPEG", quality=100, subsampling=0, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    "photo",
    [lambda: encoded(disc(np.uint16)), with_alpha, turned, lambda: encoded(cv2.cvtColor(disc(), cv2.COLOR_BGR2GRAY))],
    ids=["16 bits", "alpha", "exif orientation", "grey"],
)
def test_a_click_selects_the_same_object_in_every_kind_of_image(
    alices_program: Client, photo: Callable[[], bytes]
) -> None:
    sent = {"image": text(photo()), "points": [[60, 20]], "store": False}
    body = alices_program.post(URL, sent, content_type="application/json").json()
    assert (body["width"], body["height"]) == (90, 60), body
    data = base64.b64decode(body["mask"].split(",")[1])
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    wanted = cv2.circle(np.zeros((60, 90), np.uint8), (60, 20), 12, 255, -1)
    assert found is not None
    assert np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted) > 0.85


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 400, 3), (400, 1, 3)], ids=lambda shape: f"{shape[1]}x{shape[0]}")
@pytest.mark.parametrize("hint", [{"points": [[0, 0]]}, {"box": [0, 0, 1, 1]}], ids=["point", "box"])
def test_the_smallest_images_are_answered(alices_program: Client, shape: tuple[int, ...], hint: dict[str, Any]) -> None:
    sent = {"image": text(png(np.full(shape, 90, np.uint8))), "store": False, **hint}
    answer = alices_program.post(URL, sent, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["height"], answer.json()["width"]) == shape[:2]


def test_a_photo_of_12_megapixels_is_answered_at_its_size(alices_program: Client) -> None:
    large = cv2.resize(disc(), (4242, 2828), interpolation=cv2.INTER_LINEAR)
    point = [60 * 4242 / 90, 20 * 2828 / 60]
    sent = {"image": text(encoded(large)), "points": [point], "store": False, "format": "rle"}
    body = alices_program.post(URL, sent, content_type="application/json").json()
    assert body["mask"]["size"] == [2828, 4242]
    assert body["area"] == pytest.approx(np.pi * 12**2 * 4242 * 2828 / 90 / 60, rel=0.1)


def test_a_image_that_claims_too_many_pixels_is_refused(alices_program: Client) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    answer = alices_program.post(URL, {"image": text(bomb), "points": INSIDE}, content_type="application/json")
    assert answer.status_code == 400
    assert "60000" in answer.json()["message"].replace(",", "").replace(" ", "")
