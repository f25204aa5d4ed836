"""The colour match: a linear change of tone, fitted on pairs of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from inpainting.core.colour_match import fit_colour_match


def test_repainted_pairs_do_not_disturb_the_fit() -> None:
    rng = np.random.default_rng(0)
    kept = rng.uniform(20, 200, (3000, 3)).astype(np.float32)
    gain, offset = np.array([[1.15, 1.0, 0.85], [8, -12, 20]], np.float32)
    painted = kept * gain + offset + rng.normal(0, 2, kept.shape).astype(np.float32)
    painted[:600] = rng.uniform(0, 255, (600, 3))
    match = fit_colour_match(painted, kept)
    assert match is not None
    assert np.abs(match(painted[600:]) - kept[600:]).mean() < 3
    assert match.gain == pytest.approx([1 / 1.15, 1.0, 1 / 0.85], rel=0.03)


def test_unrelated_pixels_have_no_contrast_to_match() -> None:
    rng = np.random.default_rng(0)
    match = fit_colour_match(
        rng.uniform(0, 255, (3000, 1)).astype(np.float32), rng.normal(90, 5, (3000, 1)).astype(np.float32)
    )
    assert match is None or match.gain == pytest.approx([1.0])


def test_equal_pixels_and_too_few_have_no_colour_match() -> None:
    some = np.random.default_rng(0).uniform(0, 255, (100, 3)).astype(np.float32)
    assert fit_colour_match(some, some) is None
    assert fit_colour_match(some[:5], some[:5] + 9) is None
