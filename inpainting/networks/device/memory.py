"""The memory of the machine and of devices, in bytes. Importing this module imports neither torch nor psutil."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings as site

from inpainting.networks.device.gpus import visible_gpus

CPU, CUDA = "cpu", "cuda"


def memory_bytes(device: str) -> int:
    """All memory of a device, which is named as by torch; that of the machine unless it is a CUDA device."""
    if not device.startswith(CUDA):
        return machine_memory_bytes()
    import torch

    return int(torch.cuda.get_device_properties(device).total_memory)


def free_device_bytes(device: str) -> int:
    """Free memory of a CUDA device, including what torch's allocator has cached."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def gpu_bytes(device: str) -> int:
    """All memory of the CUDA device that a setting names, as `visible_gpus` tells it; 0 without one.

    device: auto, or as torch names it.
    """
    kind, _, number = device.partition(":")
    gpus = visible_gpus() if kind in ("auto", CUDA) else ()
    index = int(number) if number.isdigit() else 0
    return gpus[index].memory_bytes if index < len(gpus) else 0


def machine_memory_bytes() -> int:
    """The machine's memory, or the container's limit if that is lower: the part of it that this process may fill.

    The children of `serve --devices` have equal parts.
    """
    machine, limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), _container_limit()
    return (machine if limit is None else min(machine, limit)) // site.DEVICE_COUNT


def free_machine_bytes() -> int:
    """Free memory of the machine, or of the container if that is less; files that the system caches count as free."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limit = _container_limit()
    if limit is None:
        return free
    used = _container_number("memory.current") or 0
    cached = next(
        (line.split()[1] for line in _container_file("memory.stat") if line.startswith("inactive_file ")), "0"
    )
    return min(free, max(0, limit - used + int(cached)))


def _container_limit() -> int | None:
    return _container_number("memory.max")


def _container_number(name: str) -> int | None:
    """A number that cgroup v2 gives for the container; None without one."""
    line = next(iter(_container_file(name)), "")
    return int(line) if line.isdigit() else None


def _container_file(name: str) -> list[str]:
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().splitlines()
    except OSError:
        return []
