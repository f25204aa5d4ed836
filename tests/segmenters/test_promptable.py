"""SAM, SAM 2 and Grounding DINO on tiny models: equal to transformers' own processors and models, and their limits."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image
from skimage import data

pytest.importorskip("torch", reason="the diffusion engine is not installed")

import torch
import transformers
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.picture import Picture
from inpainting.models import InferenceModel
from inpainting.segmenters import registry
from inpainting.segmenters.base import MAX_BOXES, MAX_POINTS, Detection, Point, Selection, candidates_of
from inpainting.segmenters.networks import fed_pictures
from inpainting.segmenters.networks.by_words import boxes_of
from inpainting.segmenters.networks.catalog_segmenter import CatalogSegmenter
from tests import tiny_vision_models

Install = Callable[..., CatalogSegmenter]
PHOTO = data.coffee()[:150, :220]
CLICKS = Selection((Point(60.5, 70), Point(150, 20, is_object=False)))


@pytest.fixture(autouse=True)
def models_folder(tmp_path: Path, settings: Any, db: None) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    return tmp_path / "models"


@pytest.fixture
def install(tmp_path: Path) -> Install:
    def install(slug: str) -> CatalogSegmenter:
        folder = tiny_vision_models.saved(tmp_path / slug, InferenceModel.objects.get(slug=slug).family)
        call_command("pull_model", slug, "--yes", f"--from={folder}", stdout=StringIO())
        found = registry.find(slug)
        assert isinstance(found, CatalogSegmenter)
        return found

    return install


def by_transformers(folder: Path, **prompts: Any) -> tuple[Any, Any]:
    """Masks [3, height, width] and scores [3] of SamProcessor and SamModel."""
    processor = transformers.SamProcessor(SamImageProcessorPil.from_pretrained(folder))
    model = transformers.SamModel.from_pretrained(folder).eval()
    inputs = processor(Image.fromarray(PHOTO), return_tensors="pt", **prompts)
    with torch.inference_mode():
        output = model(**inputs)
    masks = processor.image_processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    return masks[0][0].numpy(), output.iou_scores[0, 0].numpy()


@pytest.mark.parametrize(
    ("selection", "prompts"),
    [
        (CLICKS, {"input_points": [[[60.5, 70.0], [150.0, 20.0]]], "input_labels": [[1, 0]]}),
        (Selection(box=Box(20, 30, 140, 120)), {"input_boxes": [[[20.0, 30.0, 140.0, 120.0]]]}),
    ],
)
def test_candidates_equal_those_of_transformers(install: Install, selection: Selection, prompts: Any) -> None:
    segmenter = install("sam-vit-base")
    found = candidates_of(segmenter, Picture(PHOTO), selection)
    assert segmenter.spec.path is not None
    masks, scores = by_transformers(segmenter.spec.path, **prompts)
    order = np.argsort(-scores, kind="stable")
    assert len(found) == 3
    for candidate, index in zip(found, order, strict=True):
        assert candidate.mask.shape == PHOTO.shape[:2]
        assert np.mean((candidate.mask > 0) != masks[index]) < 0.002
        assert candidate.score == pytest.approx(np.clip(scores[index], 0, 1), abs=1e-4)
    assert np.array_equal(segmenter.segment(Picture(PHOTO), selection), found[0].mask)


def test_sam_2_equals_its_model_in_transformers(install: Install) -> None:
    segmenter = install("sam2.1-tiny")
    side = tiny_vision_models.SIDE
    square = np.ascontiguousarray(PHOTO[:side, :side])
    model = transformers.Sam2Model.from_pretrained(segmenter.spec.path).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = (torch.from_numpy(square).permute(2, 0, 1) / 255 - mean) / std
    with torch.inference_mode():
        output = model(
            pixel_values=pixels[None], input_points=torch.tensor([[[[30.0, 40.0]]]]), input_labels=torch.tensor([[[1]]])
        )
        masks = torch.nn.functional.interpolate(output.pred_masks[0], (side, side), mode="bilinear") > 0
    found = candidates_of(segmenter, Picture(square), Selection((Point(30, 40),)))
    order = output.iou_scores[0, 0].argsort(descending=True).tolist()
    for candidate, index in zip(found, order, strict=True):
        assert np.mean((candidate.mask > 0) != masks[0, index].numpy()) < 0.002
    assert segmenter.segment(Picture(PHOTO), CLICKS).shape == PHOTO.shape[:2]


@pytest.mark.parametrize("slug", ["slimsam", "sam2.1-tiny"])
def test_a_further_click_computes_no_second_embedding_and_few_are_kept(
    install: Install, monkeypatch: pytest.MonkeyPatch, slug: str
) -> None:
    monkeypatch.setattr(fed_pictures, "MAX_EMBEDDINGS", 2)
    segmenter, computed = install(slug), []
    model = segmenter.loaded().model
    embed = model.get_image_embeddings

    def recorded(pixels: Any) -> Any:
        computed.append(pixels)
        return embed(pixels)

    monkeypatch.setattr(model, "get_image_embeddings", recorded)
    photos = [Picture(np.roll(PHOTO, turn, axis=1)) for turn in range(3)]
    for photo, count in ((0, 1), (0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        segmenter.segment(photos[photo], CLICKS)
        assert len(computed) == count


@pytest.mark.parametrize("slug", ["slimsam", "sam2.1-tiny"])
def test_sixteen_bits_alpha_and_one_pixel_are_segmented(install: Install, slug: str) -> None:
    segmenter = install(slug)
    expected = segmenter.segment(Picture(PHOTO), CLICKS)
    with_alpha = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 9, np.uint8)])
    for pixels in (PHOTO.astype(np.uint16) * 257, with_alpha):
        assert np.array_equal(segmenter.segment(Picture(pixels), CLICKS), expected)
    tiny = Picture(np.full((1, 1, 3), 9, np.uint8))
    assert candidates_of(segmenter, tiny, Selection((Point(1, 1),)))[0].mask.shape == (1, 1)


@pytest.mark.parametrize("size", [(3, 8000), (8000, 3), (1, 4000)])
@pytest.mark.parametrize(
    ("slug", "selection"),
    [("slimsam", Selection((Point(1, 1),))), ("grounding-dino-tiny", Selection(words="cup"))],
)
def test_a_picture_of_which_a_network_would_see_no_pixel_across_is_refused(
    install: Install, slug: str, selection: Selection, size: tuple[int, int]
) -> None:
    install("slimsam")
    thin = Picture(np.full((*size, 3), 9, np.uint8))
    with pytest.raises(InvalidRequest, match=r"at most (64|128) times the shorter") as refused:
        candidates_of(install(slug), thin, selection)
    assert refused.value.field == "image"
    assert candidates_of(install("sam2.1-tiny"), thin, Selection((Point(1, 1),)))[0].mask.shape == size


@pytest.mark.parametrize("size", [(3, 150), (1, 60), (60, 1)])
def test_a_picture_a_few_pixels_high_is_segmented(install: Install, size: tuple[int, int]) -> None:
    outliner, by_words = install("slimsam"), install("grounding-dino-tiny")
    thin, every = Picture(np.full((*size, 3), 9, np.uint8)), Detection(box_threshold=0, text_threshold=0)
    assert outliner.segment(thin, Selection((Point(1, 1),))).shape == size
    assert by_words.segment(thin, Selection(words="cup", detection=every)).shape == size


def test_hostile_points_and_boxes_are_refused(install: Install) -> None:
    segmenter, photo = install("slimsam"), Picture(PHOTO)
    makers: tuple[Callable[[], Selection], ...] = (
        lambda: Selection(tuple(Point(1, 1) for _ in range(10_000))),
        lambda: Selection((Point(float("nan"), 1),)),
        lambda: Selection((Point(1e300, 1),)),
        lambda: Selection(box=Box(900, 900, 950, 950)),
        lambda: Selection(words="cup"),
        Selection,
    )
    for make in makers:
        with pytest.raises(InvalidRequest):
            candidates_of(segmenter, photo, make())
    many = Selection(tuple(Point(index, index) for index in range(MAX_POINTS)))
    assert candidates_of(segmenter, photo, many)[0].mask.shape == PHOTO.shape[:2]


def test_values_that_are_not_finite_are_an_error(install: Install) -> None:
    segmenter = install("slimsam")
    with torch.no_grad():
        segmenter.loaded().model.mask_decoder.iou_token.weight.fill_(float("nan"))
    with pytest.raises(EngineFailed) as failed:
        segmenter.segment(Picture(PHOTO), CLICKS)
    assert failed.value.code == "model_produced_invalid_output"


def test_other_models_pickles_and_code_are_refused(tmp_path: Path) -> None:
    folder = tiny_vision_models.saved(tmp_path / "carried", "sam")
    with pytest.raises(CommandError, match=r"is of a “sam”, not of a blip"):
        call_command("add_model", "mine", "--family=blip", f"--from={folder}")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CommandError, match=r"pickle|missing"):
        call_command("add_model", "mine", "--family=sam", f"--from={folder}")


# By words


def test_boxes_equal_those_of_transformers(install: Install) -> None:
    install("slimsam")
    segmenter = install("grounding-dino-tiny")
    detector = segmenter.loaded()
    processor = transformers.GroundingDinoProcessor(
        GroundingDinoImageProcessorPil.from_pretrained(segmenter.spec.path),
        transformers.AutoTokenizer.from_pretrained(segmenter.spec.path),
    )
    model = transformers.GroundingDinoForObjectDetection.from_pretrained(segmenter.spec.path).eval()
    inputs = processor(images=Image.fromarray(PHOTO), text="a red cup.", return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs)
    wanted = processor.post_process_grounded_object_detection(
        output, inputs["input_ids"], threshold=0.0, text_threshold=0.0, target_sizes=[PHOTO.shape[:2]]
    )[0]
    found = detector.find(PHOTO, " A red CUP ", Detection(box_threshold=0, text_threshold=0))
    assert len(found) == len(wanted["scores"]) == 8
    assert [score for score, _ in found] == pytest.approx(wanted["scores"].tolist())
    assert np.allclose([box for _, box in found], wanted["boxes"].tolist(), atol=1e-3)
    assert detector.find(PHOTO, "cup", Detection(box_threshold=1)) == []


def test_the_mask_is_what_sam_outlines_in_the_best_boxes(install: Install) -> None:
    outliner, segmenter = install("slimsam"), install("grounding-dino-tiny")
    photo, every = Picture(PHOTO), Detection(box_threshold=0, text_threshold=0)
    found = sorted(segmenter.loaded().find(PHOTO, "cup", every), key=lambda one: -one[0])
    best = Detection(box_threshold=0, text_threshold=0, max_detections=1)
    (box,) = boxes_of(found, best, photo.size)
    mask = segmenter.segment(photo, Selection(words="cup", detection=best))
    assert np.array_equal(mask, outliner.segment(photo, Selection(box=box)))
    shown = Detection(box_threshold=0, text_threshold=0, max_detections=1, shows_boxes=True)
    boxes = segmenter.segment(photo, Selection(words="cup", detection=shown))
    assert boxes[box.slices].all()
    assert np.count_nonzero(boxes) == box.size.width * box.size.height


def test_few_boxes_are_outlined_and_the_picture_is_embedded_once_for_all(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    outliner, segmenter = install("slimsam").loaded(), install("grounding-dino-tiny")
    boxes = [(1 - index / 900, (index % 100, 5.0, index % 100 + 40, 80.0)) for index in range(900)]
    monkeypatch.setattr(segmenter.loaded(), "find", lambda *_: boxes)
    calls: list[str] = []

    def recorded(name: str) -> Callable[..., Any]:
        method = getattr(outliner, name)

        def record(*arguments: Any) -> Any:
            calls.append(name)
            return method(*arguments)

        return record

    for name in ("embed", "decoded"):
        monkeypatch.setattr(outliner, name, recorded(name))
    segmenter.segment(Picture(PHOTO), Selection(words="cup"))
    assert calls == ["embed", *["decoded"] * MAX_BOXES]


def test_boxes_are_moved_outwards_or_inwards_and_stay_in_the_picture() -> None:
    size = Picture(PHOTO).size
    found = [(0.9, (10.2, 20.0, 50.0, 60.5)), (0.5, (0.0, 0.0, 8.0, 8.0))]
    assert boxes_of(found, Detection(), size) == [Box(10, 20, 50, 61), Box(0, 0, 8, 8)]
    assert boxes_of(found, Detection(max_detections=1), size) == [Box(10, 20, 50, 61)]
    assert boxes_of(found, Detection(dilate=30, max_detections=1), size) == [Box(0, 0, 80, 91)]
    assert boxes_of(found, Detection(dilate=-5), size) == [Box(15, 25, 45, 56)]


def test_without_an_outliner_the_command_is_named(install: Install) -> None:
    segmenter = install("grounding-dino-tiny")
    with pytest.raises(InvalidRequest, match=r"manage\.py pull_model slimsam"):
        candidates_of(segmenter, Picture(PHOTO), Selection(words="cup"))
    with pytest.raises(InvalidRequest, match="send words for it"):
        candidates_of(segmenter, Picture(PHOTO), Selection(words="  "))
