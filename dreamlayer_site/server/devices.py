"""The devices of `serve --devices`, each of which gets a child process of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inpainting.networks.device.gpus import VISIBLE, visible_gpus

ALL = "all"


@dataclass(frozen=True, slots=True)
class Device:
    """name: as on the page of workers and in the metrics, such as cuda:3. environment: of the child."""

    name: str
    environment: dict[str, str]


def find_devices(text: str) -> list[Device]:
    """Return the devices that a list names, separated by commas. Raises ValueError.

    `cuda:N` is the GPU with that number, `cpu:N` another process that computes on the CPU, and `all` each GPU that CUDA
    shows to this process.
    """
    devices = [device for name in text.split(",") for device in devices_named(name.strip())]
    names = [device.name for device in devices]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice} is named twice")
    count = {"DREAMLAYER_DEVICE_COUNT": str(len(devices))}
    return [Device(device.name, device.environment | count) for device in devices]


def devices_named(name: str) -> Iterator[Device]:
    gpus = visible_gpus()
    if name == ALL:
        if not gpus:
            raise ValueError(f"“{ALL}” stands for NVIDIA GPUs, and nvidia-smi tells of none that CUDA would show")
        yield from (device for number in range(len(gpus)) for device in devices_named(f"cuda:{number}"))
        return
    known = re.fullmatch(r"(cuda|cpu)(?::(\d+))?", name, re.ASCII)
    if known is None:
        raise ValueError(f"“{name}” is no device: there are {ALL}, cuda:0, cuda:1 and so on, cpu:0, cpu:1 and so on")
    kind, number = known[1], int(known[2] or 0)
    environment = {"DREAMLAYER_DEVICE_NAME": f"{kind}:{number}", "DREAMLAYER_DIFFUSION_DEVICE": kind}
    if kind == "cuda":
        if number >= len(gpus):
            there = ", ".join(f"cuda:{other}" for other in range(len(gpus))) or "none"
            raise ValueError(f"there is no cuda:{number}; of GPUs that CUDA would show, nvidia-smi tells of {there}")
        # With another GPU in sight, a process would also make a context on the first one, which takes memory there.
        environment[VISIBLE] = gpus[number].uuid
    yield Device(f"{kind}:{number}", environment)
