"""`manage.py inpaint FOLDER --watch`: images are painted as they arrive, once they are whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError

from inpainting.cli.file_job import FileJob
from inpainting.cli.jobs import build_maker
from inpainting.cli.run import interrupt_afterwards
from inpainting.cli.watching import REST_SECONDS, WatchedFolder
from inpainting.management.commands.inpaint import Command
from tests.commands.running import inpaint
from tests.support.installation import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture
def watched(tmp_path: Path) -> WatchedFolder:
    """An empty folder, whose masks are to come in another."""
    for name in ("images", "masks"):
        (tmp_path / "watched" / name).mkdir(parents=True)
    images, masks, out = (tmp_path / "watched" / name for name in ("images", "masks", "out"))
    parser = Command().create_parser("manage.py", "inpaint")
    options = parser.parse_args([str(images), str(masks), "-o", str(out), "--engine", "quick-fill"])
    make, extension = build_maker(vars(options), print)
    return WatchedFolder(images, masks, out, make, extension)


def names(jobs: list[FileJob]) -> list[str]:
    return [job.image.name for job in jobs]


def test_an_image_is_taken_once_when_its_size_and_that_of_its_mask_rest(
    watched: WatchedFolder, photo_png: bytes, mask_png: bytes
) -> None:
    assert watched.masks is not None
    image, mask = watched.images / "a.png", watched.masks / "a.png"
    image.write_bytes(photo_png[:100])
    assert watched.ready(0) == []
    image.write_bytes(photo_png)
    assert watched.ready(1) == []
    assert watched.ready(1 + REST_SECONDS) == [], "its mask is still to come"
    mask.write_bytes(mask_png)
    assert watched.ready(4) == []
    assert watched.ready(3.9 + REST_SECONDS) == []
    assert names(watched.ready(4 + REST_SECONDS)) == ["a.png"]
    assert watched.ready(9) == []
    image.write_bytes(photo_png + b" ")
    assert watched.ready(10) == []
    assert names(watched.ready(10 + REST_SECONDS)) == ["a.png"]


def test_what_has_a_result_or_no_bytes_is_left_alone(watched: WatchedFolder, photo_png: bytes, mask_png: bytes) -> None:
    watched.out.mkdir()
    (watched.out / "a.png").write_bytes(b"done")
    (watched.images / "a.png").write_bytes(photo_png)
    (watched.images / "b.png").touch()
    assert watched.masks is not None
    for name in ("a", "b"):
        (watched.masks / f"{name}.png").write_bytes(mask_png)
    assert watched.ready(0) == watched.ready(5) == watched.ready(10) == []


def test_only_a_folder_is_watched(folder: Path) -> None:
    with pytest.raises(CommandError, match="needs a folder of images"):
        inpaint(folder / "images/a.png", folder / "masks/a_mask.png", "-o", folder / "out.png", "--watch")
    with pytest.raises(CommandError, match="folder of their own"):
        inpaint(folder / "images", folder / "masks", "-o", folder / "images", "--watch")


def test_the_command_paints_what_arrives_until_it_is_interrupted(folder: Path, tmp_path: Path) -> None:
    images, out = tmp_path / "arriving", tmp_path / "painted"
    images.mkdir()
    arguments = (images, folder / "masks/a_mask.png", "-o", out, "--engine", "quick-fill", "--watch")
    command = [sys.executable, str(ROOT / "manage.py"), "inpaint", *map(str, arguments)]
    environment = {**os.environ, "DREAMLAYER_DATA_DIR": str(tmp_path / "data")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            (images / "broken.png").write_bytes(b"no image")
            for name in ("first.png", "second.png"):
                shutil.copy(folder / "images/a.png", images / name)
                assert process.stdout.readline() == f"{out / name}\n", "names a result as soon as it is there"
            process.send_signal(signal.SIGINT)
            rest, notes = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, notes
    assert (out / "second.png").exists()
    assert not rest
    assert notes.count("broken.png: ") == 1
    assert "Stopped; finished results are kept." in notes


def test_an_interrupt_waits_for_the_end_of_a_block() -> None:
    steps: list[str] = []

    def interrupted() -> None:
        with interrupt_afterwards():
            signal.raise_signal(signal.SIGINT)
            steps.append("after the interrupt")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert steps == ["after the interrupt"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
