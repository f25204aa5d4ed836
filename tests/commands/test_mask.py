"""`manage.py mask`: the object at a point or in a box becomes a mask, which `manage.py inpaint` reads."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from numpy.typing import NDArray

from tests.commands.running import inpaint

DISC = np.asarray(cv2.circle(np.zeros((64, 96), np.uint8), (60, 30), 15, 255, -1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two photos of a red disc."""
    image = np.full((64, 96, 3), 110, np.uint8)
    image[DISC > 0] = (20, 20, 220)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), image)
    return tmp_path / "photos"


def mask(*arguments: object) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("mask", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)


def overlap(found: NDArray[np.uint8]) -> float:
    """Intersection over union with the disc."""
    return float(np.count_nonzero((found > 0) & (DISC > 0)) / np.count_nonzero((found > 0) | (DISC > 0)))


@pytest.mark.parametrize("where", [("--click", "60,30"), ("--box", "40,10,80,50"), ("--click=62,28", "--exclude=5,5")])
def test_a_point_or_a_box_selects_the_object(photos: Path, where: tuple[str, ...]) -> None:
    out = photos.parent / "mask.png"
    written, report = mask(photos / "a.png", "-o", out, "--mask-polarity", "white_repaints", *where)
    assert written.strip() == str(out)
    assert "% selected" in report
    assert overlap(read(out)) > 0.9


def test_soft_edges_are_greys(photos: Path) -> None:
    photo, out = photos / "a.png", photos.parent / "mask.png"
    cv2.imwrite(str(photo), cv2.GaussianBlur(np.asarray(cv2.imread(str(photo))), (0, 0), 2))
    mask(photo, "-o", out, "--click", "60,30")
    assert len(np.unique(read(out))) == 2
    mask(photo, "-o", out, "--click", "60,30", "--soft-edges")
    assert len(np.unique(read(out))) > 20


def test_operations_are_applied_in_order(photos: Path) -> None:
    out = photos.parent / "mask.png"
    arguments = ("--click", "60,30", "--mask-polarity", "white_repaints")
    mask(photos / "a.png", "-o", out, *arguments)
    before = np.count_nonzero(read(out))
    mask(photos / "a.png", "-o", out, *arguments, "--operation", "grow=4", "--operation", "invert")
    assert np.count_nonzero(read(out) == 0) > before * 1.3


@pytest.mark.django_db
def test_inpaint_repaints_the_objects_of_a_folder(photos: Path) -> None:
    masks, results = photos.parent / "masks", photos.parent / "results"
    mask(photos, "-o", masks, "--click", "60,30", "--operation", "grow=3")
    assert sorted(path.name for path in masks.iterdir()) == ["a_mask.png", "b_mask.png"]
    inpaint(photos, masks, "-o", results, "--engine", "quick-fill")
    for name in ("a.png", "b.png"):
        assert abs(int(read(results / name)[30, 60, 2]) - 110) < 20
    assert mask(photos, "-o", masks, "--click", "60,30") == ("", "")  # they exist


def test_what_cannot_be_selected_is_reported_and_the_rest_written(photos: Path) -> None:
    (photos / "aa.png").write_bytes(b"no image")
    out = photos.parent / "masks"
    with pytest.raises(CommandError, match="1 of 3"):
        mask(photos, "-o", out, "--click", "60,30")
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Mark the object"),
        (("--exclude", "3,3"), "Mark the object"),
        (("--click", "3"), "is not X,Y"),
        (("--click", "3,4,5"), "is not X,Y"),
        (("--box", "9,9,3,3"), "right and bottom must be larger"),
        (("--box", "a,b,c,d"), "is not LEFT,TOP,RIGHT,BOTTOM"),
        (("--click", "3,3", "--operation", "melt"), "there is no operation|There is no operation"),
        (("--click", "3,3", "--operation", "grow=x"), "is not NAME or NAME=PIXELS"),
        (("--click", "3,3", "--operation", "add"), "needs another mask"),
        (("--click", "3,3", "--segmenter", "none"), "no segmenter called"),
        (("--click", "3,3", "--words", "cup"), "grabcut does not read words"),
        (("--click", "300,3"), "could not be selected"),
        (("--click", "nan,3"), "could not be selected"),
        (("--box", "0,0,inf,9"), "LEFT,TOP,RIGHT,BOTTOM|finite|number"),
    ],
)
def test_wrong_arguments_are_refused(db: None, photos: Path, arguments: tuple[str, ...], words: str) -> None:
    out = photos.parent / "mask.png"
    with pytest.raises(CommandError, match=words):
        mask(photos / "a.png", "-o", out, *arguments)
    assert not out.exists()


def test_paths_are_checked(photos: Path) -> None:
    with pytest.raises(CommandError, match="does not exist"):
        mask(photos / "c.png", "-o", photos.parent / "mask.png", "--click", "3,3")
    with pytest.raises(CommandError, match="would replace the image"):
        mask(photos / "a.png", "-o", photos / "a.png", "--click", "60,30")
    with pytest.raises(CommandError, match="PNG files"):
        mask(photos / "a.png", "-o", photos.parent / "mask.jpg", "--click", "3,3")


def test_what_is_passed_over_is_named_and_counted(photos: Path) -> None:
    (photos / "notes.txt").write_text("Erase the disc.")
    written, report = mask(photos, "-o", photos, "--click", "60,30")
    assert len(written.splitlines()) == 2
    assert "notes.txt was passed over: it is a text file" in report
    assert "2 selected. 1 was passed over." in report
    _, again = mask(photos, "-o", photos, "--click", "60,30")
    assert "0 selected. 1 was passed over." in again
