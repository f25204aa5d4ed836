"""`include_shadow` over HTTP: the effective mask grows over the shadow, and nothing else changes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from django.test import Client

from inpainting.core.codecs import decode_image
from tests.api.bodies import shape_a
from tests.api.painting import metadata_for, result
from tests.conftest import png
from tests.support.shadows import Bytes, box, gravel, placed, with_cast_shadow

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
NOTHING_FOUND = "No shadow or mirror image of what is marked was found, so the mask is as it was sent."


def plan(program: Client, body: dict[str, Any]) -> tuple[Bytes, list[str]]:
    """The effective mask and the warnings of a plan."""
    found = program.post("/api/plan/", body).json()
    mask = decode_image(base64.b64decode(found["mask"].split(",")[1])).image.pixels
    return np.asarray(mask[:, :, 0], np.uint8), found["warnings"]


def test_a_plan_shows_the_mask_with_the_shadow(alices_program: Client) -> None:
    image, mask, shadow = with_cast_shadow()
    without, _ = plan(alices_program, shape_a(png(image), png(255 - mask)))
    grown, warnings = plan(alices_program, shape_a(png(image), png(255 - mask), include_shadow="true"))
    assert np.array_equal(without, mask)
    assert (grown >= mask).all()
    assert (grown[shadow > 0] > 0).mean() > 0.9
    assert not any("shadow" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({}, NOTHING_FOUND),
        (
            {"outpaint_left": "40"},
            "include_shadow was not read: no shadow is looked for where an image is outpainted.",
        ),
    ],
)
def test_a_warning_says_why_the_mask_has_not_grown(
    alices_program: Client, fields: dict[str, str], warning: str
) -> None:
    body = shape_a(png(placed(gravel(), box())), png(255 - box()), **fields)
    assert warning not in plan(alices_program, body)[1]
    body = shape_a(png(placed(gravel(), box())), png(255 - box()), include_shadow="true", **fields)
    assert warning in plan(alices_program, body)[1]


def test_the_shadow_is_painted_and_nothing_beyond_the_effective_mask_changes(alices_program: Client) -> None:
    image, mask, shadow = with_cast_shadow()
    fields = {"include_shadow": "true", "engine": "quick-fill"}
    grown, _ = plan(alices_program, shape_a(png(image), png(255 - mask), **fields))
    metadata = metadata_for(alices_program, png(image), png(255 - mask), **fields)
    assert metadata["include_shadow"] is True
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    painted = result()
    assert np.array_equal(painted[grown == 0], image[grown == 0])
    assert painted[shadow > 0].mean() > 1.4 * image[shadow > 0].mean(), "lit as the ground around"
