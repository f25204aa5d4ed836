"""Erase the objects of all scenes and write contact sheets to judge the results by eye.

    .venv/bin/python -m benchmarks.contact_sheets [--engine NAME]... [--folder DIR] [--only SCENE]... --out SHEET.jpg

NAME is `quick-fill`, `erase` with the published MI-GAN that `make weights` fetches, or a method of OpenCV. The scenes
are those of `benchmarks/scenes`, or the NAME.jpg or .png with NAME_mask.png (white is painted) of a folder. A row has
the photo with the outline of its mask, then each engine's result and its hole enlarged. SHEET-1.jpg, SHEET-2.jpg ...
have ROWS rows each. Printed of each result: the processor time, and the seam score (core/seams.py; visible from 1 on).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import scenes
from benchmarks.quick_fill import fills, pairs_in, row_of, write_sheet
from inpainting.core.image import CanonicalImage
from inpainting.core.masks import bounds
from inpainting.core.seams import seam_score

Bytes = NDArray[np.uint8]
ROWS = 6
MARGIN = 0.5
"""How much more than the hole the enlarged part shows, of the hole's size."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--engine", action="append", choices=sorted(fills([])), help="default: quick-fill")
    arguments.add_argument("--folder", type=Path, help="a folder of photos with masks in place of the scenes")
    arguments.add_argument("--only", action="append", metavar="SCENE", help="only this one")
    arguments.add_argument("--out", type=Path, required=True, help="where to write the sheets (.jpg or .png)")
    options = arguments.parse_args()
    engines: list[str] = options.engine or ["quick-fill"]
    busy: dict[str, list[float]] = {engine: [] for engine in engines}
    rows: list[Bytes] = []
    written = 0
    print("| scene | masked | " + " | ".join(f"{engine}: seam, processor" for engine in engines) + " |")
    print("|---" * (2 + len(engines)) + "|")
    for name, photo, mask in scenes_in(options.folder):
        if options.only and name not in options.only:
            continue
        results, figures = painted(photo, mask, engines, busy)
        share = 100 * np.count_nonzero(mask) / mask.size
        print(f"| {name} | {share:.1f} % | " + " | ".join(figures) + " |", flush=True)
        rows.append(row(name, photo, mask, results))
        if len(rows) == ROWS:
            written += 1
            write_sheet(numbered(options.out, written), rows)
            rows = []
    if rows:
        write_sheet(numbered(options.out, written + 1), rows)
    for engine, seconds in busy.items():
        if seconds:
            median, most = statistics.median(seconds), max(seconds)
            print(f"{engine}: {median:.2f} s of processor time, at most {most:.2f} ({len(seconds)} scenes)")


def scenes_in(folder: Path | None) -> Iterator[tuple[str, Bytes, Bytes]]:
    if folder is None:
        yield from scenes.erase_scenes()
        return
    for name, (photo, mask) in pairs_in(folder).items():
        yield name, photo, mask


def painted(
    photo: Bytes, mask: Bytes, engines: list[str], busy: dict[str, list[float]]
) -> tuple[dict[str, Bytes], list[str]]:
    """What each engine paints, and its figures as text. Its processor seconds are added to `busy`."""
    results, figures = {}, []
    for engine in engines:
        before = time.process_time()
        results[engine] = fills([])[engine](photo, mask)
        busy[engine].append(time.process_time() - before)
        seam = seam_score(CanonicalImage(results[engine]), mask)
        figures.append(f"{seam:.2f}, {busy[engine][-1]:.2f} s")
    return results, figures


def row(name: str, photo: Bytes, mask: Bytes, results: dict[str, Bytes]) -> Bytes:
    outlined = photo.copy()
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, outlines, -1, (255, 0, 255), max(1, photo.shape[1] // 300))
    here = part_around(mask)
    images = {name: outlined}
    for engine, result in results.items():
        images |= {engine: result, f"{engine}, enlarged": result[here]}
    return row_of(images)


def part_around(mask: Bytes) -> tuple[slice, slice]:
    """The part of the photo, of the photo's proportions, with the hole and MARGIN."""
    box = bounds(mask)
    assert box is not None, "a mask of a scene is not empty"
    height, width = mask.shape
    share = min(1.0, (1 + MARGIN) * max(box.size.width / width, box.size.height / height))
    rows, columns = round(share * height), round(share * width)
    top = min(max(0, (box.top + box.bottom - rows) // 2), height - rows)
    left = min(max(0, (box.left + box.right - columns) // 2), width - columns)
    return slice(top, top + rows), slice(left, left + columns)


def numbered(path: Path, number: int) -> Path:
    return path.with_stem(f"{path.stem}-{number}")


if __name__ == "__main__":
    main()
