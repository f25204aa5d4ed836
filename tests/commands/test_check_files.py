"""`manage.py check_files`: what rows name, what lies in the folder, and whether they agree."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts.models import User
from inpainting.models import Generation

Generate = Callable[..., Generation]
FOLDER = Path(settings.DATA_DIR, "pictures")


@pytest.fixture(autouse=True)
def _alone(db: None) -> None:
    for path in files():
        path.unlink()


def files() -> list[Path]:
    return [path for path in FOLDER.rglob("*") if path.is_file()]


def check(*arguments: str) -> tuple[int, list[str]]:
    """The exit status and what was printed, the summary last."""
    out, status = io.StringIO(), 0
    try:
        call_command("check_files", *arguments, stdout=out)
    except CommandError as error:
        status = error.returncode
    return status, out.getvalue().splitlines()


def stray(name: str, *, hours_old: float) -> Path:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"nobody's")
    then = time.time() - hours_old * 3600
    os.utime(path, (then, then))
    return path


def test_an_installation_that_is_well_says_so(alice: User, generate: Generate) -> None:
    generate(alice)
    assert check("--hashes") == (0, ["5 named by rows, 5 files: 0 missing, 0 without a row, 0 altered."])


def test_an_installation_without_pictures_is_well() -> None:
    assert check()[0] == 0


def test_each_file_that_is_gone_is_named(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    image = generation.images.get()
    for file in (generation.mask.file, image.thumbnail):
        Path(file.path).unlink()
    status, said = check()
    assert status == 1
    assert sorted(said[:-1]) == sorted(
        [
            f"missing  {image.thumbnail.name} (of generated image {image.pk})",
            f"missing  {generation.mask.file.name} (of mask {generation.mask.pk})",
        ]
    )
    assert "2 missing" in said[-1]
    assert Generation.objects.count() == 1


def test_a_file_without_a_row_is_named_and_only_deleted_when_asked(alice: User, generate: Generate) -> None:
    generate(alice)
    known = files()
    old = stray("mask/00/old.png", hours_old=25)
    young = stray("mask/00/young.png", hours_old=23)
    assert check() == (
        1,
        ["orphan   mask/00/old.png", "5 named by rows, 7 files: 0 missing, 1 without a row; hashes not compared."],
    )
    assert old.exists()
    status, said = check("--repair")
    assert (status, said[0]) == (0, "orphan   mask/00/old.png")
    assert not old.exists()
    assert young.exists()
    assert check("--repair", "--older-than-hours", "2")[0] == 0
    assert sorted(files()) == sorted(known)


def test_files_too_young_to_tell_are_never_asked_for() -> None:
    with pytest.raises(CommandError):
        call_command("check_files", "--repair", "--older-than-hours", "0")


def test_a_picture_that_was_altered_is_found_by_its_hash(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    path = Path(generation.source.file.path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert check()[0] == 0
    status, said = check("--hashes", "--repair")
    assert status == 1
    assert said[0] == f"altered  {generation.source.file.name} (of source image {generation.source.pk})"
    assert path.exists()
