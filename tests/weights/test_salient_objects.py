"""The published U²-Net and IS-Net: the masks of rembg's own code, and what a person would select."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from numpy.typing import NDArray
from skimage import data

from inpainting.core.image import CanonicalImage
from inpainting.segmenters import registry
from inpainting.segmenters.base import Segmenter, Selection
from tests.support import tiny_networks
from tests.weights.drawn import ASTRONAUT, COAT, CUP, Outline, overlap
from tests.weights.published import PublishedFile

pytestmark = pytest.mark.weights

RembgMasks = Callable[..., list[NDArray[np.uint8]]]
Install = Callable[[str], Segmenter]
U2NET, U2NETP, CLOTHES = "u2net:U2netSession", "u2netp:U2netpSession", "u2net_cloth_seg:Unet2ClothSession"
ISNET = "dis_general_use:DisSession"
STEPS = {"isnet-anime": "dis_anime:DisSession", "birefnet": "birefnet_general:BiRefNetSessionGeneral"}
"""Families of which no weights are published as a package, and rembg's sessions of them."""
HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def install(published_file: PublishedFile, tmp_path: Path, settings: Any, db: None) -> Install:
    """install(slug) -> the segmenter of a published file, which is installed as the shipped model or as one's own."""
    settings.MODELS_DIR = tmp_path / "models"

    def install(slug: str) -> Segmenter:
        source = f"--from={published_file(slug)}"
        if slug.startswith("isnet"):
            call_command("add_model", slug, "--family=isnet", source, stdout=StringIO())
        else:  # checks the file against the MD5 of the catalog
            call_command("pull_model", slug, "--yes", source, stdout=StringIO())
        return registry.find(slug)

    return install


@pytest.mark.parametrize(
    ("slug", "session", "photo", "outline", "least"),
    [
        ("u2netp", U2NETP, "coffee", CUP, 0.97),
        ("u2netp", U2NETP, "astronaut", ASTRONAUT, 0.95),
        ("u2net", U2NET, "coffee", CUP, 0.97),
        ("isnet-fp16", ISNET, "astronaut", ASTRONAUT, 0.97),
        ("isnet-8bit", ISNET, "coffee", CUP, 0.97),
    ],
)
def test_a_mask_equals_that_of_rembg_and_covers_the_object(
    install: Install,
    published_file: PublishedFile,
    rembg_masks: RembgMasks,
    *,
    slug: str,
    session: str,
    photo: str,
    outline: Outline,
    least: float,
) -> None:
    pixels = getattr(data, photo)()
    mask = install(slug).segment(CanonicalImage(pixels), Selection())
    assert np.array_equal(mask, rembg_masks(session, published_file(slug), pixels)[0])
    assert overlap(mask, outline) > least


@pytest.mark.parametrize("family", STEPS)
def test_the_steps_of_a_family_without_published_weights_are_those_of_rembg(
    rembg_masks: RembgMasks, tmp_path: Path, settings: Any, db: None, *, family: str
) -> None:
    """With a network of which the mask depends on the size, the mean and the deviation of what it gets."""
    settings.MODELS_DIR = tmp_path / "models"
    path = tmp_path / "network.onnx"
    path.write_bytes(tiny_networks.salient_by_every_channel("side"))
    call_command("add_model", "mine", f"--family={family}", f"--from={path}", stdout=StringIO())
    pixels = data.astronaut()
    mask = registry.find("mine").segment(CanonicalImage(pixels), Selection())
    assert np.array_equal(mask, rembg_masks(STEPS[family], path, pixels)[0])
    assert len(np.unique(mask)) > 200


@pytest.mark.parametrize("family", ["birefnet", "isnet", "u2net"])
def test_modnet_is_refused_as_another_network(
    published_file: PublishedFile, tmp_path: Path, settings: Any, db: None, *, family: str
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    with pytest.raises(CommandError, match=r"modnet\.onnx normalises each image by itself, as MODNet"):
        call_command("add_model", "mine", f"--family={family}", f"--from={published_file('modnet')}", stdout=StringIO())


def test_garments_are_those_of_rembg_with_the_normalisation_of_the_network(
    install: Install, published_file: PublishedFile, rembg_masks: RembgMasks
) -> None:
    pixels = np.dstack([data.camera()] * 3)
    segmenter = install("u2net_cloth_seg")
    expected = rembg_masks(CLOTHES, published_file("u2net_cloth_seg"), pixels, normalisation=(HALF, HALF))
    upper = segmenter.segment(CanonicalImage(pixels), Selection(category="upper"))
    assert ((upper > 127) == (expected[0] > 127)).mean() > 0.998  # rembg scales the numbers of the categories
    garments = segmenter.segment(CanonicalImage(pixels), Selection())
    assert overlap(garments, COAT) > 0.62
    assert (garments[65:130, 180:270] > 127).mean() < 0.05, "the head is a garment"
