"""`make` chooses the newest supported Python and prints the size of the download."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def run_make(tmp_path: Path, *arguments: str, pythons: dict[str, bool]) -> subprocess.CompletedProcess[str]:
    """Run make with only `pythons` on the path: a name, and whether that version is supported."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, fits in pythons.items():
        (folder / name).write_text(f"#!/bin/sh\nexit {0 if fits else 1}\n")
        (folder / name).chmod(0o755)
    for tool in ("touch", "uname"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    return subprocess.run(
        [str(MAKE), "--no-print-directory", *arguments, f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        env={**environment, "PATH": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("pythons", "taken"),
    [
        ({"python3.13": True, "python3.12": True, "python3.11": True, "python3": True}, "python3.13"),
        ({"python3.13": False, "python3.12": True, "python3.11": True}, "python3.12"),
        ({"python3.14": True, "python3.11": True}, "python3.11"),
        ({"python3.12": False, "python3": True}, "python3"),
    ],
)
def test_the_newest_supported_python_is_chosen(tmp_path: Path, pythons: dict[str, bool], taken: str) -> None:
    made = run_make(tmp_path, "--dry-run", "install", pythons=pythons)
    assert f"\n{taken} -m venv " in made.stdout


def test_another_python_can_be_chosen(tmp_path: Path) -> None:
    made = run_make(tmp_path, "--dry-run", "install", "PYTHON=/opt/python", pythons={"python3.13": True})
    assert "\n/opt/python -m venv " in made.stdout


def test_without_a_supported_python_the_error_lists_the_supported_versions(tmp_path: Path) -> None:
    made = run_make(tmp_path, "install", pythons={"python3.13": False, "python3": False})
    assert made.returncode != 0
    assert "DreamLayer needs Python 3.11, 3.12 or 3.13 with its venv module" in made.stdout
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("arguments", "size", "extras"),
    [
        (["TORCH=cpu"], "about 0.5 GB", "[diffusion,erase]"),
        (["LIGHT=1"], "about 0.3 GB", ""),
        (["LIGHT=1", "TORCH=cpu"], "about 0.3 GB", ""),
    ],
)
def test_it_prints_the_size_of_the_download_first(tmp_path: Path, arguments: list[str], size: str, extras: str) -> None:
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("pip", "python"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (folder / name).chmod(0o755)
    made = run_make(tmp_path, "install", *arguments, pythons={})
    assert made.returncode == 0
    announced, *installed = made.stdout.splitlines()[0], *re.findall(r"^pip .*", made.stdout, re.MULTILINE)
    assert f"This downloads {size}" in announced
    assert installed[-1].endswith(f"--editable .{extras}")
    assert made.stdout.splitlines()[-1] == "python -m inpainting.engines.quick_fill.compile"
    from_pytorch = [command for command in installed if "--index-url https://download.pytorch.org/whl/cpu" in command]
    assert len(from_pytorch) == (0 if "LIGHT=1" in arguments else 1)


@pytest.mark.parametrize(
    ("arguments", "sections"),
    [
        ([], "base erase diffusion cuda"),
        (["TORCH=cpu"], "base erase diffusion cpu"),
        (["LIGHT=1"], "base"),
    ],
)
def test_a_locked_installation_takes_only_packages_with_hashes(
    tmp_path: Path, arguments: list[str], sections: str
) -> None:
    made = run_make(tmp_path, "--dry-run", "install", "LOCKED=1", *arguments, pythons={"python3.13": True})
    assert f"deploy/locked.py {sections} >" in made.stdout
    installs = re.findall(r"/pip install (.*?)(?: &&|$)", made.stdout, re.MULTILINE)
    assert all("--no-deps" in install for install in installs)
    (packages, dreamlayer) = installs
    assert "--require-hashes" in packages
    assert dreamlayer.endswith("--no-build-isolation --editable .")


def test_the_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (versions,) = re.findall(r"^PYTHON_VERSIONS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [text.rpartition(" ")[2] for text in project["classifiers"] if "Python ::" in text]
    assert named == sorted(versions.split())
    assert project["requires-python"] == ">=3.11,<3.14"
