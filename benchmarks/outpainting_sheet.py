"""Extend photos by quick-fill and by erase, and write a contact sheet to judge the results by eye.

    .venv/bin/python -m benchmarks.outpainting_sheet [--only PHOTO]... --out SHEET.jpg

A quarter of the photo is added to each side that CASES names. A row has the results of quick-fill, of the published
MI-GAN alone (as erase paints without numba), and of erase, which follows it with pixels of the photo. Red marks show
where the photo ends. The photos are those of docs/use/outpainting.md and of `benchmarks/scenes`; `make weights` fetches
the network. Printed of each result: the processor time, and the seam score (core/seams.py; visible from 1 on).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import scenes
from benchmarks.outpainting import NAMES, default_photos
from benchmarks.plans import planned
from benchmarks.quick_fill import row_of, write_sheet
from inpainting.catalog.specs import ModelSpec
from inpainting.core import compiled
from inpainting.core.codecs import to_rgb8
from inpainting.core.geometry import Box, WindowRule
from inpainting.core.image import CanonicalImage
from inpainting.core.outpainting import Outpaint, extend
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.base import Engine
from inpainting.engines.erase import declaration as erase
from inpainting.engines.erase.engine import Erase
from inpainting.engines.painting import paint
from inpainting.engines.quick_fill import declaration as quick_fill
from inpainting.engines.quick_fill.engine import QuickFill
from tests.weights import cache
from tests.weights.published import PUBLISHED

Bytes = NDArray[np.uint8]
SIDE = 640
"""Pixels of a photo's longer side."""
EVERY_SIDE = ("left", "top", "right", "bottom")
CASES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(NAMES, EVERY_SIDE),
    "horse": ("left", "right"),
    "montStMichel": EVERY_SIDE,
    "colosseum": ("right",),
    "china": ("left", "top"),
    "dog": EVERY_SIDE,
    "aulaPalatina": ("left",),
    "redPyramid": EVERY_SIDE,
    "lomiri-Picture_0B": ("left", "right"),
}
"""The sides of each photo that are extended."""
RULES = {
    "quick-fill": WindowRule(quick_fill.CONTEXT, quick_fill.MIN_CONTEXT),
    "erase": WindowRule(erase.CONTEXT, erase.MIN_CONTEXT),
}
"""How much of the photo each engine is given, as in a request."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", action="append", choices=sorted(CASES), help="only this photo")
    arguments.add_argument("--out", type=Path, required=True, help="where to write the sheet (.jpg or .png)")
    options = arguments.parse_args()
    migan = ModelSpec(slug="migan", label="MI-GAN", family="migan", path=cache.path_of(PUBLISHED["migan"]))
    rows: list[Bytes] = []
    for name in options.only or CASES:
        request = extended(photo(name), CASES[name])
        with patch.object(compiled, "AVAILABLE", False):
            alone = painted(f"{name}: MI-GAN alone", request, Erase(), migan)
        filled = painted(f"{name}: quick-fill", request, QuickFill(), None)
        rows.append(row_of(filled | alone | painted(f"{name}: erase", request, Erase(), migan)))
    write_sheet(options.out, rows)


def photo(name: str) -> Bytes:
    paths = {path.stem: path for path in default_photos()}
    return np.asarray(Image.open(paths[name]).convert("RGB")) if name in paths else scenes.read(scenes.photos()[name])


def extended(photo: Bytes, sides: tuple[str, ...]) -> InpaintRequest:
    scale = min(1.0, SIDE / max(photo.shape[:2]))
    photo = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = photo.shape[:2]
    added = {side: (width if side in ("left", "right") else height) // 4 for side in sides}
    canvas, mask, placement = extend(CanonicalImage(photo), Outpaint(**added))
    return InpaintRequest(canvas, mask, PaintSettings(seed=1), placement=placement)


def painted(title: str, request: InpaintRequest, engine: Engine, model: ModelSpec | None) -> dict[str, Bytes]:
    """Return the marked result by its title, and print its figures."""
    plan = planned(request, engine.declaration, RULES[engine.declaration.name], model)
    start = time.process_time()
    (painting,) = paint(plan, engine, lambda step: None)
    print(f"{title}: {time.process_time() - start:.1f} s, seam {painting.seam_score:.2f}", flush=True)
    assert request.placement is not None, "the request is of an outpainting"
    return {title: marked(to_rgb8(painting.image), request.placement.box)}


def marked(image: Bytes, box: Box, margin: int = 14) -> Bytes:
    """Return the image with a white margin, in which red marks show the edges of `box`."""
    out = np.full((image.shape[0] + 2 * margin, image.shape[1] + 2 * margin, 3), 255, np.uint8)
    out[margin:-margin, margin:-margin] = image
    for row in (box.top, box.bottom):
        out[row + margin - 1 : row + margin + 1, : margin - 3] = (255, 0, 0)
        out[row + margin - 1 : row + margin + 1, 3 - margin :] = (255, 0, 0)
    for column in (box.left, box.right):
        out[: margin - 3, column + margin - 1 : column + margin + 1] = (255, 0, 0)
        out[3 - margin :, column + margin - 1 : column + margin + 1] = (255, 0, 0)
    return out


if __name__ == "__main__":
    main()
