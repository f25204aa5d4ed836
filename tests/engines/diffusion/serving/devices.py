"""A device of the tests with a memory of its own, whose bytes are counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import accelerate
import pytest
import torch

from inpainting.networks.device.hardware import Hardware, Offload

HOOKS: list[Any] = []


@dataclass(frozen=True, slots=True)
class CountingDevice(Hardware):
    """The CPU, with so many bytes of memory of its own for weights."""

    capacity: int = 0
    placed: list[Offload] = field(default_factory=list)
    """How pipelines were placed, in order."""

    @property
    def can_offload(self) -> bool:
        return True

    def free_bytes(self) -> int:
        return self.capacity

    def place(self, pipeline: Any) -> None:
        self.placed.append(Offload.NONE)
        self.check(sum(map(byte_count, networks_of(pipeline))))

    def remove(self, pipeline: Any) -> None:
        while HOOKS:
            HOOKS.pop().remove()

    def offload(self, pipeline: Any, offload: Offload) -> None:
        self.placed.append(offload)

        def check(module: torch.nn.Module, arguments: Any) -> None:
            self.check(byte_count(module))

        self.remove(pipeline)
        for network in networks_of(pipeline):
            parts = [network] if offload is Offload.COMPONENTS else leaves(network)
            HOOKS.extend(part.register_forward_pre_hook(check) for part in parts)

    def check(self, wanted: int) -> None:
        if wanted > self.capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")


def networks_of(pipeline: Any) -> list[torch.nn.Module]:
    return [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]


def leaves(network: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in network.modules() if not list(module.children())]


def byte_count(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in module.parameters())


def give_the_cpu_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers numbers the device, and a parameter that moves from "cpu" to "cpu:0" is none any more."""

    def offload(network: torch.nn.Module, device: torch.device, *arguments: Any, **more: Any) -> Any:
        return accelerate_offload(network, torch.device(device.type), *arguments, **more)

    accelerate_offload = accelerate.cpu_offload
    monkeypatch.setattr(accelerate, "cpu_offload", offload)
