"""The memory of CUDA devices, as the driver's program tells it, without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inpainting.networks.device.gpus import VISIBLE, visible_gpus
from inpainting.web.recommended_models import own_machine
from tests.support.installation import ROOT

TWO = "echo 'GPU-aa11, 24564'; echo 'GPU-bb22, 81559'"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The only folder of programs. What is known of the devices is asked again in each test."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VISIBLE, raising=False)
    visible_gpus.cache_clear()
    yield tmp_path
    visible_gpus.cache_clear()


def install_driver(path: Path, script: str) -> None:
    program = path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_machine_without_the_program_has_no_devices() -> None:
    assert visible_gpus() == ()


def test_the_devices_have_the_memory_that_the_program_tells(path: Path, settings: Any) -> None:
    install_driver(path, TWO)
    assert [gpu.memory_bytes for gpu in visible_gpus()] == [24564 * 2**20, 81559 * 2**20]
    assert own_machine().gpu_bytes == 24564 * 2**20
    for device, expected in (("cuda:1", 81559 * 2**20), ("cuda:7", 0), ("cpu", 0), ("mps", 0)):
        settings.DIFFUSION_DEVICE = device
        assert own_machine().gpu_bytes == expected


@pytest.mark.parametrize("script", ["echo 'GPU-a, [N/A]'", "echo 'GPU-a, 9'; exit 9", "echo 'No devices were found'"])
def test_a_program_that_fails_tells_of_no_devices(path: Path, script: str) -> None:
    install_driver(path, script)
    assert visible_gpus() == ()


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("1,0", ["GPU-bb22", "GPU-aa11"]),
        ("GPU-bb", ["GPU-bb22"]),
        ("1,7,0", ["GPU-bb22"]),
        ("-1", []),
        ("", []),
        ("MIG-1, MIG-2", ["MIG-1", "MIG-2"]),
    ],
)
def test_only_the_devices_count_that_cuda_shows(
    path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, uuids: list[str]
) -> None:
    install_driver(path, TWO)
    monkeypatch.setenv(VISIBLE, visible)
    assert [gpu.uuid for gpu in visible_gpus()] == uuids
    assert own_machine().gpu_bytes == (visible_gpus()[0].memory_bytes if uuids else 0)


def test_it_imports_no_torch() -> None:
    program = (
        "import django, sys; django.setup()\n"
        "from inpainting.web.recommended_models import own_machine; own_machine()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "dreamlayer_site.settings"},
        check=True,
    )
