"""`POST /api/masks/` with input that no client should send: every answer is a clear refusal, never a 500."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.test import Client

from tests.api.bodies import text
from tests.conftest import png

URL = "/api/masks/"
INSIDE = [[10, 10]]


@pytest.fixture(scope="module")
def picture() -> str:
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
    alices_program: Client, picture: str, fields: dict[str, Any], code: str, field: str | None
) -> None:
    answer = alices_program.post(URL, {"image": picture, **fields}, content_type="application/json")
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (400, code, field), body["message"]
    assert len(body["message"]) < 400


def test_selections_at_the_very_edges_are_answered(alices_program: Client, picture: str) -> None:
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
        answer = alices_program.post(URL, {"image": picture, "store": False, **fields}, content_type="application/json")
        assert answer.status_code == 200, (fields, answer.content)


@pytest.mark.parametrize("sent", ["0" * 8 + "-0000-0000-0000-" + "0" * 12, "../../etc/passwd", "x" * 10_000, ""])
def test_no_id_leads_to_a_mask_that_is_not_there(alices_program: Client, picture: str, sent: str) -> None:
    answer = alices_program.post(URL + "operations/", {"mask": sent}, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert alices_program.get(f"{URL}{sent[:40] or 'x'}/").status_code == 404
