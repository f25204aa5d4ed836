"""`manage.py inpaint`: one image, folders of images, and resuming an interrupted run."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from numpy.typing import NDArray
from PIL import Image

from inpainting.core.codecs import decode_image
from tests.commands.running import inpaint
from tests.conftest import png
from tests.core import heifs, hostile, tiffs
from tests.support import tiny_checker
from tests.support.catalog_entries import add_model
from tests.support.matrix import first_alone

pytestmark = pytest.mark.django_db  # `auto` chooses an engine by the catalog


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(decode_image(path.read_bytes()).image.pixels)


def test_it_changes_only_the_masked_pixels(folder: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    out = folder / "out.png"
    output, notes = inpaint(folder / "images/a.png", folder / "masks/a_mask.png", "-o", out, "--seed", 3)
    assert output.strip() == str(out)
    assert "0 pixels changed outside the mask" in notes
    assert hashlib.sha256(out.read_bytes()).hexdigest() in notes
    assert np.array_equal(pixels(out)[hole == 0], photo[hole == 0])
    assert not np.array_equal(pixels(out), photo)


def test_it_reads_a_mask_of_the_other_polarity(folder: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(folder / "white.png"), hole)
    out = folder / "out.png"
    arguments = ("--mask-polarity", "white_repaints", "--seed", 3)
    inpaint(folder / "images/a.png", folder / "white.png", "-o", out, *arguments)
    again = folder / "again.png"
    inpaint(folder / "images/a.png", folder / "masks/a_mask.png", "-o", again, "--seed", 3)
    assert out.read_bytes() == again.read_bytes()


def test_it_paints_where_the_image_is_transparent(
    folder: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    (folder / "cut.png").write_bytes(png(np.dstack([photo, 255 - hole])))
    out = folder / "out.png"
    inpaint(folder / "cut.png", "-o", out, "--mask-polarity", "transparent_image_repaints")
    assert np.array_equal(pixels(out)[hole == 0], photo[hole == 0])
    assert not np.array_equal(pixels(out)[hole > 0], photo[hole > 0])


def test_it_outpaints_without_a_mask(folder: Path, photo: NDArray[np.uint8]) -> None:
    out = folder / "out.png"
    _, notes = inpaint(folder / "images/a.png", "-o", out, "--outpaint", "left=9,bottom=7", "--seed", 3)
    assert "0 pixels changed outside the mask" in notes
    height, width = photo.shape[:2]
    assert pixels(out).shape == (height + 7, width + 9, 3)
    assert np.array_equal(pixels(out)[:height, 9:], photo)


def test_it_repaints_a_mask_together_with_the_new_border(
    folder: Path, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    out, height, width = folder / "out.png", *photo.shape[:2]
    size = ("--outpaint-size", f"{width}x{height + 8}")
    inpaint(folder / "images/a.png", folder / "masks/a_mask.png", "-o", out, *size, "--seed", 3)
    part = pixels(out)[4:-4]
    assert np.array_equal(part[hole == 0], photo[hole == 0])
    assert not np.array_equal(part, photo)


@pytest.mark.parametrize("at_once", [1, 2])
def test_it_paints_folders(folder: Path, at_once: int) -> None:
    output, _ = inpaint(folder / "images", folder / "masks", "-o", folder / "out", "--jobs", at_once)
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    assert len(output.splitlines()) == 3


@pytest.mark.usefixtures("models_dir")
@pytest.mark.full
def test_with_folders_too_flagged_results_are_hidden(
    folder: Path, settings: Any, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    """The painting processes have neither the catalog nor the settings of this process."""
    checker = tiny_checker.saved(folder / "checker", tiny_checker.suspicious())
    add_model("own-checker", checker, family="safety-checker")
    settings.SAFETY_CHECKER = "black"
    _, notes = inpaint(folder / "images", folder / "masks", "-o", folder / "out")
    assert notes.count("What was painted is hidden") == 3
    for name in ("a", "b", "c"):
        painted = pixels(folder / f"out/{name}.png")
        assert not painted[hole > 0].any()
        assert np.array_equal(painted[hole == 0], photo[hole == 0])


def format_of(path: Path) -> str | None:
    with Image.open(path) as image:
        return image.format


@pytest.mark.parametrize(
    ("name", "options", "written"),
    [
        ("out.jpg", (), "JPEG"),
        ("out.JPEG", ("--output-format", "jpg", "--quality", "20"), "JPEG"),
        ("out.webp", ("--output-format", "webp"), "WEBP"),
    ],
)
def test_the_extension_of_the_result_is_its_format(
    folder: Path, name: str, options: tuple[str, ...], written: str
) -> None:
    out = folder / name
    _, notes = inpaint(folder / "images/a.png", folder / "masks/a_mask.png", "-o", out, *options)
    assert format_of(out) == written
    assert f"of quality {20 if options[2:] else 85}; before it was compressed: 0 pixels changed" in notes


def test_a_folder_of_results_takes_the_format_from_the_option(folder: Path) -> None:
    inpaint(folder / "images", folder / "masks", "-o", folder / "out", "--output-format", "jpeg")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
    (folder / "one").mkdir()
    inpaint(folder / "images/a.png", folder / "masks/a_mask.png", "-o", folder / "one", "--output-format", "webp")
    assert format_of(folder / "one/a.webp") == "WEBP"


def test_one_mask_serves_a_whole_folder(folder: Path) -> None:
    inpaint(folder / "images", folder / "masks/a_mask.png", "-o", folder / "out")
    assert len(list((folder / "out").iterdir())) == 3


def test_a_second_run_skips_finished_images(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/b.png").write_bytes(b"there already")
    output, notes = inpaint(folder / "images", folder / "masks", "-o", folder / "out")
    assert (folder / "out/b.png").read_bytes() == b"there already"
    assert len(output.splitlines()) == 2
    assert "1 of 3" in notes


def test_a_damaged_image_does_not_stop_the_others(folder: Path) -> None:
    (folder / "images/b.png").write_bytes(b"<html>")
    err = io.StringIO()
    with pytest.raises(CommandError, match="1 of 3") as caught:
        call_command(
            "inpaint", str(folder / "images"), str(folder / "masks"), "-o", str(folder / "out"),
            stdout=io.StringIO(), stderr=err,
        )  # fmt: skip
    assert caught.value.returncode == 1
    assert "b.png: " in err.getvalue()
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images/none.png", "masks/a_mask.png", "-o", "out.png"), "does not exist"),
        (("images/a.png", "masks/a_mask.png", "-o", "out.gif"), "PNG, JPEG or WebP"),
        (("images/a.png", "masks/a_mask.png", "-o", "a.jpg", "--output-format", "webp"), "contradict"),
        (("images/a.png", "masks/a_mask.png", "-o", "out.png", "--engine", "magic"), "quick-fill"),
        (("images/a.png", "masks/a_mask.png", "-o", "out.png", "--strength", "2"), "strength"),
        (("images/a.png", "masks/a_mask.png", "-o", "nowhere/out.png"), "No such file"),
        (("images", "images", "-o", "out"), "has no mask"),
        (("images", "masks", "-o", "images"), "folder of their own"),
        (("images", "masks", "-o", "out", "--jobs", "0"), "--jobs"),
        (("masks", "masks", "-o", "out"), "no image"),
        (("images/a.png", "images", "-o", "out.png"), "a.png has no mask"),
    ],
)
def test_invalid_arguments_are_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(CommandError, match=message) as caught:
        inpaint(*arguments)
    assert caught.value.returncode == 1


def test_two_images_with_the_same_output_path_are_refused(folder: Path) -> None:
    for name in ("a.jpg", "a.k.png"):  # this name sorts between the two clashing ones
        (folder / "images" / name).write_bytes((folder / "images/a.png").read_bytes())
        (folder / "masks/a.k.png").write_bytes((folder / "masks/a_mask.png").read_bytes())
    with pytest.raises(CommandError, match=r"a\.jpg and a\.png"):
        inpaint(folder / "images", folder / "masks", "-o", folder / "out")


@pytest.mark.parametrize("suffix", first_alone("HEIC", "tif", "BMP", "avif"))
def test_it_reads_the_formats_of_cameras_and_phones(folder: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    files = {
        "tif": tiffs.by_tifffile(photo, photometric="rgb"),
        "BMP": hostile.saved(Image.fromarray(photo), "BMP"),
        "avif": heifs.deep_avif(photo, 8),
        "HEIC": heifs.heic(photo),
    }
    (folder / "images/a.png").unlink()
    (folder / "images" / f"a.{suffix}").write_bytes(files[suffix])
    output, notes = inpaint(folder / "images", folder / "masks", "-o", folder / "out")
    assert len(output.splitlines()) == 3
    assert "passed over" not in notes
    assert pixels(folder / "out/a.png").shape == photo.shape


def test_every_file_that_is_passed_over_is_named_and_counted(folder: Path, photo_png: bytes) -> None:
    images = folder / "images"
    (images / "old_mask.png").write_bytes(photo_png)
    (images / "sketch.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    (images / "raw.dng").write_bytes(tiffs.photo_tiff({50706: (1, b"\1\4\0\0")}))
    (images / "photo.bak").write_bytes(photo_png)
    (images / "notes.txt").write_text("Erase the bench.")
    (images / "nothing.bin").touch()
    (images / "more").mkdir()
    output, notes = inpaint(images, folder / "masks", "-o", images / "out")
    assert len(output.splitlines()) == 3
    endings = "PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF or HEIC"
    for sentence in (
        "old_mask.png was passed over: it is named as a mask, and no image uses it.",
        "sketch.psd was passed over: it is a Photoshop file; export it as TIFF, PNG or JPEG.",
        "raw.dng was passed over: the image file is a camera's raw file; export it as TIFF, PNG or JPEG.",
        f"photo.bak was passed over: its name does not end as that of a {endings} file.",
        f"notes.txt was passed over: it is a text file; send {endings}.",
        "nothing.bin was passed over: it is empty.",
        "more was passed over: folders in a folder are not searched.",
    ):
        assert sentence in notes
    assert "3 painted. 7 were passed over." in notes
    assert notes.count("passed over") == 8


def test_masks_that_are_used_are_not_passed_over(folder: Path, photo_png: bytes, mask_png: bytes) -> None:
    (folder / "one").mkdir()
    (folder / "one/a.png").write_bytes(photo_png)
    (folder / "one/a_mask.png").write_bytes(mask_png)
    _, notes = inpaint(folder / "one", folder / "one", "-o", folder / "out")
    assert "passed over" not in notes


def test_failures_are_counted_beside_what_is_passed_over(folder: Path) -> None:
    (folder / "images/b.png").write_bytes(b"<html>")
    (folder / "images/notes.txt").write_text("Erase the bench.")
    with pytest.raises(CommandError, match=r"1 of 3 could not be painted\. 1 was passed over\."):
        inpaint(folder / "images", folder / "masks", "-o", folder / "out")


def test_a_folder_without_images_names_what_is_in_it(folder: Path) -> None:
    with pytest.raises(CommandError, match="There is no image") as refusal:
        inpaint(folder / "masks", folder / "masks", "-o", folder / "out")
    assert str(refusal.value).count("it is named as a mask") == 3
