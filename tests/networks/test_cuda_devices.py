"""The memory of CUDA devices, as the driver's program tells it, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inpainting.networks.device.memory import cuda_devices_bytes
from inpainting.web.recommended_models import own_machine
from tests.support.installation import ROOT


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder of programs. What is known of the devices is asked again in each test."""
    monkeypatch.setenv("PATH", str(tmp_path))
    cuda_devices_bytes.cache_clear()
    return tmp_path


def install_driver(path: Path, script: str) -> None:
    program = path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_machine_without_the_program_has_no_devices() -> None:
    assert cuda_devices_bytes() == ()


def test_the_devices_have_the_memory_that_the_program_tells(path: Path, settings: Any) -> None:
    install_driver(path, "echo 24564; echo 81559")
    assert cuda_devices_bytes() == (24564 * 2**20, 81559 * 2**20)
    assert own_machine().gpu_bytes == 24564 * 2**20
    for device, expected in (("cuda:1", 81559 * 2**20), ("cuda:7", 0), ("cpu", 0), ("mps", 0)):
        settings.DIFFUSION_DEVICE = device
        assert own_machine().gpu_bytes == expected


@pytest.mark.parametrize("script", ["echo '[N/A]'", "echo 24564; exit 9", "echo 'No devices were found'"])
def test_a_program_that_fails_tells_of_no_devices(path: Path, script: str) -> None:
    install_driver(path, script)
    assert cuda_devices_bytes() == ()


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
