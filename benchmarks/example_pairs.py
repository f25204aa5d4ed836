"""Write the photos before and after that pages show beside a recommended model: `static/img/examples`.

    .venv/bin/python -m benchmarks.example_pairs [--out DIR]

Each is a scene of `benchmarks/scenes`, erased by the published weights of the model, which `python -m tests.weights`
fetches. The scenes are photos whose licence asks for no attribution. Results are shown as they are, none is retouched.
`tests/weights/test_example_pairs.py` compares the written images with a new run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import scenes
from benchmarks.plans import planned
from inpainting.catalog.specs import ModelSpec
from inpainting.core.geometry import WindowRule
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.erase import declaration as erase
from inpainting.engines.erase.engine import Erase
from inpainting.engines.painting import paint
from tests.weights import cache
from tests.weights.published import PUBLISHED

SCENES = {"migan": "tripod"}
"""Slug of an erase model -> the scene of its pair: the camera of scikit-image, by Lav Varshney, CC0-1.0."""
FOLDER = Path(__file__).resolve().parents[1] / "static" / "img" / "examples"
SIDE = 400
"""Pixels of the longer side: the cards are at most half as wide, so that it is sharp on a dense screen."""
QUALITY = 75


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=FOLDER, help="the folder to write into")
    folder = arguments.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for slug in SCENES:
        for name, image in zip(("before", "after"), pair(slug, cache.path_of(PUBLISHED[slug])), strict=True):
            image.save(folder / f"{slug}-{name}.webp", quality=QUALITY, method=6)


def pair(slug: str, weights: Path) -> tuple[Image.Image, Image.Image]:
    """The scene of a model and what its weights make of it, at most SIDE a side."""
    entry = scenes.outlines_in("erased.json")[SCENES[slug]]
    photo = scenes.read(scenes.photos()[entry["photo"]])
    mask = scenes.drawn(entry["outlines"], photo.shape[:2])
    engine = Erase()
    request = InpaintRequest(CanonicalImage(photo), mask, PaintSettings())
    model = ModelSpec(slug=slug, label=slug, family=slug, path=weights)
    (done,) = paint(
        planned(request, engine.declaration, WindowRule(erase.CONTEXT, erase.MIN_CONTEXT), model),
        engine,
        lambda step: None,
    )
    return small(photo), small(np.asarray(done.image.pixels, np.uint8))


def small(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


if __name__ == "__main__":
    main()
