"""Machine code returns what the NumPy code returns, to the last bit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from inpainting.core import compiled
from inpainting.engines.quick_fill import compile as compile_command
from inpainting.engines.quick_fill.filling import Search, fill
from inpainting.engines.quick_fill.labelling.hole_graph import Bytes
from inpainting.engines.quick_fill.labelling.offsets import find_matches
from tests.support.quick_fill import disc

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")


def filled(image: Bytes, hole: Bytes) -> Bytes:
    return fill(image, hole == 0, hole > 0, Search(guided=False), np.random.default_rng(5), lambda share: None).image


@pytest.mark.parametrize("photo", ["coffee", "astronaut"])
def test_a_filling_is_the_same(photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = cv2.resize(getattr(skimage.data, photo)(), (240, 180), interpolation=cv2.INTER_AREA)
    hole = disc(image.shape, (130, 90), 40)
    fast = filled(image, hole)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    assert filled(image, hole).tobytes() == fast.tobytes()
    assert not np.array_equal(fast, image)


def test_equally_similar_patches_are_found_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.float32)
    lab = np.tile(tile, (8, 9, 1))
    known = np.ones(lab.shape[:2], bool)
    known[40:60, 30:50] = False
    arguments = lab, known, known, 300
    fast = find_matches(*arguments, np.random.default_rng(2), lambda share: None)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    slow = find_matches(*arguments, np.random.default_rng(2), lambda share: None)
    assert len(slow) > 100
    np.testing.assert_array_equal(fast, slow)


def test_the_command_compiles_each_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from inpainting.engines.quick_fill import kernels
    from inpainting.engines.quick_fill.guides import patch_match

    called: set[str] = set()
    for module in (kernels, patch_match):
        for name, value in vars(module).items():
            if hasattr(value, "py_func") and value.__module__ == module.__name__:
                monkeypatch.setattr(module, name, noted(called, name, value))
    compile_command.compile_kernels()
    # the others are called by these
    assert called == {"find_nearest", "compute_mismatch", "build_cut", "search", "vote"}


def noted(called: set[str], name: str, function: object) -> object:
    def call(*arguments: object) -> object:
        called.add(name)
        return function(*arguments)  # type: ignore[operator]

    return call
