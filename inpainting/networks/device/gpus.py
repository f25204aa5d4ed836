"""The CUDA devices of this machine, as the driver's program tells them. It imports neither torch nor Django."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

DRIVER_SECONDS = 10
"""The longest time that the driver's program may take."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable by which CUDA shows a process some of the devices alone."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """uuid: what CUDA_VISIBLE_DEVICES takes for it. memory_bytes: all its memory."""

    uuid: str
    memory_bytes: int


@cache
def visible_gpus() -> tuple[Gpu, ...]:
    """Return the devices that CUDA shows to this process, in its order; none without the driver's program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [line.partition(", ") for line in told.stdout.splitlines()]
    installed = [Gpu(uuid, int(size) * 2**20) for uuid, _, size in rows if size.strip().isdigit()]
    names = os.environ.get(VISIBLE)
    return tuple(installed if names is None else named(names.split(","), installed))


def named(names: Sequence[str], installed: Sequence[Gpu]) -> Iterator[Gpu]:
    """Yield the devices that CUDA_VISIBLE_DEVICES names: by number, by UUID or by the beginning of one.

    CUDA shows none from the first unknown name on. A MIG instance counts with the memory of the first card, as the
    driver's program does not tell its own: DREAMLAYER_DIFFUSION_MEMORY_MB does.
    """
    for name in (name.strip() for name in names):
        found = [gpu for number, gpu in enumerate(installed) if name == str(number)]
        found = found or [gpu for gpu in installed if name.startswith("GPU-") and gpu.uuid.startswith(name)]
        if name.startswith("MIG-") and installed:
            found = [Gpu(name, installed[0].memory_bytes)]
        if not found:
            return
        yield found[0]
