"""The store of converted networks: atomic writes, and removal of the least recently used."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from inpainting.catalog.store.converted_networks import LOCK, MANIFEST, STAGING, NetworkStore, remove


def put(store: NetworkStore, slug: str, content: bytes = b"numbers") -> Path:
    place = store.folder(slug, "unet-1")
    with store.lock(), store.stage_folder(place) as folder:
        (folder / "unet.bin").write_bytes(content)
    return place


def test_a_complete_conversion_is_found(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path, 10**6)
    assert not store.use(store.folder("tiny", "unet-1"))
    place = put(store, "tiny")
    assert store.use(place)
    assert (place / "unet.bin").read_bytes() == b"numbers"


def test_an_interrupted_conversion_leaves_no_files(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path, 10**6)
    place = store.folder("tiny", "unet-1")

    def interrupt() -> None:
        with store.lock(), store.stage_folder(place) as folder:
            (folder / "unet.bin").write_bytes(b"num")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        interrupt()
    assert not place.exists()
    assert not list(store.root.glob(f"{STAGING}*"))


def test_files_of_a_dead_process_are_removed_by_the_next_conversion(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path, 10**6)
    left = store.root / f"{STAGING}abc" / "files"
    left.mkdir(parents=True)
    with store.lock():
        assert not left.parent.exists()


@pytest.mark.parametrize("damage", ["other bytes", "a file is gone", "no manifest", "no words", "no table"])
def test_a_damaged_conversion_is_not_found_and_is_removed(tmp_path: Path, damage: str) -> None:
    store = NetworkStore(tmp_path, 10**6)
    place = put(store, "tiny")
    match damage:
        case "other bytes":
            (place / "unet.bin").write_bytes(b"Numbers")
        case "a file is gone":
            (place / "unet.bin").unlink()
        case "no manifest":
            (place / MANIFEST).unlink()
        case "no words":
            (place / MANIFEST).write_bytes(b"\xff{")
        case _:
            (place / MANIFEST).write_text("[]")
    assert not store.use(place)
    assert not place.exists()


def test_the_least_recently_used_conversions_are_removed_first(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path, 10**6)
    old, used, new = (put(store, slug, bytes(1000)) for slug in ("old", "used", "new"))
    for hour, place in enumerate([old, used, new]):
        os.utime(place / MANIFEST, (hour * 3600, hour * 3600))
    assert store.use(used)
    store.budget_bytes = 2500
    store.evict(keep={old})
    assert [place.exists() for place in (old, used, new)] == [True, True, False]


def test_the_lock_excludes_other_processes(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path, 10**6)
    with store.lock(), (store.root / LOCK).open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (store.root / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_conversions_of_a_model_are_removed_with_it(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path, 10**6)
    gone, stays = put(store, "tiny"), put(store, "tiny-2")
    remove(tmp_path, "tiny")
    remove(tmp_path, "never-there")
    assert not gone.exists()
    assert store.use(stays)
