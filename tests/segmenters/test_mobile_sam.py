"""MobileSAM on networks of its format: equal to SAM's own way of feeding them, and its limits."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from django.core.management import CommandError, call_command
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Point, Segmenter, Selection, candidates_of
from inpainting.segmenters.networks.mobile_sam import MobileSam
from tests.support import tiny_mobile_sam
from tests.support.tiny_networks import with_external_numbers

pytestmark = pytest.mark.usefixtures("models_folder", "db")
PHOTO = data.coffee()[:150, :220]
CLICKS = Selection((Point(120.5, 70), Point(20, 20, is_object=False)))


@pytest.fixture
def carried(tmp_path: Path) -> Path:
    return tiny_mobile_sam.saved(tmp_path / "carried")


@pytest.fixture
def segmenter(carried: Path) -> Segmenter:
    call_command("pull_model", "mobile-sam", "--yes", f"--from={carried}", stdout=StringIO())
    return registry.find("mobile-sam")


def as_published(
    folder: Path, photo: NDArray[np.uint8], points: list[list[float]], labels: list[float]
) -> NDArray[Any]:
    """Masks [3 or 1, height, width] by the steps of SAM's notebook for ONNX, best rated first.

    points: in pixels of the photo, with the corners of a box, or else with one more at 0, 0. One alone, and that one
    more, have three masks; for others the first is meant (`multimask_output=False` of SAM's predictor).
    """
    encoder, decoder = (
        onnxruntime.InferenceSession(folder / name) for name in (tiny_mobile_sam.ENCODER, tiny_mobile_sam.DECODER)
    )
    height, width = photo.shape[:2]
    scale = 1024 / max(height, width)
    size = int(width * scale + 0.5), int(height * scale + 0.5)
    scaled = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR), np.float32)
    embedding = encoder.run(None, {"input_image": scaled})[0]
    coordinates = np.array([points], np.float32) * np.array([size[0] / width, size[1] / height], np.float32)
    masks, scores, _ = decoder.run(
        None,
        {
            "image_embeddings": embedding,
            "point_coords": coordinates,
            "point_labels": np.array([labels], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([height, width], np.float32),
        },
    )
    if labels != [1, -1]:
        return masks[0, :1] > 0
    return masks[0, 1 + np.argsort(-scores[0, 1:])] > 0


@pytest.mark.parametrize(
    ("selection", "points", "labels"),
    [
        (Selection((Point(120.5, 70),)), [[120.5, 70], [0, 0]], [1, -1]),
        (CLICKS, [[120.5, 70], [20, 20], [0, 0]], [1, 0, -1]),
        (Selection(box=Box(20, 30, 140, 120)), [[20, 30], [140, 120]], [2, 3]),
        (Selection((Point(60, 60),), Box(20, 30, 140, 120)), [[60, 60], [20, 30], [140, 120]], [1, 2, 3]),
    ],
    ids=["point", "points", "box", "both"],
)
def test_candidates_equal_those_of_the_published_steps(
    segmenter: Segmenter, carried: Path, selection: Selection, points: list[list[float]], labels: list[float]
) -> None:
    found = candidates_of(segmenter, CanonicalImage(PHOTO), selection)
    expected = as_published(carried, PHOTO, points, labels)
    assert [candidate.score for candidate in found] == pytest.approx([0.9, 0.8, 0.7] if labels == [1, -1] else [0.2])
    for candidate, mask in zip(found, expected, strict=True):
        assert 0.01 < mask.mean() < 0.99
        assert np.mean((candidate.mask > 0) != mask) < 0.002
        assert set(np.unique(candidate.mask)) == {0, 255}


def test_the_mask_is_what_the_points_say(segmenter: Segmenter) -> None:
    photo = np.full((90, 160, 3), 60, np.uint8)
    photo[20:60, 20:60], photo[20:60, 100:140] = (230, 40, 40), (40, 40, 230)
    found = segmenter.segment(CanonicalImage(photo), Selection((Point(40, 40),)))
    assert (found[40, 40], found[40, 120], found[5, 5]) == (255, 0, 0)
    both = segmenter.segment(CanonicalImage(photo), Selection((Point(40, 40), Point(120, 40))))
    assert both[40, 40] == both[40, 120]


def test_a_further_click_computes_no_second_embedding(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    embed = MobileSam.embed

    def recorded(self: MobileSam, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        computed.append(pixels)
        return embed(self, pixels)

    monkeypatch.setattr(MobileSam, "embed", recorded)
    for photo, count in ((PHOTO, 1), (PHOTO, 1), (PHOTO[:, ::-1], 2), (PHOTO, 2)):
        segmenter.segment(CanonicalImage(np.ascontiguousarray(photo)), CLICKS)
        assert len(computed) == count


def test_it_outlines_what_grounding_dino_finds(segmenter: Segmenter, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from inpainting.segmenters.base import Detection
    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "dino", "grounding-dino")
    call_command("pull_model", "grounding-dino-tiny", "--yes", f"--from={folder}", stdout=StringIO())
    best = Detection(box_threshold=0, text_threshold=0, max_detections=1)
    found = registry.find("grounding-dino-tiny").segment(CanonicalImage(PHOTO), Selection(words="cup", detection=best))
    assert found.any()


def test_thin_images_and_values_that_are_not_finite_are_errors(segmenter: Segmenter, tmp_path: Path) -> None:
    thin = CanonicalImage(np.full((3, 8000, 3), 9, np.uint8))
    with pytest.raises(InvalidRequest, match="at most 1024 times the shorter"):
        candidates_of(segmenter, thin, Selection((Point(1, 1),)))
    folder = tiny_mobile_sam.saved(tmp_path / "broken", gain=np.nan)
    call_command("add_model", "broken", "--family=mobile-sam", f"--from={folder}", stdout=StringIO())
    with pytest.raises(EngineFailed) as failed:
        registry.find("broken").segment(CanonicalImage(PHOTO), CLICKS)
    assert failed.value.code == "model_produced_invalid_output"


def test_other_networks_and_external_numbers_are_refused(carried: Path) -> None:
    for name, content, message in (
        (tiny_mobile_sam.DECODER, tiny_mobile_sam.encoder(), "takes image_embeddings, point_coords"),
        (tiny_mobile_sam.DECODER, with_external_numbers(), "needs numbers of another file"),
        ("export.py", b"", "is a program"),
        (tiny_mobile_sam.ENCODER, None, "mobile_sam_image_encoder.onnx is missing"),
    ):
        folder = tiny_mobile_sam.saved(carried)
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(CommandError, match=message):
            call_command("add_model", "mine", "--family=mobile-sam", f"--from={folder}")
        (folder / "export.py").unlink(missing_ok=True)
    with pytest.raises(CommandError, match="is no folder"):
        call_command("add_model", "mine", "--family=mobile-sam", f"--from={carried / tiny_mobile_sam.DECODER}")
