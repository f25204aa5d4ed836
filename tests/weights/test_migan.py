"""The published MI-GAN through the erase engine, against its graph run as its authors publish it.

The reference is MIGAN_Pipeline of the authors' scripts/create_onnx_pipeline.py, which is the graph: the photo as it is,
with the object in the hole, and a mask of 255 where the photo is known.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

import onnxruntime
from skimage import data

from inpainting.catalog.specs import ModelSpec
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Step
from inpainting.engines.erase.engine import Erase
from inpainting.engines.painting import paint
from tests.support.fakes import planned, window_plan
from tests.weights.published import PublishedFile

pytestmark = pytest.mark.weights

Reference = Callable[[NDArray[np.uint8], Mask], NDArray[np.uint8]]

FADED_PIXELS = 3
"""Inside the hole's border: the graph dilates the known part by one pixel and blurs it by two."""
PHOTOS = {
    "astronaut": (data.astronaut, (330, 90, 460, 240)),
    "cat": (data.chelsea, (60, 110, 170, 260)),
    "coffee": (data.coffee, (300, 330, 420, 390)),
    "rocket": (data.rocket, (280, 90, 350, 330)),
}
"""Photos of scikit-image, and left, top, right and bottom of an ellipse that is erased."""


@pytest.fixture(scope="module")
def migan(published_file: PublishedFile) -> ModelSpec:
    return ModelSpec(slug="migan", label="MI-GAN", family="migan", path=published_file("migan"))


def ignore_step(step: Step) -> None:
    pass


def photo_and_mask(name: str) -> tuple[NDArray[np.uint8], Mask]:
    make, (left, top, right, bottom) = PHOTOS[name]
    photo = np.ascontiguousarray(make()[:, :, :3])
    mask = np.zeros(photo.shape[:2], np.uint8)
    centre, axes = ((left + right) // 2, (top + bottom) // 2), ((right - left) // 2, (bottom - top) // 2)
    return photo, np.asarray(cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, cv2.FILLED))


@pytest.fixture(scope="module")
def engine() -> Erase:
    return Erase()


@pytest.fixture(scope="module")
def reference(migan: ModelSpec) -> Reference:
    """reference(photo, mask) -> the graph's result."""
    session = onnxruntime.InferenceSession(migan.path, providers=["CPUExecutionProvider"])

    def run(photo: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
        feeds = {"image": photo.transpose(2, 0, 1)[None].copy(), "mask": 255 - mask[None, None]}
        (result,) = session.run(None, feeds)
        return np.ascontiguousarray(result[0].transpose(1, 2, 0))

    return run


def erased(engine: Erase, spec: ModelSpec, photo: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """The whole result, composited."""
    plan = planned(InpaintRequest(CanonicalImage(photo), mask, PaintSettings()), engine, spec)
    (done,) = paint(plan, engine, ignore_step)
    assert outside_mask_changed_pixels(CanonicalImage(photo), done.image, mask) == 0
    return np.asarray(done.image.pixels, np.uint8)


def border_step(image: NDArray[np.uint8], mask: Mask) -> float:
    """The mean difference in levels between each pixel of the hole and its neighbours outside."""
    levels, inside = image.astype(np.float32), mask > 0
    across, down = np.abs(np.diff(levels, axis=1)).mean(axis=2), np.abs(np.diff(levels, axis=0)).mean(axis=2)
    steps = across[inside[:, 1:] != inside[:, :-1]], down[inside[1:] != inside[:-1]]
    return float(np.concatenate(steps).mean())


def test_a_photo_of_the_networks_size_equals_the_graphs_result(
    engine: Erase, migan: ModelSpec, reference: Reference
) -> None:
    """Within FADED_PIXELS of the border the reference holds parts of the object."""
    photo, mask = photo_and_mask("astronaut")
    plan = window_plan(InpaintRequest(CanonicalImage(photo), mask, PaintSettings()), engine, migan)
    (painted,) = engine.inpaint(plan, ignore_step)
    depth = cv2.distanceTransform(mask, cv2.DIST_C, 3)
    assert np.array_equal(painted[depth > FADED_PIXELS], reference(photo, mask)[depth > FADED_PIXELS])
    assert np.array_equal(painted[mask == 0], photo[mask == 0])


@pytest.mark.parametrize("name", PHOTOS)
def test_no_outline_is_left_at_the_border_of_the_hole(
    engine: Erase, migan: ModelSpec, reference: Reference, name: str
) -> None:
    photo, mask = photo_and_mask(name)
    ours, theirs = (border_step(image, mask) for image in (erased(engine, migan, photo, mask), reference(photo, mask)))
    print(f"{name}: {ours:.2f} levels, the graph alone {theirs:.2f}")
    assert ours <= theirs


def test_nothing_of_the_object_is_left_inside_the_hole(engine: Erase, migan: ModelSpec, reference: Reference) -> None:
    """A black object that is marked to its very edge: the pixels inside the edge become as light as those outside."""
    photo, mask = photo_and_mask("cat")
    photo[mask > 0] = 0
    kernel = np.ones((3, 3), np.uint8)
    inner = (mask > 0) & (cv2.erode(mask, kernel) == 0)
    outer = (mask == 0) & (cv2.dilate(mask, kernel) > 0)

    def darkness(image: NDArray[np.uint8]) -> float:
        return float(image[outer].mean() - image[inner].mean())

    ours, theirs = darkness(erased(engine, migan, photo, mask)), darkness(reference(photo, mask))
    print(f"darker by {ours:.1f} levels, the graph alone by {theirs:.1f}")
    assert abs(ours) < 4 < theirs
