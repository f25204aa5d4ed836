"""Depth maps by Depth Anything, equal to transformers' own pipeline, and ControlNets that are given them."""

from __future__ import annotations

import json
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from PIL import Image
from PIL.ExifTags import Base
from skimage import data

from inpainting.catalog.lookup import Catalog
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.preprocessors import control_image
from inpainting.preprocessors.depth_anything import DEPTH_ANYTHING, DepthAnything
from inpainting.web.editor.editor_choices import choices
from tests.api.bodies import shape_a

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("not __import__('importlib.util').util.find_spec('torch')", reason="torch is not installed"),
]
COFFEE = data.coffee()[:81, :130]


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    """A tiny Depth Anything, installed; as it was before."""
    settings.MODELS_DIR = tmp_path / "models"
    return pull_tiny(tmp_path / "carried")


def pull_tiny(folder: Path) -> Path:
    from tests.support import tiny_vision_models

    tiny_vision_models.saved(folder, "depth-anything")
    call_command("pull_model", "depth-anything-v2-small", "--yes", f"--from={folder}", stdout=StringIO())
    return folder


def depth_of(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return control_image(Catalog().find_preprocessor("depth"), CanonicalImage(pixels)).pixels


def test_a_depth_map_is_that_of_transformers_in_any_mode(folder: Path) -> None:
    import transformers
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    estimate = transformers.pipeline(
        "depth-estimation",
        model=transformers.DepthAnythingForDepthEstimation.from_pretrained(folder),
        image_processor=DPTImageProcessorPil.from_pretrained(folder),
    )
    expected = np.asarray(estimate(Image.fromarray(COFFEE))["depth"])
    assert expected.min() == 0
    assert expected.max() == 255
    transparent = np.dstack([COFFEE, np.zeros(COFFEE.shape[:2], np.uint8)])
    for pixels in (COFFEE, COFFEE.astype(np.uint16) * 257, transparent):
        depth = depth_of(pixels)
        assert depth.shape == COFFEE.shape
        assert (depth == expected[:, :, None]).all()


@pytest.mark.parametrize(
    ("photo", "size"),
    [
        (data.astronaut(), (518, 518)),
        (np.tile(data.coffee(), (2, 2, 1)), (784, 518)),
        (np.tile(data.coffee(), (2, 2, 1)).transpose(1, 0, 2), (518, 784)),
        (data.coffee(), (518, 350)),
    ],
    ids=["square", "wide", "high", "small"],
)
def test_it_is_fed_as_by_its_authors_with_the_published_settings(
    tmp_path: Path, photo: np.ndarray[Any, Any], size: tuple[int, int]
) -> None:
    """Depth-Anything-V2, depth_anything_v2/dpt.py, `image2tensor`: RGB, the shorter side at 518 pixels, both multiples
    of 14, cubic, ImageNet's normalisation. The published processor scales an image of less than 518 pixels by its
    longer side, where the authors' code scales it up by the shorter one."""
    from tests.support import published_preprocessors as published
    from tests.support import tiny_vision_models

    folder = published.put_into(tiny_vision_models.saved(tmp_path / "depth", "depth-anything"), "depth-anything")
    (spec,) = (tool for tool in SHIPPED_TOOLS if tool.family == "depth-anything")
    _, processor = DEPTH_ANYTHING.load(spec, folder)
    photo = np.ascontiguousarray(photo)
    inputs = published.fed_by(lambda: DEPTH_ANYTHING.control_image((published.Recorder(), processor), photo))
    expected = published.scaled(photo, *size, Image.Resampling.BICUBIC, published.IMAGENET)
    assert inputs["pixel_values"].shape == (1, *expected.shape)
    assert np.allclose(inputs["pixel_values"][0], expected, atol=1e-5)


def test_white_is_what_is_nearest_over_the_whole_range() -> None:
    """Depth-Anything-V2, run.py: what is nearer has larger numbers; (d - min) / (max - min) * 255, cut off."""
    import torch

    class Ramp(Flat):
        def post_process_depth_estimation(self, output: Any, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
            return [{"predicted_depth": torch.linspace(2.0, 7.0, sizes[0][1]).expand(sizes[0])}]

    depth = DepthAnything().control_image((Ramp(0), Ramp(0)), COFFEE)
    nearness = np.linspace(2, 7, COFFEE.shape[1], dtype=np.float32)
    assert np.array_equal(depth[0, :, 0], ((nearness - 2) / 5 * 255).astype(np.uint8))
    assert (depth[0, 0, 0], depth[0, -1, 0]) == (0, 255)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2)])
def test_thin_images_have_a_depth_map_too(folder: Path, shape: tuple[int, int]) -> None:
    assert depth_of(np.full((*shape, 3), 90, np.uint8)).shape == (*shape, 3)


class Flat:
    """A model and its processor, which find everything equally near."""

    device = "cpu"

    def __init__(self, depth: float) -> None:
        self.depth = depth

    def __call__(self, **inputs: Any) -> Any:
        return inputs

    def post_process_depth_estimation(self, output: Any, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
        import torch

        return [{"predicted_depth": torch.full(sizes[0], self.depth)}]


def test_a_flat_depth_map_is_black() -> None:
    assert not DepthAnything().control_image((Flat(3.0), Flat(3.0)), COFFEE).any()


def test_a_depth_that_is_no_number_is_told() -> None:
    nan = Flat(float("nan"))
    with pytest.raises(EngineFailed, match="not finite"):
        DepthAnything().control_image((nan, nan), COFFEE)


def test_a_missing_control_image_is_computed_from_the_photo(
    folder: Path, diffusion_requests: list[InpaintRequest], alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, control="depth"))
    assert answer.status_code == 200, answer.json()
    (request,) = diffusion_requests
    assert request.conditioning_images["control_image"].pixels.max() > 0
    note = "control_image was not sent: Depth Anything V2 small computed it from the image."
    assert note in json.dumps(answer.json()["metadata"])


def test_the_depth_of_a_turned_photo_is_that_of_the_photo_upright(
    folder: Path, diffusion_requests: list[InpaintRequest], alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    upright = Image.open(BytesIO(photo_png)).convert("RGBA")
    exif, turned = Image.Exif(), BytesIO()
    exif[Base.Orientation] = 6  # shown after a quarter turn clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, "PNG", exif=exif)
    for photo in (photo_png, turned.getvalue()):
        answer = alices_program.post("/api/img2img", shape_a(photo, mask_png, control="depth"))
        assert answer.status_code == 200, answer.json()
    expected, depth = (request.conditioning_images.get("control_image") for request in diffusion_requests)
    assert expected is not None
    assert depth is not None
    assert depth.equals(expected)


def test_the_editor_asks_for_no_depth_map_where_one_is_computed(
    diffusion_requests: list[InpaintRequest], tmp_path: Path
) -> None:
    def needs_no_file() -> list[str]:
        return next(adapter["computed"] for adapter in choices()["adapters"] if adapter["slug"] == "depth")

    assert needs_no_file() == []
    pull_tiny(tmp_path / "carried")
    assert needs_no_file() == ["depth"]


def test_without_the_model_the_refusal_names_the_command(
    diffusion_requests: list[InpaintRequest], alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, control="depth"))
    assert answer.status_code == 400
    assert answer.json()["code"] == "control_image_missing"
    assert answer.json()["message"].endswith(
        "send it as control_image, or install Depth Anything V2 small, which computes it: "
        "manage.py pull_model depth-anything-v2-small."
    )
    assert not diffusion_requests
