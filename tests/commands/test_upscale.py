"""`manage.py upscale`: files in, larger files out."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from inpainting.core.codecs import decode_image, encode_png
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.upscalers.enlarging import Enlargement
from inpainting.upscalers.lanczos import Lanczos

pytestmark = pytest.mark.django_db


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 65536, (64, 80, 4)).astype(np.uint16)
    path = tmp_path / "photo.png"
    path.write_bytes(encode_png(CanonicalImage(pixels)))
    return path


def upscale(*arguments: Any) -> tuple[str, str]:
    output, errors = StringIO(), StringIO()
    call_command("upscale", *map(str, arguments), stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


def test_it_writes_what_the_upscaler_makes(photo_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "large.png"
    said, report = upscale(photo_file, "--out", out, "--width", 200)
    assert said.strip() == str(out)
    assert "200x160, sha256" in report
    image = decode_image(photo_file.read_bytes()).image
    expected = Enlargement(image, Size(200, 160), Lanczos()).run(lambda done, of: None)
    written = decode_image(out.read_bytes()).image
    assert np.array_equal(written.pixels, expected.pixels)
    assert written.bits == 16


def test_several_files_go_into_a_folder(photo_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(photo_file.read_bytes())
    upscale(photo_file, other, "-o", tmp_path / "large", "--output-format", "webp", "--scale", "1.5")
    sizes = [decode_image((tmp_path / "large" / name).read_bytes()).image.size for name in ("photo.webp", "other.webp")]
    assert sizes == [Size(120, 96)] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png", "-o", "{folder}/a.png"], "is no file"),
        (["{photo}", "-o", "{folder}/a.txt"], "extension of none"),
        (["{photo}", "-o", "{photo}"], "replace the image"),
        (["{photo}", "-o", "{folder}/a.png", "--scale", "5"], "between 1.5 and 4"),
        (["{photo}", "-o", "{folder}/a.png", "--scale", "2", "--width", "300"], "contradict"),
        (["{photo}", "-o", "{folder}/a.png", "--model", "nothing"], "There is no upscaler called “nothing”"),
        (["{photo}", "-o", "{folder}/a.png", "--output-format", "webp"], "contradict"),
        (["{photo}", "{photo}", "-o", "{folder}/a", "--jobs", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_done_is_said(photo_file: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    filled = [argument.format(photo=photo_file, folder=tmp_path) for argument in arguments]
    with pytest.raises(CommandError, match=message):
        upscale(*filled)
