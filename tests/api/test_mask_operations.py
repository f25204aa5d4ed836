"""`POST /api/masks/operations/`: masks are changed, combined and converted in every shape of the body."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from PIL import Image

from inpainting.api import parsers
from tests.api.bodies import data_url, text, upload
from tests.conftest import png

URL = "/api/masks/operations/"
SQUARE = np.zeros((20, 30), np.uint8)
SQUARE[5:10, 10:18] = 255
OUTLINE = {"size": [20, 30], "path": "M10 5L18 5L18 10L10 10Z"}


def as_json(program: Client, **fields: Any) -> Any:
    return program.post(URL, fields, content_type="application/json")


def answered(answer: Any) -> NDArray[Any]:
    """The mask of a PNG."""
    assert answer.status_code == 200, answer.content
    head, _, encoded = answer.json()["mask"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(BytesIO(base64.b64decode(encoded))) as mask:
        return np.asarray(mask)


def test_operations_are_applied_in_order_in_every_shape(alices_program: Client) -> None:
    operations = [{"name": "invert"}, {"name": "shrink", "pixels": 1}, {"name": "invert"}]
    answers = [
        as_json(alices_program, mask=data_url(png(SQUARE)), operations=operations),
        as_json(alices_program, mask=text(png(SQUARE)), operations=operations),
        as_json(alices_program, mask=OUTLINE, operations=operations),
        alices_program.post(URL, {"mask": upload(png(SQUARE)), "operations": json.dumps(operations)}),
        alices_program.post(URL, {"mask": json.dumps(OUTLINE), "operations": json.dumps(operations)}),
    ]
    for answer in answers:
        mask = answered(answer)
        assert np.array_equal(mask[5:10, 10:18], SQUARE[5:10, 10:18])
        assert np.count_nonzero(mask) == 40 + 2 * 5 + 2 * 8  # a disc of radius 1 has no corners
        assert (answer.json()["box"], answer.json()["area"]) == ([9, 4, 19, 11], 66)
        assert (answer.json()["width"], answer.json()["height"]) == (30, 20)


def test_masks_are_converted_between_all_formats(alices_program: Client) -> None:
    as_path = as_json(alices_program, mask=text(png(SQUARE)), format="svg").json()["mask"]
    assert as_path == OUTLINE
    as_counts = as_json(alices_program, mask=as_path, format="rle").json()["mask"]
    assert as_counts["size"] == [20, 30]
    assert np.array_equal(answered(as_json(alices_program, mask=as_counts)), SQUARE)
    lengths = [205, 5, *[15, 5] * 7, 250]
    assert np.array_equal(answered(as_json(alices_program, mask={"size": [20, 30], "counts": lengths})), SQUARE)
    halves = [[10, 5, 15, 5, 15, 10, 10, 10], [13, 5, 18, 5, 18, 10, 13, 10]]  # they overlap
    assert np.array_equal(answered(as_json(alices_program, mask={"size": [20, 30], "polygons": halves})), SQUARE)


def test_masks_are_combined_whatever_their_formats(alices_program: Client) -> None:
    row = {"size": [20, 30], "path": "M0 7H30V8H0Z"}
    for name, area in (("add", 40 + 22), ("subtract", 40 - 8), ("intersect", 8)):
        operations = [{"name": name, "mask": row}]
        assert as_json(alices_program, mask=text(png(SQUARE)), operations=operations).json()["area"] == area


def test_the_polarity_reads_black_and_transparency(alices_program: Client) -> None:
    black = as_json(alices_program, mask=text(png(255 - SQUARE)), mask_polarity="black_repaints")
    assert np.array_equal(answered(black), SQUARE)
    cut_out = np.dstack([np.full((20, 30, 3), 90, np.uint8), 255 - SQUARE])
    alpha = as_json(alices_program, mask=text(png(cut_out)), mask_polarity="transparent_repaints")
    assert np.array_equal(answered(alpha), SQUARE)


def test_objects_are_selected_in_every_format(alices_program: Client) -> None:
    image = np.full((20, 30, 3), 110, np.uint8)
    image[SQUARE > 0] = (220, 20, 20)
    fields = {"image": text(png(image)), "points": [[14, 7]], "format": "rle"}
    found = alices_program.post("/api/masks/", fields, content_type="application/json").json()["mask"]
    assert found["size"] == [20, 30]
    assert as_json(alices_program, mask=found).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({}, 400, "field_missing", "mask"),
        ({"mask": 5}, 400, None, "mask"),
        ({"mask": [1]}, 400, None, "mask"),
        ({"mask": {}}, 400, "mask_invalid", "mask"),
        ({"mask": {"size": [0, 5], "path": "M0 0"}}, 400, "field_out_of_range", "mask"),
        ({"mask": {"size": [9000, 9000], "path": "M0 0"}}, 400, "field_out_of_range", "mask"),
        ({"mask": {"size": [20, True], "path": "M0 0"}}, 400, "mask_invalid", "mask"),
        ({"mask": {"size": [20, 30], "path": 5}}, 400, "mask_invalid", "mask"),
        ({"mask": {"size": [20, 30], "path": "M0 0", "counts": "0"}}, 400, "mask_invalid", "mask"),
        ({"mask": {"size": [20, 30], "counts": [1]}}, 400, "mask_invalid", "mask"),
        ({"mask": {"size": [20, 30], "polygons": [[0, 0, 1, 1]]}}, 400, "mask_invalid", "mask"),
        ({"mask": {"size": [20, 30], "polygons": [[0, 0, 1, 1, 1]] * 101}}, 400, "field_out_of_range", "mask"),
        ({"mask": OUTLINE, "operations": "grow"}, 400, None, "operations"),
        ({"mask": OUTLINE, "operations": ["grow"]}, 400, None, "operations"),
        ({"mask": OUTLINE, "operations": [{"name": 5}]}, 400, None, "operations"),
        ({"mask": OUTLINE, "operations": [{"name": "grow", "pixels": 1.5}]}, 400, None, "operations"),
        ({"mask": OUTLINE, "operations": [{"name": "grow", "pixels": 300}]}, 400, "field_out_of_range", "operations"),
        ({"mask": OUTLINE, "operations": [{"name": "invert"}] * 11}, 400, "field_out_of_range", "operations"),
        ({"mask": OUTLINE, "operations": [{"name": "add"}]}, 400, "field_missing", "operations[0].mask"),
        (
            {"mask": OUTLINE, "operations": [{"name": "add", "mask": {"size": [2, 2], "path": ""}}]},
            *(400, "mask_size_mismatch", "operations"),
        ),
        (
            {"mask": OUTLINE, "operations": [{"name": "add", "mask": {"size": [2, 2]}}]},
            *(400, "mask_invalid", "operations[0].mask"),
        ),
        ({"mask": OUTLINE, "operations": '[{"name": "\\ud800"}]'}, 400, None, "operations"),
        ({"mask": OUTLINE, "operations": "[" + "[]," * 20_000 + "[]]"}, 400, "body_too_many_values", None),
        (
            {"mask": {"size": [6000, 6000], "polygons": [[0, 0, 6000, 0, 6000, 6000]] * 3}},
            *(400, "mask_too_complex", "mask"),
        ),
        ({"mask": OUTLINE, "format": "gif"}, 400, None, "format"),
        ({"mask": OUTLINE, "mask_polarity": "grey"}, 400, None, "mask_polarity"),
    ],
)
def test_bad_masks_and_operations_are_refused(
    alices_program: Client, fields: dict[str, Any], status: int, code: str | None, field: str | None
) -> None:
    answer = as_json(alices_program, **fields)
    assert answer.status_code == status, answer.content
    problem = answer.json()
    assert problem.get("field") == field, problem
    assert code is None or problem["code"] == code


def test_all_masks_of_a_request_share_one_budget(alices_program: Client, settings: Any) -> None:
    heavy = {"size": [20, 30], "path": "M0 0" + "Z" * 300_000}
    assert as_json(alices_program, mask=heavy).status_code == 200
    refused = as_json(alices_program, mask=heavy, operations=[{"name": "add", "mask": heavy}])
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (400, "mask_too_complex")
    assert problem["field"] == "operations[0].mask"
    settings.MAX_MEGAPIXELS = 1
    large = [{"size": [1000, 1000], "counts": [10**6]}] * 5
    operations = [{"name": "add", "mask": mask} for mask in large[1:]]
    assert as_json(alices_program, mask=large[0], operations=operations[:3]).status_code == 200
    assert as_json(alices_program, mask=large[0], operations=operations).json()["code"] == "mask_too_complex"


def test_numbers_of_many_digits_are_not_converted(alices_program: Client) -> None:
    digits = "1" * (parsers.MAX_DIGITS + 1)
    for body in ('{"mask": ' + digits + "}", '{"mask": "x", "operations": "[' + digits + ']"}'):
        refused = alices_program.post("/api/masks/operations/", body, content_type="application/json")
        assert refused.status_code == 400, refused.content
        problem = refused.json()
        assert problem["code"] == "body_invalid" or problem["message"] == "operations is not JSON.", problem
