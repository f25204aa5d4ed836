"""SAM, SAM 2 and Grounding DINO on tiny models: equal to transformers' own processors and models, and their limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
from inpainting.core.image import CanonicalImage
from inpainting.models import InferenceModel
from inpainting.segmenters import registry
from inpainting.segmenters.base import MAX_BOXES, MAX_POINTS, Detection, Point, Selection, candidates_of
from inpainting.segmenters.networks import fed_images
from inpainting.segmenters.networks.by_words import boxes_of
from inpainting.segmenters.networks.catalog_segmenter import CatalogSegmenter
from inpainting.segmenters.networks.detector_models import Detector
from inpainting.segmenters.networks.sam_models import Sam, Sam2
from tests.support import published_preprocessors as published
from tests.support import tiny_vision_models

pytestmark = pytest.mark.usefixtures("models_folder", "db")
Install = Callable[..., CatalogSegmenter]
PHOTO = data.coffee()[:150, :220]
CLICKS = Selection((Point(60.5, 70), Point(150, 20, is_object=False)))


@pytest.fixture
def install(tmp_path: Path) -> Install:
    def install(slug: str) -> CatalogSegmenter:
        folder = tiny_vision_models.saved(tmp_path / slug, InferenceModel.objects.get(slug=slug).family)
        call_command("pull_model", slug, "--yes", f"--from={folder}", stdout=StringIO())
        found = registry.find(slug)
        assert isinstance(found, CatalogSegmenter)
        return found

    return install


def by_transformers(folder: Path, *, multimask_output: bool, **prompts: Any) -> tuple[Any, Any]:
    """Masks [masks, height, width] and scores [masks] of SamProcessor and SamModel."""
    processor = transformers.SamProcessor(SamImageProcessorPil.from_pretrained(folder))
    model = transformers.SamModel.from_pretrained(folder).eval()
    inputs = processor(Image.fromarray(PHOTO), return_tensors="pt", **prompts)
    with torch.inference_mode():
        output = model(**inputs, multimask_output=multimask_output)
    masks = processor.image_processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    return masks[0][0].numpy(), output.iou_scores[0, 0].numpy()


POINT, BOX = Selection((Point(60.5, 70),)), Selection(box=Box(20, 30, 140, 120))
BOTH = Selection((Point(60.5, 70),), Box(20, 30, 140, 120))
WAYS = pytest.mark.parametrize(
    ("selection", "count"),
    [(POINT, 3), (CLICKS, 1), (BOX, 1), (BOTH, 1)],
    ids=["point", "points", "box", "both"],
)
"""Ways to mark the object, each with the number of masks: one for what is not ambiguous, as SAM's predictor recommends
(segment-anything, segment_anything/predictor.py) and as SAM 2 was trained (`multimask_max_pt_num: 1` in its
configurations; a box is two points)."""


def prompts_of(selection: Selection) -> dict[str, Any]:
    """The arguments of transformers' processors, in pixels of the photo."""
    prompts: dict[str, Any] = {}
    if selection.points:
        prompts["input_points"] = [[[point.x, point.y] for point in selection.points]]
        prompts["input_labels"] = [[int(point.is_object) for point in selection.points]]
    if (box := selection.box) is not None:
        prompts["input_boxes"] = [[[float(edge) for edge in (box.left, box.top, box.right, box.bottom)]]]
    return prompts


@WAYS
def test_candidates_equal_those_of_transformers(install: Install, selection: Selection, count: int) -> None:
    segmenter = install("sam-vit-base")
    found = candidates_of(segmenter, CanonicalImage(PHOTO), selection)
    assert segmenter.spec.path is not None
    masks, scores = by_transformers(segmenter.spec.path, multimask_output=count == 3, **prompts_of(selection))
    order = np.argsort(-scores, kind="stable")
    assert len(found) == len(order) == count
    for candidate, index in zip(found, order, strict=True):
        assert candidate.mask.shape == PHOTO.shape[:2]
        assert np.mean((candidate.mask > 0) != masks[index]) < 0.002
        assert candidate.score == pytest.approx(np.clip(scores[index], 0, 1), abs=1e-4)
    assert np.array_equal(segmenter.segment(CanonicalImage(PHOTO), selection), found[0].mask)


@WAYS
def test_sam_2_equals_its_model_in_transformers(install: Install, selection: Selection, count: int) -> None:
    """Fed as by SAM 2's own predictor (sam2, sam2/utils/transforms.py and sam2_image_predictor.py): stretched to the
    square of the model, coordinates with it, and masks scaled to the photo as logits."""
    segmenter = install("sam2.1-tiny")
    side, (height, width) = tiny_vision_models.SIDE, PHOTO.shape[:2]
    model = transformers.Sam2Model.from_pretrained(segmenter.spec.path).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    photo = torch.from_numpy(PHOTO.copy()).permute(2, 0, 1) / 255
    small = torch.nn.functional.interpolate(photo[None], (side, side), mode="bilinear", antialias=True)
    across, down = side / width, side / height
    scales = {"input_points": [across, down], "input_labels": 1, "input_boxes": [across, down, across, down]}
    prompts = {
        name: torch.tensor([values] if name != "input_boxes" else values) * torch.tensor(scales[name])
        for name, values in prompts_of(selection).items()
    }
    with torch.inference_mode():
        output = model(pixel_values=(small - mean) / std, multimask_output=count == 3, **prompts)
        logits = torch.nn.functional.interpolate(output.pred_masks[0], (height, width), mode="bilinear")
    found = candidates_of(segmenter, CanonicalImage(PHOTO), selection)
    order = output.iou_scores[0, 0].argsort(descending=True).tolist()
    assert len(found) == len(order) == count
    for candidate, index in zip(found, order, strict=True):
        assert np.mean((candidate.mask > 0) != (logits[0, index] > 0).numpy()) < 0.002


def test_sam_2_is_loaded_from_the_checkpoint_for_videos_that_is_published(install: Install, tmp_path: Path) -> None:
    video = tiny_vision_models.sam2_video().eval()
    video.save_pretrained(tmp_path / "video")
    (tmp_path / "video" / "processor_config.json").write_text('{"processor_class": "Sam2VideoProcessor"}')
    call_command("add_model", "video", "--family=sam2", f"--from={tmp_path / 'video'}", stdout=StringIO())
    loaded, weights = registry.find("video").loaded().model, video.state_dict()  # type: ignore[attr-defined]
    assert len(loaded.state_dict()) > 200
    assert all(torch.equal(values, weights[name]) for name, values in loaded.state_dict().items())
    image = install("sam2.1-tiny")
    assert not np.array_equal(
        registry.find("video").segment(CanonicalImage(PHOTO), BOX), image.segment(CanonicalImage(PHOTO), BOX)
    )


def test_sam_is_fed_as_by_its_authors_with_the_published_settings(tmp_path: Path) -> None:
    """segment-anything, utils/transforms.py and modeling/sam.py: RGB, the longer side at 1024 pixels, bilinear,
    ImageNet's normalisation, then zeros below and to the right; points and boxes scaled by the rounded sides."""
    folder = published.put_into(tiny_vision_models.saved(tmp_path / "sam", "sam"), "sam")
    loaded = Sam(InferenceModel.objects.get(slug="sam-vit-base").spec, folder)
    photo = data.coffee()[:, :530]
    fed = loaded.tensor(photo)[0].numpy()
    expected = published.scaled(photo, 1024, 773, Image.Resampling.BILINEAR, published.IMAGENET)
    assert fed.shape == (3, 1024, 1024)
    assert np.allclose(fed[:, :773], expected, atol=1e-5)
    assert not fed[:, 773:].any()
    prompts = loaded.prompts(Selection((Point(100, 200, is_object=False),), Box(10, 20, 530, 400)), (400, 530))
    across, down = 1024 / 530, 773 / 400
    assert prompts["input_points"].flatten().tolist() == pytest.approx([100 * across, 200 * down])
    assert prompts["input_labels"].flatten().tolist() == [0]
    assert prompts["input_boxes"].flatten().tolist() == pytest.approx([10 * across, 20 * down, 1024, 773])


def test_sam_2_is_fed_as_by_its_authors_at_its_published_size(tmp_path: Path) -> None:
    """sam2, sam2/utils/transforms.py: RGB stretched to 1024 pixels square, bilinear with antialiasing, ImageNet's
    normalisation. transformers' own preprocessor, which its folder on the hub names, needs torchvision."""
    loaded = Sam2(
        InferenceModel.objects.get(slug="sam2.1-tiny").spec, tiny_vision_models.saved(tmp_path / "sam2", "sam2")
    )
    loaded.side = transformers.Sam2Config().prompt_encoder_config.image_size
    photo = data.coffee()[:, :530]
    fed = loaded.tensor(photo)[0].numpy()
    expected = published.scaled(photo, 1024, 1024, Image.Resampling.BILINEAR, published.IMAGENET)
    assert fed.shape == expected.shape == (3, 1024, 1024)
    assert np.abs(fed - expected).max() < 0.018  # Pillow rounds to whole levels, of which one is that much
    assert np.abs(fed - expected).mean() < 0.006
    prompts = loaded.prompts(Selection(box=Box(10, 20, 530, 400)), (400, 530))
    assert prompts["input_boxes"].flatten().tolist() == pytest.approx([10240 / 530, 51.2, 1024, 1024])


@pytest.mark.parametrize("slug", ["slimsam", "sam2.1-tiny"])
def test_a_further_click_computes_no_second_embedding_and_few_are_kept(
    install: Install, monkeypatch: pytest.MonkeyPatch, slug: str
) -> None:
    monkeypatch.setattr(fed_images, "MAX_EMBEDDINGS", 2)
    segmenter, computed = install(slug), []
    model = segmenter.loaded().model
    embed = model.get_image_embeddings

    def recorded(pixel_values: Any) -> Any:
        computed.append(pixel_values)
        return embed(pixel_values)

    monkeypatch.setattr(model, "get_image_embeddings", recorded)
    photos = [CanonicalImage(np.roll(PHOTO, turn, axis=1)) for turn in range(3)]
    for photo, count in ((0, 1), (0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        segmenter.segment(photos[photo], CLICKS)
        assert len(computed) == count


@pytest.mark.parametrize("slug", ["slimsam", "sam2.1-tiny"])
def test_sixteen_bits_alpha_and_one_pixel_are_segmented(install: Install, slug: str) -> None:
    segmenter = install(slug)
    expected = segmenter.segment(CanonicalImage(PHOTO), CLICKS)
    with_alpha = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 9, np.uint8)])
    for pixels in (PHOTO.astype(np.uint16) * 257, with_alpha):
        assert np.array_equal(segmenter.segment(CanonicalImage(pixels), CLICKS), expected)
    tiny = CanonicalImage(np.full((1, 1, 3), 9, np.uint8))
    assert candidates_of(segmenter, tiny, Selection((Point(1, 1),)))[0].mask.shape == (1, 1)


@pytest.mark.parametrize("size", [(3, 8000), (8000, 3), (1, 4000)])
@pytest.mark.parametrize(
    ("slug", "selection"),
    [("slimsam", Selection((Point(1, 1),))), ("grounding-dino-tiny", Selection(words="cup"))],
)
def test_a_image_of_which_a_network_would_see_no_pixel_across_is_refused(
    install: Install, slug: str, selection: Selection, size: tuple[int, int]
) -> None:
    install("slimsam")
    thin = CanonicalImage(np.full((*size, 3), 9, np.uint8))
    with pytest.raises(InvalidRequest, match=r"at most (64|128) times the shorter") as refused:
        candidates_of(install(slug), thin, selection)
    assert refused.value.field == "image"
    assert candidates_of(install("sam2.1-tiny"), thin, Selection((Point(1, 1),)))[0].mask.shape == size


@pytest.mark.parametrize("size", [(3, 150), (1, 60), (60, 1)])
def test_a_image_a_few_pixels_high_is_segmented(install: Install, size: tuple[int, int]) -> None:
    outliner, by_words = install("slimsam"), install("grounding-dino-tiny")
    thin, every = CanonicalImage(np.full((*size, 3), 9, np.uint8)), Detection(box_threshold=0, text_threshold=0)
    assert outliner.segment(thin, Selection((Point(1, 1),))).shape == size
    assert by_words.segment(thin, Selection(words="cup", detection=every)).shape == size


def test_hostile_points_and_boxes_are_refused(install: Install) -> None:
    segmenter, photo = install("slimsam"), CanonicalImage(PHOTO)
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
        segmenter.segment(CanonicalImage(PHOTO), CLICKS)
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


def test_grounding_dino_is_fed_as_by_its_authors_with_the_published_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GroundingDINO, groundingdino/util/inference.py and demo/inference_on_a_image.py: the shorter side at 800 pixels,
    the longer at most at 1333, bilinear, ImageNet's normalisation; the words in lower case with a full stop at the end,
    and thresholds of 0.3 and 0.25."""
    folder = published.put_into(tiny_vision_models.saved(tmp_path / "dino", "grounding-dino"), "grounding-dino")
    detector = Detector(InferenceModel.objects.get(slug="grounding-dino-tiny").spec, folder)
    detector.model = published.Recorder()
    texts: list[str] = []
    process = type(detector.processor).__call__

    def recorded(self: Any, **inputs: Any) -> Any:
        texts.append(inputs["text"])
        return process(self, **inputs)

    monkeypatch.setattr(type(detector.processor), "__call__", recorded)
    wide = data.coffee()[:300]
    for photo, size in ((data.coffee(), (1200, 800)), (wide, (1333, 666)), (wide.transpose(1, 0, 2), (666, 1333))):
        photo = np.ascontiguousarray(photo)
        inputs = published.fed_by(partial(detector.find, photo, " A RED Cup . Dog. ", Detection()))
        expected = published.scaled(photo, *size, Image.Resampling.BILINEAR, published.IMAGENET)
        assert inputs["pixel_values"].shape == (1, *expected.shape)
        assert np.allclose(inputs["pixel_values"][0], expected, atol=1e-5)
        assert inputs["pixel_mask"].all()
    assert set(texts) == {"a red cup . dog."}
    words = [tiny_vision_models.WORDS[token] for token in inputs["input_ids"][0]]
    assert words == ["[CLS]", "a", "red", "cup", ".", "dog", ".", "[SEP]"]
    assert (Detection().box_threshold, Detection().text_threshold) == (0.3, 0.25)


def test_the_mask_is_what_sam_outlines_in_the_best_boxes(install: Install) -> None:
    outliner, segmenter = install("slimsam"), install("grounding-dino-tiny")
    photo, every = CanonicalImage(PHOTO), Detection(box_threshold=0, text_threshold=0)
    found = sorted(segmenter.loaded().find(PHOTO, "cup", every), key=lambda scored: -scored[0])
    best = Detection(box_threshold=0, text_threshold=0, max_detections=1)
    (box,) = boxes_of(found, best, photo.size)
    mask = segmenter.segment(photo, Selection(words="cup", detection=best))
    assert np.array_equal(mask, outliner.segment(photo, Selection(box=box)))
    shown = Detection(box_threshold=0, text_threshold=0, max_detections=1, shows_boxes=True)
    boxes = segmenter.segment(photo, Selection(words="cup", detection=shown))
    assert boxes[box.slices].all()
    assert np.count_nonzero(boxes) == box.size.width * box.size.height


def test_few_boxes_are_outlined_and_the_image_is_embedded_once_for_all(
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
    segmenter.segment(CanonicalImage(PHOTO), Selection(words="cup"))
    assert calls == ["embed", *["decoded"] * MAX_BOXES]


def test_boxes_are_moved_outwards_or_inwards_and_stay_in_the_image() -> None:
    size = CanonicalImage(PHOTO).size
    found = [(0.9, (10.2, 20.0, 50.0, 60.5)), (0.5, (0.0, 0.0, 8.0, 8.0))]
    assert boxes_of(found, Detection(), size) == [Box(10, 20, 50, 61), Box(0, 0, 8, 8)]
    assert boxes_of(found, Detection(max_detections=1), size) == [Box(10, 20, 50, 61)]
    assert boxes_of(found, Detection(dilate=30, max_detections=1), size) == [Box(0, 0, 80, 91)]
    assert boxes_of(found, Detection(dilate=-5), size) == [Box(15, 25, 45, 56)]


def test_without_an_outliner_the_command_is_named(install: Install) -> None:
    segmenter = install("grounding-dino-tiny")
    with pytest.raises(InvalidRequest, match=r"manage\.py pull_model slimsam"):
        candidates_of(segmenter, CanonicalImage(PHOTO), Selection(words="cup"))
    with pytest.raises(InvalidRequest, match="send words for it"):
        candidates_of(segmenter, CanonicalImage(PHOTO), Selection(words="  "))
