"""Write sheets of what clicks select, and of soft edges, to judge the masks by eye.

    .venv/bin/python -m benchmarks.mask_sheets [--only OBJECT]... [--clicks SHEET.jpg] [--soft SHEET.jpg]

The objects are those of `benchmarks/scenes`, and the clicks those of `benchmarks.segmenters --editor`: each further one
where most is wrong, kept as the editor keeps it. A row of --clicks has the photo with the drawn outline, then what the
first, second and third click select, and their overlap with what was drawn: green dots are on the object, red ones
beside it. A row of --soft has the part of the photo with most detail along the edge of what a box selects, and that
part cut out with a hard edge, with a soft edge, and the soft mask, at FACTOR times their size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quick_fill import row_of, write_sheet
from benchmarks.scenes import objects
from benchmarks.segmenters import by_clicks, overlap
from inpainting.core.geometry import Box
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.masks import bounds
from inpainting.segmenters import registry
from inpainting.segmenters.base import Point, Selection, candidates_of
from inpainting.segmenters.soft_edges import soften

Bytes = NDArray[np.uint8]
CLICKS = 3
CLICKED = ("macaw", "dog", "kangaroo")
"""The objects of the sheet of clicks, where --only names none: one that is selected well, two that are not."""
SOFTENED = ("koala", "dog", "hedgehog")
"""The objects of the sheet of soft edges, where --only names none."""
PART, FACTOR = 160, 2
"""Pixels a side of the part that is shown of an edge, and how much it is enlarged."""
BACKGROUND = (60, 120, 200)
"""The colour behind what is cut out."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", action="append", metavar="OBJECT", help="this object, not those of the docs")
    arguments.add_argument("--clicks", type=Path, help="where to write the sheet of clicks (.jpg or .png)")
    arguments.add_argument("--soft", type=Path, help="where to write the sheet of soft edges (.jpg or .png)")
    options = arguments.parse_args()
    found = {name: (photo, truth) for name, photo, truth in objects()}
    if options.clicks:
        write_sheet(options.clicks, [row_of_clicks(name, *found[name]) for name in options.only or CLICKED])
    if options.soft:
        write_sheet(options.soft, [row_of_edges(name, *found[name]) for name in options.only or SOFTENED])


def row_of_clicks(name: str, photo: Bytes, truth: Mask) -> Bytes:
    masks, points = by_clicks(registry.find(registry.DEFAULT), CanonicalImage(photo), truth, CLICKS, keeps=True)
    images = {name: outlined(photo, truth)}
    for count, mask in enumerate(masks, 1):
        title = f"{count} click{'s' * (count > 1)}: {overlap(mask, truth):.2f}"
        images[title] = dotted(darkened(photo, mask), points[:count])
    return row_of(images)


def row_of_edges(name: str, photo: Bytes, truth: Mask) -> Bytes:
    selection = Selection(box=bounds(truth))
    hard = candidates_of(registry.find(registry.DEFAULT), CanonicalImage(photo), selection)[0].mask
    soft = soften(photo, hard)
    part = softest_part(soft).slices
    images = {
        name: photo[part],
        "hard edge": cut_out(photo[part], hard[part]),
        "soft edge": cut_out(photo[part], soft[part]),
        "its mask": cv2.cvtColor(soft[part], cv2.COLOR_GRAY2RGB),
    }
    return row_of({title: enlarged(image) for title, image in images.items()})


def outlined(photo: Bytes, mask: Mask) -> Bytes:
    shown = photo.copy()
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(shown, outlines, -1, (255, 0, 255), max(2, photo.shape[1] // 250))
    return shown


def darkened(photo: Bytes, mask: Mask) -> Bytes:
    """The photo, dark where nothing is selected, with the outline of what is."""
    return outlined(np.where(mask[:, :, np.newaxis] > 0, photo, photo // 4), mask)


def dotted(shown: Bytes, points: tuple[Point, ...]) -> Bytes:
    radius = max(6, shown.shape[1] // 70)
    for point in points:
        at = round(point.x), round(point.y)
        cv2.circle(shown, at, radius, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(shown, at, radius - 2, (0, 160, 0) if point.is_object else (220, 0, 0), -1, cv2.LINE_AA)
    return shown


def softest_part(mask: Mask) -> Box:
    """The square of PART pixels a side with most grey in the mask."""
    grey = ((mask > 0) & (mask < 255)).astype(np.float32)
    counts = cv2.boxFilter(grey, -1, (PART, PART), normalize=False, borderType=cv2.BORDER_CONSTANT)
    half, (height, width) = PART // 2, mask.shape
    _, _, _, (x, y) = cv2.minMaxLoc(counts[half : height - half, half : width - half])
    return Box(x, y, x + PART, y + PART)


def cut_out(photo: Bytes, mask: Mask) -> Bytes:
    share = mask[:, :, np.newaxis] / 255
    return np.rint(share * photo + (1 - share) * np.array(BACKGROUND)).astype(np.uint8)


def enlarged(image: Bytes) -> Bytes:
    return np.asarray(cv2.resize(image, None, fx=FACTOR, fy=FACTOR, interpolation=cv2.INTER_CUBIC), np.uint8)


if __name__ == "__main__":
    main()
