"""What every segmenter guarantees, those without a model and each family's on a small network: one table."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from PIL import Image

from inpainting import families
from inpainting.core.codecs import decode_image
from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage
from inpainting.families.declaration import SEGMENTATION
from inpainting.models import InferenceModel
from inpainting.segmenters import registry
from inpainting.segmenters.base import Detection, Hint, Point, Segmenter, Selection, candidates_of
from inpainting.segmenters.soft_edges import soften
from tests.api.bodies import text
from tests.conftest import png
from tests.support import tiny_mobile_sam, tiny_networks

MODELS = {
    "u2net": "u2netp",
    "u2net-cloth-seg": "u2net_cloth_seg",
    "isnet": "isnet-general-use",
    "isnet-anime": "isnet-anime",
    "birefnet": "birefnet-general",
    "sam": "slimsam",
    "sam2": "sam2.1-tiny",
    "mobile-sam": "mobile-sam",
    "grounding-dino": "grounding-dino-tiny",
}
"""Family -> the model of the catalog that stands for it."""
NAMES = [*registry.segmenters(), *MODELS.values()]
EVERY = pytest.mark.parametrize("name", NAMES)
WITH_TORCH = {"slimsam", "sam2.1-tiny", "grounding-dino-tiny"}
HINTS: dict[Hint, dict[str, Any]] = {
    Hint.POINTS: {"points": (Point(45, 20), Point(5, 50, is_object=False))},
    Hint.BOX: {"box": Box(25, 5, 65, 35)},
    Hint.OUTLINE: {"outline": ((25.0, 5.0), (65.0, 5.0), (65.0, 35.0), (25.0, 35.0))},
    Hint.WORDS: {"words": "a red cup"},
    Hint.CATEGORY: {"category": "full"},
    Hint.TOLERANCE: {"tolerance": 20.0},
}


def marked(segmenter: Segmenter) -> Selection:
    """The disc, marked by what the segmenter needs."""
    every = Detection(box_threshold=0, text_threshold=0)
    selections = {
        Hint.POINTS: Selection((Point(45, 20),)),
        Hint.BOX: Selection(box=Box(25, 5, 65, 35)),
        Hint.WORDS: Selection(words="a red cup", detection=every),
    }
    return next((selections[hint] for hint in selections if hint in segmenter.needs), Selection())


def disc() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """60 x 90: a white disc on black. The small network of garments finds blue ones, and white is the bluest here."""
    drawn = np.zeros((60, 90, 3), np.uint8)
    cv2.circle(drawn, (45, 20), 12, (250, 250, 250), -1)
    return drawn


def turned_png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """A PNG whose pixels are turned, with the EXIF orientation that turns them back."""
    exif, file = Image.Exif(), BytesIO()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(pixels)).save(file, "PNG", exif=exif)
    return file.getvalue()


@pytest.fixture
def install(tmp_path: Path, settings: Any, db: None) -> Callable[[str], Segmenter]:
    settings.MODELS_DIR = tmp_path / "models"

    def install(name: str) -> Segmenter:
        if name not in MODELS.values():
            return registry.find(name)
        skip_without_library(name)
        for slug in [name, *(["slimsam"] if name == "grounding-dino-tiny" else [])]:
            source = network_of(tmp_path / slug, InferenceModel.objects.get(slug=slug).family)
            call_command("pull_model", slug, "--yes", f"--from={source}", stdout=StringIO())
        return registry.find(name)

    return install


def skip_without_library(name: str) -> None:
    """Skip the test of a model whose engine is not installed."""
    if name in WITH_TORCH:
        pytest.importorskip("torch", reason="the diffusion engine is not installed")
    else:
        pytest.importorskip("onnxruntime", reason="the erase engine is not installed")


def network_of(folder: Path, family: str) -> Path:
    """The files of a small network of that family, which selects what is bright.

    Grounding DINO's is random: it finds boxes anywhere, and SAM outlines what is bright in the image.
    """
    if family == "mobile-sam":
        return tiny_mobile_sam.saved(folder)
    if family in ("sam", "sam2"):
        from tests.support import brightness_networks

        return brightness_networks.saved(folder, family)
    if family == "grounding-dino":
        from tests.support import tiny_vision_models

        return tiny_vision_models.saved(folder, family)
    path = folder.with_suffix(".onnx")
    path.write_bytes(tiny_networks.salient(64, channels=4 if family == "u2net-cloth-seg" else 1))
    return path


def test_the_table_has_every_family() -> None:
    assert set(MODELS) == set(families.names(engine=SEGMENTATION))


@EVERY
def test_white_is_the_object_upright_and_of_the_images_size_in_every_mode(
    install: Callable[[str], Segmenter], name: str
) -> None:
    """Grey, alpha and 16 bits give the mask of RGB; turned by its EXIF orientation, an image gives a turned mask."""
    segmenter, drawn = install(name), disc()
    expected = segmenter.segment(CanonicalImage(drawn), marked(segmenter))
    assert expected.shape == (60, 90)
    assert expected.dtype == np.uint8
    assert expected[20, 45] > 200
    assert expected[55, 5] == 0
    alpha = np.full((60, 90, 1), 40, np.uint8)
    for pixels in (drawn[:, :, :1], np.dstack([drawn, alpha]), np.dstack([drawn[:, :, :1], alpha])):
        for deep in (pixels, pixels.astype(np.uint16) * 257):
            assert np.array_equal(segmenter.segment(CanonicalImage(deep), marked(segmenter)), expected)
    upright = decode_image(turned_png(drawn)).image
    assert np.array_equal(segmenter.segment(upright, marked(segmenter)), expected)


@EVERY
def test_candidates_are_rated_and_the_first_is_the_mask(install: Callable[[str], Segmenter], name: str) -> None:
    segmenter = install(name)
    found = candidates_of(segmenter, CanonicalImage(disc()), marked(segmenter))
    assert np.array_equal(found[0].mask, segmenter.segment(CanonicalImage(disc()), marked(segmenter)))
    assert all(item.score is None or 0 <= item.score <= 1 for item in found)
    assert [item.mask.shape for item in found] == [(60, 90)] * len(found)


@EVERY
def test_soft_edges_are_made_of_every_mask(install: Callable[[str], Segmenter], name: str) -> None:
    segmenter, image = install(name), CanonicalImage(cv2.GaussianBlur(disc(), (0, 0), 2))
    hard = candidates_of(segmenter, image, marked(segmenter))
    soft = candidates_of(segmenter, image, replace(marked(segmenter), soft_edges=True))
    assert [item.score for item in soft] == [item.score for item in hard]
    for before, after in zip(hard, soft, strict=True):
        assert np.array_equal(after.mask, soften(to_rgb8(image), before.mask))
    assert ((soft[0].mask > 0) & (soft[0].mask < 255)).any()


@EVERY
def test_hostile_selections_are_refused_by_name(
    install: Callable[[str], Segmenter], name: str, alices_program: Client
) -> None:
    install(name)
    hostile: list[tuple[dict[str, Any], str]] = [
        ({"points": [[5, 5]] * 5_000}, "points"),
        ({"points": [[5, 5]] * 10_000}, ""),
        ({"points": [[-1, 5]]}, "points"),
        ({"points": [["a", 5]]}, "points"),
        ({"box": [95, 5, 99, 50]}, "box"),
        ({"box": [9, 9, 9, 9]}, "box"),
        ({"outline": [[200, 200], [210, 200], [210, 210]]}, "outline"),
        ({"words": "w" * 10_000}, "words"),
        ({"category": "c" * 10_000}, "category"),
        ({"category": "hat"}, "category"),
        ({"tolerance": 256}, "tolerance"),
    ]
    for fields, field in hostile:
        answer = post(alices_program, name, fields)
        body = answer.json()
        assert (answer.status_code, body.get("field") or "") == (400, field), (fields, body["message"][:200])
        assert len(body["message"]) < 400


@EVERY
def test_hints_that_are_read_are_taken_and_others_are_refused(install: Callable[[str], Segmenter], name: str) -> None:
    segmenter = install(name)
    for hint, hints in HINTS.items():
        selection = replace(marked(segmenter), **hints)
        if hint in segmenter.reads:
            assert candidates_of(segmenter, CanonicalImage(disc()), selection)[0].mask.shape == (60, 90)
        else:
            with pytest.raises(InvalidRequest, match=f"{name} does not read {hint}") as refused:
                candidates_of(segmenter, CanonicalImage(disc()), selection)
            assert refused.value.field == hint


def post(program: Client, name: str, fields: dict[str, Any]) -> Any:
    body = {"image": text(png(disc())), "segmenter": name, "store": False, **fields}
    return program.post("/api/masks/", body, content_type="application/json")


@pytest.mark.full
@EVERY
def test_a_photo_of_40_megapixels_is_segmented_in_bounded_memory(
    install: Callable[[str], Segmenter], name: str
) -> None:
    """What NumPy allocates beside the image of 120 MB; the memory of ONNX Runtime and torch is not counted."""
    segmenter = install(name)
    candidates_of(segmenter, CanonicalImage(disc()), marked(segmenter))  # which loads the network
    large = CanonicalImage(np.repeat(np.repeat(disc(), 90, axis=0), 82, axis=1))
    selection = marked(segmenter)
    scaled = replace(selection, points=tuple(Point(point.x * 82, point.y * 90) for point in selection.points))
    if selection.box is not None:
        scaled = replace(scaled, box=Box(25 * 82, 5 * 90, 65 * 82, 35 * 90))
    tracemalloc.start()
    try:
        mask = candidates_of(segmenter, large, scaled)[0].mask
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mask.shape == (large.size.height, large.size.width)
    assert most < 16 * large.size.area, "bytes for each pixel"
