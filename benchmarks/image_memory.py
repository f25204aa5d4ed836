"""The memory and time of erasing a small hole from 40 and 120 megapixels, of 8 and of 16 bits, on the command line.

    .venv/bin/python -m benchmarks.image_memory [--before DIR]

From starting the process to the written PNG, read again and compared. 8 bits: a JPEG; 16 bits: a PNG. The limits on
images are raised as far as an administrator may. DIR is another checkout to compare with; one without these settings
refuses the images.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.large_photo import measured, photo
from benchmarks.quick_fill import ROOT
from inpainting.core.codecs.intake import HIGHEST_MEBIBYTES, HIGHEST_MEGAPIXELS, HIGHEST_SIDE

SIZES = {40: (8000, 5000), 120: (12_000, 10_000)}
"""Megapixels -> width and height."""
LIMITS = {
    "DREAMLAYER_MAX_MEGAPIXELS": str(HIGHEST_MEGAPIXELS),
    "DREAMLAYER_MAX_SIDE": str(HIGHEST_SIDE),
    "DREAMLAYER_MAX_IMAGE_MB": str(HIGHEST_MEBIBYTES),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--before", type=Path, help="another checkout to compare with")
    options = arguments.parse_args()
    checkouts = {"this checkout": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    os.environ |= LIMITS
    tile = photo()
    print("| image | pixels | | memory | seconds | processor |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        mask, out = Path(name, "mask.png"), Path(name, "out.png")
        for megapixels, (width, height) in SIZES.items():
            cv2.imwrite(str(mask), small_hole(width, height))
            for bits in (8, 16):
                image = Path(name, "image.jpg" if bits == 8 else "image.png")
                pixels = tiled(tile, width, height)
                cv2.imwrite(str(image), pixels if bits == 8 else pixels.astype(np.uint16) * np.uint16(257))
                samples = pixels.size * bits // 8 / 2**20
                del pixels
                for title, checkout in checkouts.items():
                    command = [
                        sys.executable,
                        f"{checkout}/manage.py",
                        "inpaint",
                        str(image),
                        str(mask),
                        "-o",
                        str(out),
                    ]
                    command += ["--mask-polarity", "white_repaints", "--engine", "quick-fill", "--seed", "1"]
                    wall, busy, memory = measured(command)
                    print(
                        f"| {megapixels} megapixels, {bits} bits | {samples:.0f} MB | {title} | {memory:.0f} MB"
                        f" | {wall:.1f} s | {busy:.1f} s |",
                        flush=True,
                    )
    print(f"Load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}.")


def tiled(tile: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The photo beside and below itself until it has this size."""
    repeats = -(-height // tile.shape[0]), -(-width // tile.shape[1]), 1
    return np.ascontiguousarray(np.tile(tile, repeats)[:height, :width])


def small_hole(width: int, height: int) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 2, height // 2), 60, 255, -1)
    return mask


if __name__ == "__main__":
    main()
