"""Bodies on disk: where they are, and how much space they may take."""

from __future__ import annotations

import errno
import gc
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_django import Settings

from dreamlayer_site.server import bodies
from dreamlayer_site.server.bodies import AddressFull, StoredBody, UnreadBodies
from tests.support.small_disk import small_disk

ADDRESS = "203.0.113.1"


def of_known(address: str = ADDRESS) -> StoredBody:
    return StoredBody(address=address, known=True)


def of_stranger(address: str = ADDRESS) -> StoredBody:
    return StoredBody(address=address, known=False)


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> UnreadBodies:
    settings.UNREAD_BODY_BYTES = 1000
    unread = UnreadBodies()
    monkeypatch.setattr(bodies, "unread_bodies", unread)
    return unread


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_body_is_read_as_it_was_written() -> None:
    with of_known() as body:
        body.write(b"abc")
        body.write(b"def")
        body.seek(0)
        assert body.read(4) + body.read(4) == b"abcdef"


def test_a_body_has_no_name_in_the_data_folder(settings: Settings) -> None:
    with of_known() as body:
        assert os.readlink(f"/proc/self/fd/{body.fileno()}").startswith(str(settings.DATA_DIR / "tmp"))
        assert list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir()) == []


def test_files_that_killed_processes_left_are_deleted(settings: Settings, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    old, new = tmp_path / "old.upload.png", tmp_path / "new.upload.png"
    for path in (old, new):
        path.write_bytes(b"a")
    (tmp_path / "folder").mkdir()
    os.utime(old, (time.time() - 100, time.time() - 100))
    bodies.remove_leftovers(older_than_seconds=50)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", new.name]
    bodies.remove_leftovers(older_than_seconds=0)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_bytes_count_until_the_body_is_closed(unread: UnreadBodies) -> None:
    with of_known() as body, of_stranger() as other:
        body.write(b"a" * 100)
        other.write(b"a" * 50)
        assert (unread.total, unread.of_strangers, unread.per_address) == (150, 50, {ADDRESS: 150})
        other.close()
        other.close()
        assert (unread.total, unread.of_strangers) == (100, 0)
    assert (unread.total, unread.per_address) == (0, {})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_body_that_is_forgotten_is_closed(unread: UnreadBodies) -> None:
    of_known().write(b"a")
    gc.collect()
    assert unread.total == 0


def test_all_bodies_together_take_a_limited_space(unread: UnreadBodies, opened: ExitStack) -> None:
    for last in range(5):
        opened.enter_context(of_known(f"192.0.2.{last}")).write(b"a" * 200)
    more = opened.enter_context(of_known())
    assert not unread.was_full()
    with pytest.raises(OSError, match="were not read yet take 1000 bytes") as full:
        more.write(b"a")
    assert full.value.errno == errno.ENOSPC
    assert unread.was_full()
    assert unread.total == 1000


def test_an_address_takes_half_of_the_space(opened: ExitStack) -> None:
    for _ in range(2):
        opened.enter_context(of_known()).write(b"a" * 250)
    with pytest.raises(AddressFull):
        opened.enter_context(of_known()).write(b"a")
    opened.enter_context(of_known("192.0.2.1")).write(b"a" * 500)


def test_strangers_of_an_address_take_a_quarter(opened: ExitStack) -> None:
    opened.enter_context(of_stranger()).write(b"a" * 250)
    with pytest.raises(AddressFull):
        opened.enter_context(of_stranger()).write(b"a")
    opened.enter_context(of_known()).write(b"a" * 250)


def test_strangers_leave_half_of_the_space_to_the_others(unread: UnreadBodies, opened: ExitStack) -> None:
    for last in range(2):
        opened.enter_context(of_stranger(f"192.0.2.{last}")).write(b"a" * 250)
    with pytest.raises(OSError, match="not known take 500 bytes") as full:
        opened.enter_context(of_stranger()).write(b"a")
    assert full.value.errno == errno.ENOSPC
    opened.enter_context(of_known()).write(b"a" * 500)
    assert not unread.was_full()


def test_little_free_space_is_seen_while_a_body_is_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, opened: ExitStack
) -> None:
    settings.UNREAD_BODY_BYTES = 2**30
    body = opened.enter_context(of_known())
    body.write(bytes(bodies.CHECKED_BYTES // 2))
    monkeypatch.setattr("inpainting.storage.is_nearly_full", lambda: True)
    body.write(bytes(bodies.CHECKED_BYTES // 2))
    with pytest.raises(OSError, match="FREE_SPACE") as full:
        body.write(b"a")
    assert full.value.errno == errno.ENOSPC


def test_a_full_disk_is_an_error_of_writing(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, unread: UnreadBodies
) -> None:
    settings.UNREAD_BODY_BYTES = 2**30
    monkeypatch.setattr(bodies, "check_free_space", lambda: None)
    with small_disk(tmp_path, megabytes=1) as folder:
        settings.FILE_UPLOAD_TEMP_DIR = folder
        with of_known() as body, pytest.raises(OSError, match="No space left"):
            body.write(bytes(2**21))
        assert unread.total == 0
