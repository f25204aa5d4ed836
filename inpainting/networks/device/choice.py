"""The device that torch's networks compute on, chosen here for all that are no models of the diffusion engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TypeVar

from django.conf import settings as site

from inpainting.core.errors import DeviceLost
from inpainting.networks.device.memory import CPU, CUDA

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_chosen: ContextVar[str | None] = ContextVar("device", default=None)


def current_device() -> str:
    """The name of the device for networks that are loaded now: a CUDA device that the settings allow, else the CPU.

    On Apple's GPUs these networks were never run; there only the diffusion engine computes.
    """
    if (chosen := _chosen.get()) is not None:
        return chosen
    if find_spec("torch") is None:
        return CPU
    import torch

    from inpainting.networks.device.hardware import choose_device

    device = choose_device(site.DIFFUSION_DEVICE)
    return str(device) if device.type == CUDA and torch.cuda.is_available() else CPU


@contextmanager
def computing_on(device: str) -> Iterator[None]:
    """Inside the context, on this thread, `device` is the current device."""
    token = _chosen.set(device)
    try:
        yield
    finally:
        _chosen.reset(token)


def or_on_cpu(work: Callable[[], Result]) -> Result:
    """The result of `work`, which loads networks or computes with them; on the CPU where the device's memory is full.

    The diffusion engine may leave none of it. Raises DeviceLost where the device fails every operation.
    """
    try:
        return work()
    except RuntimeError as error:  # of which torch.OutOfMemoryError is one
        device = current_device()  # asked only now: networks of onnxruntime compute without torch
        if device == CPU:
            raise
        from inpainting.networks.device.hardware import is_device_lost, is_out_of_memory

        if is_device_lost(error):
            raise DeviceLost(str(error)) from error
        if not is_out_of_memory(error):
            raise
        logger.warning("The memory of %s is full; the CPU computes instead", device)
    with computing_on(CPU):
        return work()
