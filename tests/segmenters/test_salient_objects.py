"""The networks of rembg: the same masks as rembg's own code gives with the same files, and their errors."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from numpy.typing import NDArray
from PIL import Image
from skimage import data

pytest.importorskip("onnxruntime", reason="the erase engine is not installed")

import onnxruntime

from inpainting.catalog.shipped_tools import SALIENT_OBJECTS
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage
from inpainting.models import InferenceModel
from inpainting.segmenters import registry
from inpainting.segmenters.base import Segmenter, Selection, candidates_of
from inpainting.segmenters.networks import salient_objects
from tests.support import tiny_networks

pytestmark = pytest.mark.usefixtures("models_folder", "db")
Install = Callable[..., Segmenter]
PARAMETERS = {
    "u2net": (320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "u2net-cloth-seg": (768, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "isnet": (1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
    "isnet-anime": (1024, (0.485, 0.456, 0.406), (1.0, 1.0, 1.0)),
    "birefnet": (1024, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Family -> side, mean and deviation in rembg/sessions of rembg 2.0.86; of garments in the network's own infer.py."""


@pytest.fixture
def install(tmp_path: Path) -> Install:
    def install(slug: str, content: bytes) -> Segmenter:
        path = tmp_path / f"{slug}.onnx"
        path.write_bytes(content)
        call_command("pull_model", slug, "--yes", f"--from={path}", stdout=StringIO())
        return registry.find(slug)

    return install


def network_of(slug: str, **changed: Any) -> bytes:
    family = InferenceModel.objects.get(slug=slug).family
    channels = 4 if family == "u2net-cloth-seg" else 1
    return tiny_networks.salient(**{"side": PARAMETERS[family][0], "channels": channels, **changed})


def as_rembg(photo: NDArray[np.uint8], slug: str, content: bytes) -> NDArray[np.uint8]:
    """The mask by the steps of rembg's `normalize` and `predict`."""
    family = InferenceModel.objects.get(slug=slug).family
    side, mean, deviation = PARAMETERS[family]
    image = Image.fromarray(photo)
    small = np.array(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
    fed = (small / max(np.max(small), 1e-6) - mean) / deviation
    session = onnxruntime.InferenceSession(content)
    inputs = {session.get_inputs()[0].name: fed.transpose(2, 0, 1)[None].astype(np.float32)}
    output = session.run(None, inputs)[0][:, 0]
    if family == "birefnet":
        output = 1 / (1 + np.exp(-output))
    output = ((output - output.min()) / (output.max() - output.min())).squeeze()
    mask = Image.fromarray((output * 255).astype("uint8")).resize(image.size, Image.Resampling.LANCZOS)
    return np.asarray(mask)


@pytest.mark.parametrize("slug", [spec.slug for spec in SALIENT_OBJECTS if spec.slug != "u2net_cloth_seg"])
def test_masks_equal_those_of_rembg(install: Install, slug: str) -> None:
    photo = data.coffee()[:150, :220]
    content = tiny_networks.salient_by_every_channel("side")
    found = install(slug, content).segment(CanonicalImage(photo), Selection())
    assert found.shape == (150, 220)
    assert found.dtype == np.uint8
    assert np.array_equal(found, as_rembg(photo, slug, content))
    assert len(np.unique(found)) > 50  # soft


def test_white_is_the_object_in_every_depth_and_mode(install: Install) -> None:
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[10:30, 20:45] = 250
    segmenter = install("u2net", network_of("u2net"))
    expected = segmenter.segment(CanonicalImage(photo), Selection())
    assert expected[20, 30] > 240
    assert expected[2, 2] == 0
    with_alpha = np.dstack([photo, np.full((40, 60), 7, np.uint8)])
    for pixels in (photo.astype(np.uint16) * 257, photo[:, :, :1], with_alpha):
        assert np.array_equal(segmenter.segment(CanonicalImage(pixels), Selection()), expected)


def test_each_category_of_garments_has_its_own_mask_and_together_they_are_the_default(install: Install) -> None:
    photo = np.zeros((60, 90, 3), np.uint8)
    for channel in range(3):  # the colours stand for upper, lower and full
        photo[20:40, 30 * channel + 5 : 30 * channel + 25, channel] = 255
    segmenter = install("u2net_cloth_seg", network_of("u2net_cloth_seg"))
    for place, category in enumerate(("upper", "lower", "full")):
        mask = segmenter.segment(CanonicalImage(photo), Selection(category=category))
        assert [bool(mask[30, column] > 127) for column in (15, 45, 75)] == [place == index for index in range(3)]
    mask = segmenter.segment(CanonicalImage(photo), Selection())
    assert all(mask[30, column] > 127 for column in (15, 45, 75))
    assert not mask[5].any()
    with pytest.raises(InvalidRequest, match="the categories are: upper, lower, full"):
        segmenter.segment(CanonicalImage(photo), Selection(category="hat"))


def test_images_are_normalised_for_garments_as_in_training() -> None:
    """To -1 to 1, not with the mean and deviation of ImageNet as rembg does."""
    fed = salient_objects.CLOTHES.tensor(CanonicalImage(data.coffee()[:60, :60]), 60)
    photo = data.coffee()[:60, :60].transpose(2, 0, 1)[None]
    assert np.allclose(fed, photo / photo.max() * 2 - 1, atol=1e-6)


def test_a_flat_output_selects_nothing_and_wrong_outputs_are_errors(install: Install) -> None:
    photo = CanonicalImage(data.coffee()[:60, :60])
    assert not install("u2net", network_of("u2net", gain=0)).segment(photo, Selection()).any()
    with pytest.raises(EngineFailed) as failed:
        install("u2netp", network_of("u2netp", gain=np.inf)).segment(photo, Selection())
    assert failed.value.code == "model_produced_invalid_output"
    with pytest.raises(EngineFailed) as failed:
        install("u2net_cloth_seg", network_of("u2net_cloth_seg", channels=2)).segment(photo, Selection())
    assert failed.value.code == "model_produced_invalid_output"


def test_hints_that_a_network_does_not_read_are_refused(install: Install) -> None:
    segmenter = install("u2net", network_of("u2net"))
    with pytest.raises(InvalidRequest, match="does not read box; it takes the image alone"):
        candidates_of(segmenter, CanonicalImage(data.coffee()), Selection(box=Box(0, 0, 9, 9)))


def test_a_model_that_is_not_installed_is_refused_with_the_command() -> None:
    with pytest.raises(InvalidRequest, match=r"manage\.py pull_model isnet-general-use") as refused:
        registry.find("isnet-general-use")
    assert (refused.value.code, refused.value.field) == ("model_unavailable", "segmenter")


def test_a_model_of_ones_own_is_found_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(tiny_networks.salient("side", name="picture"))
    call_command("add_model", "mine", "--family=u2net", f"--from={path}", stdout=StringIO())
    assert registry.find("mine").segment(CanonicalImage(data.coffee()[:50, :70]), Selection()).shape == (50, 70)


def test_a_network_whose_file_has_changed_is_loaded_again(install: Install) -> None:
    photo = CanonicalImage(data.coffee()[:40, :40])
    segmenter = install("silueta", network_of("silueta", side=64))
    assert segmenter.segment(photo, Selection()).any()
    path = segmenter.spec.path  # type: ignore[attr-defined]
    path.write_bytes(network_of("silueta", side=64, gain=0))
    assert not segmenter.segment(photo, Selection()).any()
