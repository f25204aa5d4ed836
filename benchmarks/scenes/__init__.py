"""Photos for erasing and for selecting, with masks that were drawn for them: `erase_scenes` and `objects`.

The photos come from scikit-image and from the packages of `sources.py`, which `python -m benchmarks.scenes` fetches.
`photos.json` lists them with author and licence; all may be distributed with that attribution, in
documents too. `erased.json` and `objects.json` hold the outlines of the masks, in pixels of the photo as it is loaded:
upright, at most SIDE a side.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.scenes.sources import FILES
from tests.weights import cache as published

Bytes = NDArray[np.uint8]
Outlines = list[list[int]]
"""x y x y ... of closed lines; what is inside an odd number of them is masked."""

SIDE = 1024
SCIKIT_IMAGE = "scikit-image"
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Photo:
    """file: in FILES, or SCIKIT_IMAGE. size: width and height as it is loaded. source: a URL, or ''.

    sha256: of the encoded photo, or of scikit-image's pixels.
    """

    name: str
    file: str
    size: list[int]
    sha256: str
    author: str
    licence: str
    source: str


class Masked(TypedDict):
    """An entry of `erased.json` and `objects.json`. photo: its name in `photos.json`."""

    photo: str
    outlines: Outlines


def erase_scenes() -> Iterator[tuple[str, Bytes, Bytes]]:
    """Name, RGB [h, w, 3] and mask [h, w], 255 over the object and a margin of a few pixels, without its shadow."""
    yield from masked("erased.json")


def objects() -> Iterator[tuple[str, Bytes, Bytes]]:
    """Name, RGB [h, w, 3] and mask [h, w], 255 on the object, exact to a few pixels."""
    yield from masked("objects.json")


def masked(file_name: str) -> Iterator[tuple[str, Bytes, Bytes]]:
    """The photos of a file of outlines. Ends the program where a photo was not fetched or is another one."""
    for name, entry in outlines_in(file_name).items():
        photo = read(photos()[entry["photo"]])
        yield name, photo, drawn(entry["outlines"], photo.shape[:2])


def outlines_in(file_name: str) -> dict[str, Masked]:
    entries: dict[str, Masked] = json.loads((FOLDER / file_name).read_text())
    return entries


@cache
def photos() -> dict[str, Photo]:
    return {name: Photo(name, **entry) for name, entry in json.loads((FOLDER / "photos.json").read_text()).items()}


def drawn(outlines: Outlines, shape: tuple[int, ...]) -> Bytes:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.array(outline, np.int32).reshape(-1, 2) for outline in outlines], 255)
    return mask


def read(photo: Photo) -> Bytes:
    """RGB [h, w, 3], at most SIDE a side."""
    if photo.file == SCIKIT_IMAGE:
        image = Image.fromarray(of_scikit_image(photo))
    else:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(photo))))
    pixels = np.asarray(image.convert("RGB"))
    scale = SIDE / max(pixels.shape)
    if scale < 1:
        return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return pixels.copy()


def of_scikit_image(photo: Photo) -> Bytes:
    from skimage import data

    pixels: Bytes = data.stereo_motorcycle()[0] if photo.name == "motorcycle" else getattr(data, photo.name)()
    if sha256(pixels.tobytes()).hexdigest() != photo.sha256:
        sys.exit(f"{photo.name} of scikit-image is another photo than the one whose hash is pinned.")
    return pixels


def encoded(photo: Photo) -> bytes:
    path = published.path_of(FILES[photo.file])
    if not path.exists():
        sys.exit(f"{path} is missing; `python -m benchmarks.scenes` fetches the photos.")
    content = path.read_bytes()
    for found in webp_files(content) if path.suffix == ".rcc" else [content]:
        if sha256(found).hexdigest() == photo.sha256:
            return found
    sys.exit(f"{path} does not hold the photo {photo.name} with the SHA-256 {photo.sha256}.")


def webp_files(content: bytes) -> Iterator[bytes]:
    """The WebP files in a file of Qt resources, which holds them as they are."""
    start = content.find(b"RIFF")
    while start >= 0:
        length = 8 + int.from_bytes(content[start + 4 : start + 8], "little")  # the RIFF header, RFC 9649 section 2.4
        is_webp = content[start + 8 : start + 12] == b"WEBP"
        if is_webp:
            yield content[start : start + length]
        start = content.find(b"RIFF", start + (length if is_webp else 4))
