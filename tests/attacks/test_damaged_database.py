"""A database that is missing, truncated or overwritten: one line at the start, and no server that starts for ever."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamlayer_site.server import supervisor
from tests.support.installation import ROOT, Installation
from tests.support.small_disk import fill, make_room, small_disk

pytestmark = [pytest.mark.attack, pytest.mark.full]

PAGE_BYTES = 4096
Damage = Callable[[Path], object]


def overwrite(path: Path, *, at: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(count))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, tuple[Damage, str]] = {
    "missing": (Path.unlink, "There is no database"),
    "empty": (lambda path: os.truncate(path, 0), "lacks migrations"),
    "half": (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged"),
    "half, amid a page": (lambda path: os.truncate(path, path.stat().st_size // 2 + 77), "is damaged"),
    "no header": (lambda path: overwrite(path, at=0, count=100), "is damaged"),
    "no schema": (lambda path: overwrite(path, at=100, count=3000), "is damaged"),
    "no pages": (lambda path: overwrite(path, at=5 * PAGE_BYTES, count=20 * PAGE_BYTES), "is damaged"),
    "another file": (lambda path: path.write_bytes(b"a photo" * 1000), "is damaged"),
    "a folder": (replace_by_folder, "cannot be opened"),
}


def start_and_end(installation: Installation) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(installation.port)]
    return subprocess.run(
        command, env=installation.environment, capture_output=True, text=True, check=False, timeout=90
    )


def database_of(installation: Installation) -> Path:
    return installation.folder / "dreamlayer.sqlite3"


def is_whole(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_ends_the_start_with_one_line(installed: tuple[Installation, str], damage: str) -> None:
    installation, _ = installed
    break_it, message = DAMAGES[damage]
    break_it(database_of(installation))
    done = start_and_end(installation)
    assert done.returncode == supervisor.INVALID_SETTINGS
    lines = [line for line in done.stderr.splitlines() if line]
    print(lines)
    assert len(lines) == 1
    assert message in lines[0]
    assert str(database_of(installation)) in lines[0]
    assert damage != "missing" or not database_of(installation).exists()


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_another_file_in_place_of_the_log_is_ignored(installed: tuple[Installation, str], suffix: str) -> None:
    installation, key = installed
    database_of(installation).with_name(f"dreamlayer.sqlite3{suffix}").write_bytes(os.urandom(100_000))
    with installation.serving():
        assert installation.get("/api/generations/", key=key)[0] == 200
    assert "Traceback" not in installation.log
    assert is_whole(database_of(installation))


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_truncated_log_loses_its_end_alone(
    installed: tuple[Installation, str], photo_png: bytes, mask_png: bytes, share: float
) -> None:
    """What a disk has not kept of the last transactions: the database is whole, and the server goes on."""
    installation, key = installed
    with installation.serving() as parent:
        assert installation.img2img(key, photo_png, mask_png)[0] == 200
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(20)
    log = database_of(installation).with_name("dreamlayer.sqlite3-wal")
    os.truncate(log, int(log.stat().st_size * share))
    with installation.serving():
        assert installation.img2img(key, photo_png, mask_png)[0] == 200
    assert is_whole(database_of(installation))
    assert "Traceback" not in installation.log


# A disk that is full at the start, and while the server runs


def test_a_server_on_a_full_disk_says_so_and_starts_once_there_is_room(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    with small_disk(tmp_path, megabytes=40) as folder:
        installation = Installation(folder / "var", DREAMLAYER_FREE_SPACE_MB="0")
        key = installation.migrate_with_key()
        log = tmp_path.parent / f"{tmp_path.name}.log"
        fill(folder)
        with log.open("w") as output:
            installation.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(installation.port)],
                env=installation.environment, stdout=output, stderr=output, text=True, start_new_session=True,
            )  # fmt: skip
        installation.wait_until(lambda: log.read_text().count("restarting it") >= 2)
        make_room(folder)
        with installation.serving():
            assert installation.img2img(key, photo_png, mask_png)[0] == 200
        print(log.read_text())
        assert "No space is left on the disk" in log.read_text()
        assert "Traceback" not in log.read_text()


def test_a_disk_that_fills_up_refuses_what_writes_and_loses_nothing(
    tmp_path: Path, photo_png: bytes, mask_png: bytes
) -> None:
    with small_disk(tmp_path, megabytes=60) as folder:
        installation = Installation(folder / "var", DREAMLAYER_FREE_SPACE_MB="4")
        key = installation.migrate_with_key()
        with installation.serving():
            status, answer = installation.img2img(key, photo_png, mask_png)
            assert status == 200
            fill(folder)
            status, refused = installation.img2img(key, photo_png, mask_png)
            assert (status, refused["code"]) == (507, "storage_full")
            installation.wait_until(lambda: installation.get("/readyz")[0] == 503)
            assert installation.get("/livez")[0] == 200
            assert installation.get("/")[0] == 200
            assert installation.get(f"/api/generations/{answer['id']}/", key=key)[0] == 200
            assert installation.process is not None
            assert installation.process.poll() is None
            make_room(folder)
            installation.wait_until(lambda: installation.get("/readyz")[0] == 200)
            assert installation.img2img(key, photo_png, mask_png)[0] == 200
        assert is_whole(database_of(installation))
