"""`manage.py check_files`: compares the files named in rows with the files in the data folder."""

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
    """The exit status and the printed lines, the summary last."""
    out, status = io.StringIO(), 0
    try:
        call_command("check_files", *arguments, stdout=out)
    except CommandError as error:
        status = error.returncode
    return status, out.getvalue().splitlines()


def orphan_file(name: str, *, hours_old: float) -> Path:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no row's")
    then = time.time() - hours_old * 3600
    os.utime(path, (then, then))
    return path


def test_a_consistent_installation_passes(alice: User, generate: Generate) -> None:
    generate(alice)
    assert check("--hashes") == (0, ["5 named by rows, 5 files: 0 missing, 0 without a row, 0 altered."])


def test_an_installation_without_images_passes() -> None:
    assert check()[0] == 0


def test_each_missing_file_is_named(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    image = generation.images.get()
    for file in (generation.mask.file, image.thumbnail):
        Path(file.path).unlink()
    status, lines = check()
    assert status == 1
    assert sorted(lines[:-1]) == sorted(
        [
            f"missing  {image.thumbnail.name} (of generated image {image.pk})",
            f"missing  {generation.mask.file.name} (of mask {generation.mask.pk})",
        ]
    )
    assert "2 missing" in lines[-1]
    assert Generation.objects.count() == 1


def test_a_file_without_a_row_is_named_and_deleted_only_with_repair(alice: User, generate: Generate) -> None:
    generate(alice)
    known = files()
    old = orphan_file("mask/00/old.png", hours_old=25)
    young = orphan_file("mask/00/young.png", hours_old=23)
    assert check() == (
        1,
        ["orphan   mask/00/old.png", "5 named by rows, 7 files: 0 missing, 1 without a row; hashes not compared."],
    )
    assert old.exists()
    status, lines = check("--repair")
    assert (status, lines[0]) == (0, "orphan   mask/00/old.png")
    assert not old.exists()
    assert young.exists()
    assert check("--repair", "--older-than-hours", "2")[0] == 0
    assert sorted(files()) == sorted(known)


def test_a_minimum_age_of_zero_hours_is_refused() -> None:
    with pytest.raises(CommandError):
        call_command("check_files", "--repair", "--older-than-hours", "0")


def test_an_altered_image_is_found_by_its_hash(alice: User, generate: Generate) -> None:
    generation = generate(alice)
    path = Path(generation.source.file.path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert check()[0] == 0
    status, lines = check("--hashes", "--repair")
    assert status == 1
    assert lines[0] == f"altered  {generation.source.file.name} (of source image {generation.source.pk})"
    assert path.exists()
