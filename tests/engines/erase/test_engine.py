"""The erase engine on tiny networks with the inputs, ranges and polarity of the published ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

from inpainting.catalog.specs import ModelSpec
from inpainting.core import compiled
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.errors import Cancelled, EngineFailed, InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.moderation.policy import OFF
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Engine, OnStep, Step
from inpainting.engines.erase import network_inputs, onnx_networks
from inpainting.engines.erase.declaration import ERASE
from inpainting.engines.erase.engine import PREVIEW_SIDE, Erase
from inpainting.engines.painting import Painting, paint
from inpainting.engines.plan import Planner
from tests.contracts.engine import EngineContract
from tests.support import tiny_networks
from tests.support.fakes import OneModel, planned, pretend_missing, window_plan

GRAPHS: dict[str, Callable[..., bytes]] = {"lama": tiny_networks.lama, "migan": tiny_networks.migan}


@dataclass
class Eraser:
    """The engine with one network."""

    spec: ModelSpec
    engine: Erase = field(default_factory=Erase)

    def inpaint(self, request: InpaintRequest, on_step: OnStep) -> list[NDArray[np.uint8]]:
        return list(self.engine.inpaint(window_plan(request, self.engine, self.spec), on_step))


@pytest.fixture
def eraser(tmp_path: Path) -> Callable[..., Eraser]:
    """eraser(family, graph) -> the engine with that one network."""

    def make(family: str = "lama", graph: bytes | None = None) -> Eraser:
        path = tmp_path / "network.onnx"
        path.write_bytes(GRAPHS[family]() if graph is None else graph)
        return Eraser(ModelSpec(slug="tiny", label="Tiny", family=family, path=path))

    return make


def wall(mask: NDArray[np.uint8], *, colour: tuple[int, int, int] = (200, 120, 40), **more: Any) -> InpaintRequest:
    """A wall of one colour with a dark object where the mask is."""
    pixels = np.empty((*mask.shape, 3), np.uint8)
    pixels[:] = colour
    pixels[mask > 0] = (3, 2, 1)
    return InpaintRequest(CanonicalImage(pixels), mask, PaintSettings(**more))


def holes(*marked: tuple[slice, slice], shape: tuple[int, int] = (700, 900)) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    for place in marked:
        mask[place] = 255
    return mask


def ignore_step(step: Step) -> None:
    pass


def painted(eraser: Eraser, request: InpaintRequest) -> Painting:
    return paint(planned(request, eraser.engine, eraser.spec), eraser.engine, ignore_step)[0]


class TestLama(EngineContract):
    name = "erase"
    family = "lama"

    def engine(self, folder: Path) -> tuple[Engine, ModelSpec | None]:
        path = folder / "network.onnx"
        path.write_bytes(GRAPHS[self.family]())
        return Erase(), ModelSpec(slug="tiny", label="Tiny", family=self.family, path=path)


class TestMigan(TestLama):
    family = "migan"


@pytest.mark.parametrize("family", ["lama", "migan"])
@pytest.mark.parametrize(
    "mask",
    [
        holes(np.s_[50:90, 60:120], np.s_[500:640, 600:800]),
        holes(np.s_[100:650, 100:800]),  # larger than the network's window
        holes(np.s_[300:304, :]),
        holes(np.s_[5:20, 8:30], shape=(40, 50)),  # an image smaller than it
    ],
    ids=["two regions", "large", "wire", "small image"],
)
def test_an_object_before_a_wall_is_replaced_by_the_wall(
    eraser: Callable[..., Eraser], family: str, mask: NDArray[np.uint8]
) -> None:
    request = wall(mask)
    # The output before colours are matched: a wrong range or polarity would show here.
    (raw,) = eraser(family).inpaint(request, ignore_step)
    assert np.abs(raw.astype(int) - (200, 120, 40)).max() <= 2
    done = painted(eraser(family), request)
    assert outside_mask_changed_pixels(request.image, done.image, done.mask) == 0


@pytest.fixture
def inputs_of_runs(monkeypatch: pytest.MonkeyPatch) -> list[network_inputs.Inputs]:
    """The input tensors of each run."""
    given: list[network_inputs.Inputs] = []

    def recording(make: Callable[..., network_inputs.Inputs]) -> Callable[..., network_inputs.Inputs]:
        def recorded(image: Any, hole: Any) -> network_inputs.Inputs:
            given.append(make(image, hole))
            return given[-1]

        return recorded

    for name in ("lama_inputs", "migan_inputs"):
        monkeypatch.setattr(network_inputs, name, recording(getattr(network_inputs, name)))
    return given


def test_the_hole_holds_the_nearest_known_colours() -> None:
    image = np.zeros((9, 12, 3), np.uint8)
    image[:, :6], image[:, 6:] = (200, 120, 40), (20, 60, 220)
    hole = np.zeros((9, 12), np.bool_)
    hole[2:7, 3:9] = True
    photo = image.copy()
    photo[hole] = (3, 2, 1)
    assert np.array_equal(network_inputs.fill_hole_with_nearest(photo, hole), image)
    everything = np.ones_like(hole)
    assert np.array_equal(network_inputs.fill_hole_with_nearest(photo, everything), photo)


@pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")
def test_a_hole_larger_than_twice_the_window_is_filled_with_pixels_of_the_photo(
    eraser: Callable[..., Eraser], monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = holes((slice(400, 960), slice(420, 980)), shape=(1400, 1400))
    grain = np.random.default_rng(1).integers(-40, 41, mask.shape)[:, :, np.newaxis]
    request = wall(mask)
    pixels = np.where(mask[:, :, np.newaxis] > 0, request.image.pixels, request.image.pixels + grain).astype(np.uint8)
    request = replace(request, image=CanonicalImage(pixels))
    grainy = eraser().inpaint(request, ignore_step)[0]
    # quick-fill copies each block of pixels with at most one change of light
    assert grainy[mask > 0].std(axis=0) == pytest.approx(pixels[mask == 0].std(axis=0), rel=0.1)
    np.testing.assert_array_equal(grainy[mask == 0], pixels[mask == 0])
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    assert eraser().inpaint(request, ignore_step)[0][mask > 0].std(axis=0).max() < 5


@pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")
def test_beyond_the_edges_of_an_image_pixels_of_it_are_copied(
    eraser: Callable[..., Eraser], monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = holes(np.s_[:, :60], np.s_[100:130, 140:180], shape=(220, 260))
    grain = np.random.default_rng(1).integers(-40, 41, mask.shape)[:, :, np.newaxis]
    request = wall(mask)
    pixels = np.where(mask[:, :, np.newaxis] > 0, request.image.pixels, request.image.pixels + grain).astype(np.uint8)
    request = replace(request, image=CanonicalImage(pixels))
    steps: list[Step] = []
    (extended,) = eraser().inpaint(request, steps.append)
    assert extended[:, :60].std(axis=0).mean() == pytest.approx(pixels[mask == 0].std(axis=0).mean(), rel=0.2)
    assert extended[100:130, 140:180].std(axis=(0, 1)).max() < 10, "the hole in the image is the network's"
    np.testing.assert_array_equal(extended[mask == 0], pixels[mask == 0])
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert (steps[-1].done, steps[-1].of) == (steps[-1].of, 2), "the network paints both at once, then the band follows"
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    (softer,) = eraser().inpaint(request, ignore_step)
    assert softer[:, :60].std(axis=0).max() < 5


def test_a_filled_region_is_context_for_the_next_one(
    eraser: Callable[..., Eraser], inputs_of_runs: list[network_inputs.Inputs]
) -> None:
    mask = holes(np.s_[300:340, 200:240], np.s_[300:340, 470:510])
    eraser("lama").inpaint(wall(mask), ignore_step)
    assert [int(feeds["mask"].sum()) for feeds in inputs_of_runs] == [2 * 40 * 40, 40 * 40]


@pytest.mark.parametrize("family", ["lama", "migan"])
def test_the_network_gets_range_shape_and_polarity_of_the_published_one(
    eraser: Callable[..., Eraser], family: str, inputs_of_runs: list[network_inputs.Inputs]
) -> None:
    eraser(family).inpaint(wall(holes(np.s_[300:340, 300:360]), colour=(255, 255, 255)), ignore_step)
    (feeds,) = inputs_of_runs
    image, mask = feeds["image"], feeds["mask"]
    assert (image.shape, mask.shape) == ((1, 3, 512, 512), (1, 1, 512, 512))
    if family == "lama":
        assert {image.dtype.name, mask.dtype.name} == {"float32"}
        assert (image.max(), mask.sum(), set(np.unique(mask))) == (1.0, 40 * 60, {0.0, 1.0})
    else:
        assert {image.dtype.name, mask.dtype.name} == {"uint8"}
        assert (image.max(), (mask == 0).sum(), set(np.unique(mask))) == (255, 40 * 60, {0, 255})
    assert (image == image.max()).all(), "the object is not in the input"


def test_each_region_is_a_step_with_its_own_context(eraser: Callable[..., Eraser]) -> None:
    mask = holes(np.s_[40:80, 40:80], np.s_[40:80, 1900:1940], shape=(120, 2000))
    request = wall(mask)
    pixels = np.array(request.image.pixels, np.uint8)
    pixels[:, 1000:][mask[:, 1000:] == 0] = (20, 60, 220)
    steps: list[Step] = []
    (raw,) = eraser().inpaint(InpaintRequest(CanonicalImage(pixels), mask), steps.append)
    assert [(step.done, step.of) for step in steps] == [(0, 2), (1, 2), (2, 2)]
    assert steps[-1].preview is not None
    assert max(steps[-1].preview.shape) <= PREVIEW_SIDE
    assert raw[60, 60].tolist() == [200, 120, 40]
    assert raw[60, 1920].tolist() == [20, 60, 220]


def test_the_result_does_not_depend_on_the_seed(eraser: Callable[..., Eraser], photo: Any) -> None:
    mask = holes(np.s_[20:40, 30:60], shape=photo.shape[:2])
    first, second = (
        painted(eraser(), InpaintRequest(CanonicalImage(photo), mask, PaintSettings(seed=seed))).image
        for seed in (1, 2)
    )
    assert first.equals(second)
    assert "seed" in ERASE.ignored_settings


def test_eight_images_use_eight_symmetries(eraser: Callable[..., Eraser]) -> None:
    rows, columns = np.mgrid[0:512, 0:512]
    photo = np.stack([rows // 2, columns // 2, (rows + columns) // 4], axis=-1).astype(np.uint8)
    mask = holes(np.s_[200:300, 150:400], shape=(512, 512))
    images = eraser().inpaint(InpaintRequest(CanonicalImage(photo), mask, PaintSettings(num_images=8)), ignore_step)
    assert len({image.tobytes() for image in images}) == 8
    for image in images:
        assert np.array_equal(image[mask == 0], photo[mask == 0])


def test_every_symmetry_has_an_inverse() -> None:
    square = np.arange(5 * 5 * 3).reshape(5, 5, 3)
    turned = [onnx_networks.apply_symmetry(square, symmetry) for symmetry in range(8)]
    assert len({pixels.tobytes() for pixels in turned}) == 8
    for symmetry, pixels in enumerate(turned):
        assert np.array_equal(onnx_networks.inverse_transformed(pixels, symmetry), square)


def test_a_cancel_terminates_a_running_network(eraser: Callable[..., Eraser], monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[Any] = []
    make = pytest.importorskip("onnxruntime").RunOptions

    def recorded() -> Any:
        options.append(make())
        return options[-1]

    def stop(step: Step) -> None:
        if options:
            raise Cancelled

    monkeypatch.setattr("onnxruntime.RunOptions", recorded)
    monkeypatch.setattr("inpainting.keepalive.KEEPALIVE_SECONDS", 0.01)
    slow = eraser(graph=tiny_networks.lama(64, before=tiny_networks.slow_loop(3_000_000)))
    with pytest.raises(Cancelled):
        slow.inpaint(wall(holes(np.s_[300:340, 300:360])), stop)
    assert [option.terminate for option in options] == [True]


def test_values_that_are_not_finite_are_an_error(eraser: Callable[..., Eraser]) -> None:
    with pytest.raises(EngineFailed) as caught:
        eraser(graph=tiny_networks.lama(factor=float("nan"))).inpaint(wall(holes(np.s_[9:20, 9:20])), ignore_step)
    assert caught.value.code == "model_produced_invalid_output"


def test_a_full_mask_a_missing_file_and_another_familys_file_are_refused(
    eraser: Callable[..., Eraser], tmp_path: Path
) -> None:
    with pytest.raises(EngineFailed, match="nothing is left to paint from"):
        eraser().inpaint(wall(np.full((64, 64), 255, np.uint8)), ignore_step)
    request = wall(holes(np.s_[9:20, 9:20]))
    gone = Eraser(ModelSpec(slug="lama", label="LaMa", family="lama"))
    with pytest.raises(EngineFailed, match="pull_model lama"):
        gone.inpaint(request, ignore_step)
    with pytest.raises(EngineFailed, match="not of the family lama"):
        eraser("lama", tiny_networks.migan()).inpaint(request, ignore_step)


def test_a_graph_with_an_unknown_operator_is_refused(eraser: Callable[..., Eraser]) -> None:
    broken = tiny_networks.lama(64, before=[helper.make_node("NoSuchOperator", ["mask"], ["x"])])
    with pytest.raises(EngineFailed, match="cannot be loaded") as caught:
        eraser(graph=broken).inpaint(wall(holes(np.s_[9:20, 9:20])), ignore_step)
    assert caught.value.code == "model_unavailable"


def test_a_replaced_file_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    spec = ModelSpec(slug="tiny", label="Tiny", family="lama", path=path)
    engine = Erase()
    path.write_bytes(tiny_networks.lama(64))
    first = engine.network(spec)
    assert engine.network(spec) is first
    path.write_bytes(tiny_networks.lama(128))
    os.utime(path, ns=(1, 1))
    assert engine.network(spec).side == 128


def test_a_light_installation_names_the_extra(eraser: Callable[..., Eraser], monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(OneModel(eraser().spec), safety_checker=OFF)
    assert planner.resolve(ERASE, PaintSettings()).settings.model == "tiny"
    pretend_missing(monkeypatch, "onnxruntime")
    with pytest.raises(InvalidRequest) as caught:
        planner.resolve(ERASE, PaintSettings())
    assert caught.value.code == "engine_not_installed"
