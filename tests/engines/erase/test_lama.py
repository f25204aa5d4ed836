"""What LaMa gets and what becomes of its result, against the way in which Carve/LaMa-ONNX publishes lama_fp32.onnx.

Its inputs are `image` [1, 3, 512, 512], RGB from 0 to 1, and `mask` [1, 1, 512, 512], 1 in the hole and 0 elsewhere,
both float32; its output, [1, 3, 512, 512], is RGB from 0 to 255 (huggingface.co/Carve/LaMa-ONNX).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image
from skimage import data

pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

from inpainting.catalog.specs import ModelSpec
from inpainting.core.image import CanonicalImage
from inpainting.core.masks import grown_mask
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Step
from inpainting.engines.erase import onnx_networks
from inpainting.engines.erase.engine import Erase
from inpainting.engines.painting import paint
from inpainting.networks.onnx_sessions import run_session
from tests.support import tiny_networks
from tests.support.fakes import planned, window_plan

RESULT = (12.4, 250.7, 259.0)
"""Red, green and blue of each pixel that the network returns; the published one also exceeds 255 slightly."""
PHOTO: NDArray[np.uint8] = np.ascontiguousarray(data.astronaut())
HOLE = np.s_[300:360, 100:180]


@pytest.fixture
def lama(tmp_path: Path) -> ModelSpec:
    """A network with the inputs, the output and the fixed size of the published one, which returns RESULT."""
    nodes = [
        helper.make_node("Mul", ["image", "zero"], ["black"]),
        helper.make_node("Add", ["black", "colour"], ["output"]),
    ]
    numbers = [tiny_networks.number("zero", 0), tiny_networks.number("colour", np.reshape(RESULT, (1, 3, 1, 1)))]
    path = tmp_path / "lama_fp32.onnx"
    path.write_bytes(tiny_networks.saved(nodes, numbers, tiny_networks.FLOAT, (512, 512), "output"))
    return ModelSpec(slug="lama", label="LaMa", family="lama", path=path)


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, NDArray[Any]]]:
    """The tensors of each run, as onnxruntime gets them."""
    given: list[dict[str, NDArray[Any]]] = []

    def recorded(session: Any, label: str, feeds: dict[str, NDArray[Any]], *more: Any) -> NDArray[Any]:
        given.append(feeds)
        return run_session(session, label, feeds, *more)

    monkeypatch.setattr(onnx_networks, "run_session", recorded)
    return given


def ignore_step(step: Step) -> None:
    pass


def mask_of(value: int, shape: tuple[int, int] = (512, 512)) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    mask[HOLE] = value
    return mask


@pytest.mark.parametrize("value", [255, 1], ids=["white", "partial"])
def test_it_gets_the_photo_from_zero_to_one_and_a_mask_of_ones_in_the_hole(
    lama: ModelSpec, fed: list[dict[str, NDArray[Any]]], value: int
) -> None:
    mask = mask_of(value)
    list(Erase().inpaint(window_plan(InpaintRequest(CanonicalImage(PHOTO), mask), Erase(), lama), ignore_step))
    (feeds,) = fed
    assert feeds.keys() == {"image", "mask"}
    assert {tensor.dtype.name for tensor in feeds.values()} == {"float32"}
    assert np.array_equal(feeds["mask"], (mask > 0)[None, None].astype(np.float32))
    known = mask == 0
    assert np.allclose(feeds["image"][0].transpose(1, 2, 0)[known], PHOTO[known] / 255, atol=1e-6)


def test_a_larger_photo_is_scaled_to_its_512_pixels(lama: ModelSpec, fed: list[dict[str, NDArray[Any]]]) -> None:
    photo = np.asarray(Image.fromarray(PHOTO).resize((1024, 1024)))
    mask = np.zeros((1024, 1024), np.uint8)
    mask[200:824, 200:824] = 255  # with its context, the whole photo
    list(Erase().inpaint(window_plan(InpaintRequest(CanonicalImage(photo), mask), Erase(), lama), ignore_step))
    (feeds,) = fed
    assert (feeds["image"].shape, feeds["mask"].shape) == ((1, 3, 512, 512), (1, 1, 512, 512))
    hole = feeds["mask"][0, 0] > 0
    assert set(np.unique(feeds["mask"])) == {0, 1}
    assert hole[100:412, 100:412].all()
    assert hole.sum() <= 314**2
    smaller = np.asarray(Image.fromarray(photo).resize((512, 512), Image.Resampling.BOX), np.float64) / 255
    difference = np.abs(feeds["image"][0].transpose(1, 2, 0) - smaller)[~hole]
    assert difference.mean() < 0.01


def test_its_result_from_0_to_255_is_in_the_hole_alone(lama: ModelSpec) -> None:
    mask = mask_of(255)
    (raw,) = Erase().inpaint(window_plan(InpaintRequest(CanonicalImage(PHOTO), mask), Erase(), lama), ignore_step)
    assert np.array_equal(raw[mask > 0], np.tile(np.array([12, 251, 255], np.uint8), (60 * 80, 1)))
    assert np.array_equal(raw[mask == 0], PHOTO[mask == 0])


def test_the_image_is_the_photo_outside_of_the_effective_mask(lama: ModelSpec) -> None:
    request = InpaintRequest(CanonicalImage(PHOTO), mask_of(255), PaintSettings(mask_grow=9))
    (done,) = paint(planned(request, Erase(), lama), Erase(), ignore_step)
    outside = grown_mask(request.mask, request.settings) == 0
    assert 0 < (~outside).sum() != (request.mask > 0).sum()
    assert np.array_equal(done.image.pixels[outside], PHOTO[outside])
    assert not (done.image.pixels[~outside] == PHOTO[~outside]).all(axis=-1).any()
