"""Every change of a network's files is noticed, and the memory that their weights take is known."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inpainting.networks.files import NO_FILES, fingerprint, weights_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of two files, one of them in a folder of its own, both of one time."""
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    for name in ("config.json", "unet/weights.bin"):
        (folder / name).write_text("12345")
        os.utime(folder / name, ns=(10**18, 10**18))
    return folder


def touch(folder: Path) -> None:
    os.utime(folder / "unet" / "weights.bin", ns=(10**18, 10**18 + 1))


def grow(folder: Path) -> None:
    (folder / "unet" / "weights.bin").write_text("123456")
    os.utime(folder / "unet" / "weights.bin", ns=(10**18, 10**18))


def rename(folder: Path) -> None:
    (folder / "unet" / "weights.bin").rename(folder / "unet" / "other.bin")


def move_up(folder: Path) -> None:
    (folder / "unet" / "weights.bin").rename(folder / "weights.bin")


def remove(folder: Path) -> None:
    (folder / "unet" / "weights.bin").unlink()


def add(folder: Path) -> None:
    (folder / "unet" / "more.bin").touch()


@pytest.mark.parametrize("change", [touch, grow, rename, move_up, remove, add])
def test_a_change_inside_a_folder_is_noticed(folder: Path, change: Callable[[Path], None]) -> None:
    before = fingerprint(folder)
    assert fingerprint(folder) == before != NO_FILES
    change(folder)
    assert fingerprint(folder) != before


def test_a_change_of_a_single_file_is_noticed(folder: Path) -> None:
    path = folder / "unet" / "weights.bin"
    before = fingerprint(path)
    touch(folder)
    changed = fingerprint(path)
    grow(folder)
    assert len({before, changed, fingerprint(path), NO_FILES}) == 4


def test_it_is_the_same_for_a_moved_folder_and_in_every_process(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(folder)
    moved = folder.rename(tmp_path / "moved")
    program = (
        "from pathlib import Path; import sys; from inpainting.networks.files import fingerprint;"
        "print(fingerprint(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", program, moved], capture_output=True, check=True)
    assert int(done.stdout) == before


def test_without_files_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert {fingerprint(path) for path in (None, tmp_path / "nothing", tmp_path / "empty")} == {NO_FILES}


def test_weights_count_in_float32_and_those_of_onnx_as_they_are(tmp_path: Path) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    (tmp_path / "sub").mkdir()
    numpy_files.save_file({"half": np.zeros((3, 5), np.float16)}, tmp_path / "model.safetensors")
    numpy_files.save_file({"whole": np.zeros(7, np.float32)}, tmp_path / "sub" / "more.safetensors")
    (tmp_path / "network.onnx").write_bytes(bytes(11))
    (tmp_path / "config.json").write_text("{}")
    assert weights_bytes(tmp_path) == (15 + 7) * 4 + 11
    assert weights_bytes(tmp_path / "network.onnx") == 11
    (tmp_path / "sub" / "more.safetensors").write_bytes(b"damaged")
    assert weights_bytes(tmp_path) == weights_bytes(tmp_path / "nothing") == 0
