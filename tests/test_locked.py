"""requirements.lock has every package of an installation, in the versions of constraints.txt, with hashes."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
INSTALLATIONS = {
    "LIGHT=1": ["base"],
    "TORCH=cpu": ["base", "erase", "diffusion", "cpu"],
    "": ["base", "erase", "diffusion", "cuda"],
    "the image": ["base", "scale", "erase", "diffusion", "cuda"],
}
"""The sections of each."""


@cache
def locked() -> ModuleType:
    """deploy/locked.py, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("locked", ROOT / "deploy/locked.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def sections() -> dict[str, dict[str, str]]:
    """Section -> name of a package -> its entry, without the options for pip."""
    read = locked().read_sections((ROOT / "requirements.lock").read_text())
    entries = {section: re.findall(r"^\w.*\n(?:\s.*\n)*", text, re.MULTILINE) for section, text in read.items()}
    return {section: {entry.partition("==")[0]: entry for entry in found} for section, found in entries.items()}


def names_in(requirements: list[str]) -> set[str]:
    return {str(canonicalize_name(Requirement(text).name)) for text in requirements}


def test_its_versions_are_those_of_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {str(canonicalize_name(name)): version for name, _, version in (line.partition("==") for line in lines)}
    others = {
        f"{name}: {entry.split()[0]}"
        for found in sections().values()
        for name, entry in found.items()
        if name in pins and entry.split()[0] != f"{name}=={pins[name]}"
    }
    assert others == set()


def test_it_has_all_that_pyproject_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base, extras = sections()["base"], project["optional-dependencies"]
    assert names_in(project["dependencies"]) <= set(base)
    for extra in locked().EXTRAS:
        torch = sections()["cuda"] if extra == "diffusion" else {}
        assert names_in(extras[extra]) <= {*base, *sections()[extra], *torch}, extra
    assert set(extras) == {*locked().EXTRAS, "dev"}


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_each_package_is_named_once_in_an_installation(installation: str) -> None:
    names = [name for section in INSTALLATIONS[installation] for name in sections()[section]]
    assert len(names) == len(set(names)) > 50


def test_each_package_has_hashes_and_no_registry_is_named_but_pytorchs() -> None:
    for found in sections().values():
        for name, entry in found.items():
            assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), name
    text = (ROOT / "requirements.lock").read_text()
    assert re.findall(r"\S*://\S*", text) == [locked().CPU_TORCH_INDEX]
    assert re.findall(r"^--?\S+", text, re.MULTILINE) == ["--extra-index-url"]


def test_it_has_a_wheel_of_both_builds_of_torch_for_each_python_and_platform() -> None:
    of_processors, of_cuda = sections()["cpu"]["torch"], sections()["cuda"]["torch"]
    assert of_processors.count("sha256:") == len(locked().PYTHONS) * len(locked().PLATFORMS)
    shared = {digest for digest in re.findall("sha256:(.*?)[ \n]", of_processors) if digest in of_cuda}
    assert len(shared) == len(locked().PYTHONS)  # macOS has one build
    assert any(name.startswith("nvidia-") for name in sections()["cuda"])
    assert not any(name.startswith(("nvidia-", "triton")) for name in {**sections()["diffusion"], **sections()["cpu"]})


def test_a_wheel_that_the_index_lacks_is_noticed() -> None:
    wheels = [
        (f"torch-2.13.0{local}-{python}-{python}-{platform}.whl", f"{number}")
        for number, (python, local, platform) in enumerate(
            (f"cp3{minor}", local, platform)
            for minor in (11, 12, 13, 14)
            for local, platform in (
                ("%2Bcpu", "manylinux_2_28_x86_64"),
                ("%2Bcpu", "manylinux_2_28_aarch64"),
                ("%2Bcpu", "win_amd64"),
                ("", "macosx_14_0_arm64"),
            )
        )
    ]
    entry = locked().torch_entry("torch==2.13.0", wheels)
    assert entry.startswith("torch==2.13.0 \\\n    --hash=sha256:0 \\\n")
    assert entry.count("sha256:") == 6
    with pytest.raises(ValueError, match="has 5 of 6 wheels"):
        locked().torch_entry("torch==2.13.0", wheels[1:])
