"""What every engine must do: a subclass makes the engine, and the model that it paints with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.errors import Cancelled
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Engine, OnStep, Step
from inpainting.engines.painting import Painting, paint
from tests.support.fakes import planned
from tests.support.quick_fill import disc


class EngineContract:
    """Painting a photo with a hole."""

    name: ClassVar[str]
    """Of the engine, in the registry."""
    settings: ClassVar[dict[str, Any]] = {}
    """Settings of all requests."""
    cancelled_at: ClassVar[tuple[int, ...]] = (1, 2)
    """Numbers of steps of which one cancels the generation."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "cancelled_step" in metafunc.fixturenames:
            metafunc.parametrize("cancelled_step", self.cancelled_at)

    @pytest.fixture
    def photo(self) -> NDArray[np.uint8]:
        return np.asarray(cv2.resize(data.coffee(), (120, 80), interpolation=cv2.INTER_AREA), np.uint8)

    @pytest.fixture
    def hole(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A disc so large that another seed fills it otherwise."""
        return disc(photo.shape, (60, 40), 20)

    def engine(self, folder: Path) -> tuple[Engine, ModelSpec | None]:
        """A new engine and its model, whose files may be written to the folder."""
        raise NotImplementedError

    def painted(
        self, folder: Path, photo: NDArray[np.uint8], mask: NDArray[np.uint8], on_step: OnStep, **settings: Any
    ) -> list[Painting]:
        engine, model = self.engine(folder)
        wanted = PaintSettings(**{"seed": 5, **self.settings, **settings})
        request = InpaintRequest(CanonicalImage(photo), mask, wanted)
        return list(paint(planned(request, engine, model), engine, on_step))

    def test_pixels_outside_the_mask_and_the_inputs_are_unchanged(
        self, tmp_path: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
    ) -> None:
        before = photo.tobytes(), hole.tobytes()
        found = self.painted(tmp_path, photo, hole, lambda step: None, num_images=2)
        assert len(found) == 2
        for painting in found:
            pixels = np.asarray(painting.image.pixels)
            assert pixels.shape == photo.shape
            assert pixels.dtype == np.uint8
            assert outside_mask_changed_pixels(CanonicalImage(photo), painting.image, painting.mask) == 0
            assert (pixels[hole > 0] != photo[hole > 0]).any()
        assert (photo.tobytes(), hole.tobytes()) == before

    def test_the_same_request_gives_the_same_bytes(
        self, tmp_path: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
    ) -> None:
        (first,), (again,) = (self.painted(tmp_path, photo, hole, lambda step: None) for _ in range(2))
        assert np.asarray(first.image.pixels).tobytes() == np.asarray(again.image.pixels).tobytes()

    def test_progress_never_falls_and_ends_complete(
        self, tmp_path: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
    ) -> None:
        steps: list[Step] = []
        self.painted(tmp_path, photo, hole, steps.append)
        known = [step.done / step.of for step in steps if step.of]
        assert len(known) >= 2
        assert all(before <= after for before, after in pairwise(known))
        assert known[-1] == 1

    def test_a_cancellation_leaves_the_engine(
        self, tmp_path: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8], cancelled_step: int
    ) -> None:
        calls = 0

        def cancel(step: Step) -> None:
            nonlocal calls
            calls += 1
            if calls == cancelled_step:
                raise Cancelled

        with pytest.raises(Cancelled):
            self.painted(tmp_path, photo, hole, cancel)
        assert calls >= cancelled_step
