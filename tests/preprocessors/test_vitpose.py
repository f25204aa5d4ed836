"""Poses by RT-DETR and ViTPose, equal to transformers' own post-processing, and ControlNets that are given them."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from PIL import Image
from skimage import data

from inpainting import families
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.specs import ControlImageKind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.networks.network_cache import NetworkCache
from inpainting.preprocessors import control_image, rt_detr, vitpose
from inpainting.preprocessors.skeletons import drawn, openpose_points
from tests.api.bodies import shape_a
from tests.support import published_preprocessors as published
from tests.support.adapter_folders import network
from tests.support.catalog_entries import add_model
from tests.support.matrix import first_alone

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("not __import__('importlib.util').util.find_spec('torch')", reason="torch is not installed"),
]
ASTRONAUT = data.astronaut()[:160, :200]
SLUGS = {"vitpose": "vitpose-base-simple", "rt-detr": "rtdetr-r18"}


@pytest.fixture
def folders(settings: Any, tmp_path: Path) -> dict[str, Path]:
    """A tiny ViTPose and a tiny RT-DETR, installed; as they were before, by their families."""
    settings.MODELS_DIR = tmp_path / "models"
    return {family: pull_tiny(tmp_path / family, family) for family in SLUGS}


def pull_tiny(folder: Path, family: str) -> Path:
    from tests.support import tiny_vision_models

    tiny_vision_models.saved(folder, family)
    call_command("pull_model", SLUGS[family], "--yes", f"--from={folder}", stdout=StringIO())
    return folder


@pytest.fixture
def easily_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random networks find people and key points."""
    monkeypatch.setattr(rt_detr, "MIN_SCORE", 0.2)
    monkeypatch.setattr(vitpose, "MIN_SCORE", 0.15)


def pose_of(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return control_image(Catalog().find_preprocessor("openpose"), CanonicalImage(pixels)).pixels


def expected_boxes(folder: Path) -> list[list[float]]:
    """Left, top, width and height of everybody, by transformers' pipeline, which rounds them down to whole pixels."""
    import transformers
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

    detect = transformers.pipeline(
        "object-detection",
        model=transformers.RTDetrForObjectDetection.from_pretrained(folder),
        image_processor=RTDetrImageProcessorPil.from_pretrained(folder),
    )
    found = detect(Image.fromarray(ASTRONAUT), threshold=0.2)
    assert len({item["label"] for item in found}) > 1
    corners = [
        [item["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for item in found if item["label"] == PERSON
    ]
    return [[left, top, right - left, bottom - top] for left, top, right, bottom in corners]


PERSON = "LABEL_0"


def test_the_boxes_are_those_of_transformers(folders: dict[str, Path], easily_seen: None) -> None:
    _, spec = Catalog().find_preprocessor("openpose")
    boxes = rt_detr.RT_DETR.people(NetworkCache().of(spec), ASTRONAUT)
    expected = expected_boxes(folders["rt-detr"])
    assert len(expected) == len(boxes) > 1
    assert np.allclose(boxes, expected, atol=1)


def test_a_pose_is_that_of_transformers_in_any_mode(
    folders: dict[str, Path], easily_seen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import transformers
    from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

    boxes = np.array([[20, 10, 90, 140], [60, 5, 120, 100]], np.float32)
    monkeypatch.setattr(rt_detr.RTDetr, "people", lambda *arguments: boxes)
    model = transformers.VitPoseForPoseEstimation.from_pretrained(folders["vitpose"]).eval()
    processor = VitPoseImageProcessorPil.from_pretrained(folders["vitpose"])
    people = []
    for box in boxes.tolist():
        inputs = processor(images=Image.fromarray(ASTRONAUT), boxes=[[box]], return_tensors="pt")
        with torch.inference_mode():
            output = model(**inputs)
        ((found,),) = processor.post_process_pose_estimation(output, boxes=[[box]])
        points = found["keypoints"].numpy()
        inside = (points >= 0).all(axis=1) & (points[:, 0] <= 199) & (points[:, 1] <= 159)
        people.append(openpose_points(points, inside & (found["scores"].numpy() > 0.15)))
    expected = drawn(people, 160, 200)
    assert expected.any()
    assert np.isnan(people).any()
    transparent = np.dstack([ASTRONAUT, np.zeros((160, 200), np.uint8)])
    for pixels in (ASTRONAUT, ASTRONAUT.astype(np.uint16) * 257, transparent):
        assert np.array_equal(pose_of(pixels), expected)


def test_rt_detr_is_fed_as_by_its_authors_with_the_published_settings(folders: dict[str, Path]) -> None:
    """lyuwenyu/RT-DETR, rtdetr_pytorch/tools/export_onnx.py: 640 pixels square, bilinear, 0 to 1, not normalised."""
    published.put_into(folders["rt-detr"], "rt-detr")
    (spec,) = (tool for tool in SHIPPED_TOOLS if tool.family == "rt-detr")
    _, processor = rt_detr.RT_DETR.load(spec, folders["rt-detr"])
    photo = data.coffee()
    inputs = published.fed_by(lambda: rt_detr.RT_DETR.people((published.Recorder(), processor), photo))
    expected = published.scaled(photo, 640, 640, Image.Resampling.BILINEAR, None)
    assert np.allclose(inputs["pixel_values"][0], expected, atol=1e-5)
    assert (rt_detr.PERSON, rt_detr.MIN_SCORE) == (0, 0.5)  # COCO's first class; of boxes in controlnet_aux's DWPose


def test_vitpose_is_fed_as_by_its_authors_with_the_published_settings(folders: dict[str, Path]) -> None:
    """ViTPose (mmpose, TopDownAffine with `use_udp`): the box widened to 3 by 4 and by a quarter, 192 x 256 pixels,
    from centre to centre of the outermost ones, bilinear, black outside of the photo, ImageNet's normalisation."""
    published.put_into(folders["vitpose"], "vitpose")
    (spec,) = (tool for tool in SHIPPED_TOOLS if tool.family == "vitpose")
    _, processor = vitpose.VITPOSE.load(spec, folders["vitpose"])
    photo, boxes = data.astronaut(), np.array([[150, 5, 160, 260], [0, 300, 400, 200]], np.float32)
    inputs = published.fed_by(lambda: vitpose.VITPOSE.people((published.Recorder(), processor), photo, boxes))
    mean, std = (np.array(published.IMAGENET[name]) for name in ("image_mean", "image_std"))
    for fed, (left, top, width, height) in zip(inputs["pixel_values"].numpy(), boxes.tolist(), strict=True):
        wide, high = 1.25 * max(width, 0.75 * height), 1.25 * max(height, width / 0.75)
        x, y = left + width / 2 - wide / 2, top + height / 2 - high / 2
        across, down = 191 / wide, 255 / high
        matrix = np.array([[across, 0, -x * across], [0, down, -y * down]])
        cut = cv2.warpAffine(photo, matrix, (192, 256), flags=cv2.INTER_LINEAR)
        whole = cv2.warpAffine(np.full(photo.shape, 255, np.uint8), matrix, (192, 256), flags=cv2.INTER_LINEAR)
        difference = np.abs(fed.transpose(1, 2, 0) * std + mean - cut / 255) * 255
        assert difference[(whole == 255) | (whole == 0)].max() < 4  # a level is rounded in different ways
        assert ((whole > 0) & (whole < 255)).mean() < 0.01  # OpenCV's edges of the photo fade into the black
    assert inputs["dataset_index"].tolist() == [0, 0]
    assert vitpose.MIN_SCORE == 0.3  # of key points in DWPose


@pytest.mark.parametrize("shape", first_alone((4, 300), (4, 4), (300, 5)))
def test_thin_images_have_a_pose_too(
    folders: dict[str, Path], shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, whole = np.full((*shape, 3), 90, np.uint8), np.array([[0, 0, *shape[::-1]]], np.float32)
    monkeypatch.setattr(rt_detr.RTDetr, "people", lambda *arguments: whole)
    monkeypatch.setattr(vitpose, "drawn", lambda people, *size: np.zeros((*size, 3), np.uint8))
    monkeypatch.setattr(vitpose, "openpose_points", lambda points, visible: points)
    assert pose_of(pixels).shape == pixels.shape


@pytest.mark.parametrize("shape", first_alone((1, 1), (3, 300), (300, 2)))
def test_nobody_is_found_in_a_few_pixels(folders: dict[str, Path], easily_seen: None, shape: tuple[int, int]) -> None:
    with pytest.raises(EngineFailed, match="Nobody was found"):
        pose_of(np.full((*shape, 3), 90, np.uint8))


def test_both_models_are_needed(settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    pull_tiny(tmp_path / "carried", "vitpose")
    assert Catalog().find_preprocessor("openpose") == ()
    pull_tiny(tmp_path / "second", "rt-detr")
    assert [spec.slug for spec in Catalog().find_preprocessor("openpose")] == list(SLUGS.values())


def test_a_model_of_other_key_points_is_refused(tmp_path: Path) -> None:
    import transformers

    from tests.support import tiny_vision_models

    other = tiny_vision_models.saved(tmp_path / "other", "vitpose")
    config = transformers.VitPoseConfig.from_pretrained(other)
    config.num_labels = 21
    transformers.VitPoseForPoseEstimation(config).save_pretrained(other)
    (spec,) = (tool for tool in SHIPPED_TOOLS if tool.family == "vitpose")
    with pytest.raises(EngineFailed, match="finds 21 key points") as caught:
        NetworkCache().of(replace(spec, path=other))
    assert caught.value.code == "model_refused"


def test_a_pose_and_a_depth_map_in_turn_load_each_network_once(
    folders: dict[str, Path], easily_seen: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support import tiny_vision_models

    depth = tiny_vision_models.saved(tmp_path / "depth", "depth-anything")
    call_command("pull_model", "depth-anything-v2-small", "--yes", f"--from={depth}", stdout=StringIO())
    loaded = []

    def recorded(load: Any, implementation: Any, spec: ModelSpec, path: Path) -> Any:
        loaded.append(spec.family)
        return load(implementation, spec, path)

    for family in (*SLUGS, "depth-anything"):
        owner = type(families.get(family).load_implementation())
        monkeypatch.setattr(owner, "load", lambda *arguments, load=owner.load: recorded(load, *arguments))
    for kind in (ControlImageKind.OPENPOSE, ControlImageKind.DEPTH) * 3:
        control_image(Catalog().find_preprocessor(kind), CanonicalImage(ASTRONAUT))
    assert sorted(loaded) == ["depth-anything", "rt-detr", "vitpose"]


@pytest.fixture
def pose_controlnet(diffusion_requests: list[InpaintRequest], tmp_path: Path) -> str:
    """The slug of a ControlNet for poses."""
    folder = network(tmp_path / "pose", _class_name="ControlNetModel")
    return add_model("pose", folder, "--kind", "controlnet", "--control", "openpose").slug


def test_a_missing_pose_is_computed_from_the_photo(
    pose_controlnet: str,
    folders: dict[str, Path],
    easily_seen: None,
    diffusion_requests: list[InpaintRequest],
    alices_program: Client,
    photo_png: bytes,
    mask_png: bytes,
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, control=pose_controlnet))
    assert answer.status_code == 200, answer.json()
    (request,) = diffusion_requests
    assert request.conditioning_images["control_image"].pixels.any()
    note = "control_image was not sent: ViTPose base and RT-DETR R18 computed it from the image."
    assert note in json.dumps(answer.json()["metadata"])


def test_a_photo_without_people_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    pose_controlnet: str,
    folders: dict[str, Path],
    diffusion_requests: list[InpaintRequest],
    alices_program: Client,
    photo_png: bytes,
    mask_png: bytes,
) -> None:
    monkeypatch.setattr(rt_detr, "MIN_SCORE", 0.9)
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, control=pose_controlnet))
    assert answer.status_code == 400
    assert answer.json()["code"] == "control_image_missing"
    assert answer.json()["message"] == "Nobody was found in the image: send the pose as control_image."
    assert not diffusion_requests


def test_without_the_models_the_refusal_names_the_commands(
    pose_controlnet: str, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, control=pose_controlnet))
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(
        "send it as control_image, or install ViTPose base and RT-DETR R18, which compute it: "
        "manage.py pull_model vitpose-base-simple && manage.py pull_model rtdetr-r18."
    )
