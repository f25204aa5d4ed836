"""The lists of the scenes of the benchmarks: photos with a hash and a licence, and masks that lie in them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks import scenes
from benchmarks.scenes.sources import FILES

DISTRIBUTABLE = {"public domain", "CC0-1.0"} | {
    f"CC-BY{kind}-{version}" for kind in ("", "-SA") for version in ("2.0", "3.0", "4.0")
}
SHA256 = re.compile("[0-9a-f]{64}")


def test_each_photo_has_a_file_a_hash_and_a_licence_that_permits_distribution() -> None:
    for photo in scenes.photos().values():
        assert photo.file == scenes.SCIKIT_IMAGE or photo.file in FILES, photo.name
        assert SHA256.fullmatch(photo.sha256), photo.name
        assert photo.licence in DISTRIBUTABLE, photo.name
        assert photo.author, photo.name
    for file in FILES.values():
        assert SHA256.fullmatch(file.sha256), file.slug
        assert file.package.version, file.slug


@pytest.mark.parametrize(("file_name", "least"), [("erased.json", 40), ("objects.json", 20)])
def test_each_mask_covers_a_part_of_a_listed_photo(file_name: str, least: int) -> None:
    entries = scenes.outlines_in(file_name)
    assert len(entries) >= least
    for name, entry in entries.items():
        assert entry["photo"] in scenes.photos(), name
        xy = np.concatenate([np.array(outline).reshape(-1, 2) for outline in entry["outlines"]])
        width, height = scenes.photos()[entry["photo"]].size
        assert (xy >= 0).all(), name
        assert (xy < (width, height)).all(), name
        covered = np.count_nonzero(scenes.drawn(entry["outlines"], (height, width))) / (width * height)
        assert 0.001 < covered < 0.6, name


def test_the_photos_of_a_resource_file_are_found() -> None:
    webp = b"RIFF" + (12).to_bytes(4, "little") + b"WEBPVP8 data"
    assert list(scenes.webp_files(b"qres" + webp + b"RIFF\4\0\0\0WAVE" + webp)) == [webp, webp]
