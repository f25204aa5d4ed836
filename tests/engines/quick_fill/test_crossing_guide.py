"""A narrow hole, as of a wire, does not cut what crosses it."""

from __future__ import annotations

import numpy as np
import pytest

from inpainting.engines.quick_fill import filling
from inpainting.engines.quick_fill.guides.crossing_guide import MAX_DEPTH, is_narrow
from tests.support.quick_fill import disc, paint


@pytest.mark.parametrize("width", [6, 24])
def test_a_mast_behind_a_wire_is_not_cut(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    rows = np.arange(160, dtype=np.float32)[:, None, None]
    sky = np.random.default_rng(1).normal(0, 1.5, (160, 240, 3)) + (90, 130, 180) + 0.2 * rows
    mast = slice(110, 110 + width)
    sky[:, mast] = 235, 230, 210
    image = sky.clip(0, 255).astype(np.uint8)
    mask = np.zeros((160, 240), np.uint8)
    mask[70:86] = 255

    def cut_off() -> float:
        """The share of the mast behind the wire that is sky."""
        painted = paint(np.where(mask[:, :, None] > 0, np.uint8(0), image), mask)[0]
        return float((painted[70:86, mast, 0] < 180).mean())

    assert cut_off() < 0.1
    monkeypatch.setattr(filling, "is_narrow", lambda hole: False)
    assert cut_off() > 0.5, "without a guide the image is no example"


def test_a_hole_is_narrow_where_no_pixel_is_deep_in_it() -> None:
    plane = np.zeros((80, 200), bool)
    plane[20 : 20 + 2 * int(MAX_DEPTH) - 2] = True
    assert is_narrow(plane)
    plane[20:60, 50:100] = True
    assert not is_narrow(plane)


def test_a_disc_is_not_narrow() -> None:
    assert not is_narrow(disc((80, 80), (40, 40), 8) > 0)
