"""The device that computes, and its precision."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import psutil
import torch

from inpainting.networks.device.memory import free_device_bytes, memory_bytes
from inpainting.networks.device.quantization import is_quantized

WEIGHTS_SHARE = 0.6
"""The share of device memory that weights may take; samples in flight need the rest."""
OUT_OF_MEMORY_WORDS = (
    *("out of memory", "not enough memory", "can't allocate memory"),
    # cuBLAS and cuDNN cannot create their workspaces; the driver's library cannot be asked how much is free.
    *("cublas_status_alloc_failed", "cublas_status_not_initialized", "cudnn_status_alloc_failed"),
    *("cudnn_status_internal_error_host_allocation_failed", "nvml_success == r internal assert failed"),
)
"""In messages of errors, in lower case."""
UNSUPPORTED_WORDS = (
    *("no kernel image is available", "cublas_status_not_supported", "cublas_status_arch_mismatch"),
    *("cudnn_status_not_supported", "cudnn_status_arch_mismatch", "invalid device function"),
    *("cublas_status_invalid_value", "cudnn_status_bad_param"),
    # cudaErrorInvalidValue, cudaErrorInvalidConfiguration, and those of a stream whose work is captured as a graph.
    *("invalid argument", "invalid configuration argument", "captur"),
)
"""In messages of errors after which the device goes on working: what was asked for is not supported or not allowed.

CUDA's own are those of `cudaError` that do not leave the process in an inconsistent state
(https://docs.nvidia.com/cuda/cuda-runtime-api, "Data types used by CUDA Runtime").
"""
BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""CPU flags in Linux' /proc/cpuinfo, of x86 and of ARM."""


class Offload(IntEnum):
    """Which parts of a model wait in the machine's memory while they do not compute."""

    NONE = 0
    COMPONENTS = 1
    """The networks: the largest one must fit into the device's memory (accelerate's `cpu_offload_with_hook`)."""
    LAYERS = 2
    """The layers of each network, which makes steps several times as long (accelerate's `cpu_offload`)."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device, and how networks compute on it."""

    device: torch.device
    dtype: torch.dtype
    quantization: str = ""
    """One of `quantization.QUANTIZATIONS`, "" for none."""
    compilation: str = ""
    """"blocks", "transformers" for the blocks of transformers alone, or "" for none."""

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def has_bfloat16(self) -> bool:
        """Whether a GPU computes in bfloat16: NVIDIA's since Ampere."""
        return self.is_cuda and torch.cuda.is_bf16_supported(including_emulation=False)

    @property
    def can_offload(self) -> bool:
        """Whether its memory is apart from the machine's."""
        return self.is_cuda

    def place(self, pipeline: Any) -> None:
        """Move all networks of a pipeline into its memory, beside what it computes."""
        with self.copying():
            pipeline.to(self.device)

    def offload(self, pipeline: Any, offload: Offload) -> None:
        """Keep the networks of a pipeline in the machine's memory, and move those parts that compute."""
        if offload is Offload.COMPONENTS:
            pipeline.enable_model_cpu_offload(device=self.device)
        else:
            # The VAE may be converted to float32 for a while, which layers that are apart cannot. accelerate would
            # lose how the weights of GGUF files and of bitsandbytes are quantised.
            whole = ["vae", *(name for name, part in pipeline.components.items() if is_quantized(part))]
            excluded, pipeline._exclude_from_cpu_offload = pipeline._exclude_from_cpu_offload, whole
            pipeline.enable_sequential_cpu_offload(device=self.device)
            pipeline._exclude_from_cpu_offload = excluded

    def remove(self, pipeline: Any) -> None:
        """Move all networks of a pipeline into the machine's memory, whichever way they were placed."""
        pipeline.remove_all_hooks()
        with self.copying():
            pipeline.to("cpu")

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Copy to the device in a stream of its own, so that queued work need not wait."""
        if not self.is_cuda:
            yield
            return
        stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(stream):
            yield
        stream.synchronize()

    @property
    def has_slow_first_step(self) -> bool:
        """Whether kernels are loaded and chosen in the first step of a process, as on a GPU."""
        return self.device.type != "cpu"

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def timer(self) -> DeviceTimer:
        """A timer of the work that is queued from now on."""
        return DeviceTimer(self)

    def empty_cache(self) -> None:
        if self.is_cuda:
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def reset_peak(self) -> int:
        """Reset `peak_bytes`. Returns the bytes allocated now, 0 where that cannot be measured."""
        if not self.is_cuda:
            return 0
        torch.cuda.reset_peak_memory_stats(self.device)
        return int(torch.cuda.memory_allocated(self.device))

    def peak_bytes(self) -> int:
        """Most bytes allocated at a time since `reset_peak`, 0 where that cannot be measured."""
        return int(torch.cuda.max_memory_allocated(self.device)) if self.is_cuda else 0

    def memory_bytes(self) -> int:
        return memory_bytes(str(self.device))

    def free_bytes(self) -> int:
        """Free memory, including what torch's allocator has cached."""
        if self.is_cuda:
            return free_device_bytes(str(self.device))
        return int(psutil.virtual_memory().available)


class DeviceTimer:
    """The seconds that the device takes for queued work.

    On CUDA the device notes both times itself, so that nothing waits for it; elsewhere `stop` waits.
    """

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._started = self._ended = 0.0
        self._events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        if hardware.is_cuda:
            self._events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self._events[0].record(torch.cuda.current_stream(hardware.device))
        else:
            self._started = time.perf_counter()

    def stop(self) -> None:
        if self._events is not None:
            self._events[1].record(torch.cuda.current_stream(self._hardware.device))
        else:
            self._hardware.synchronize()
            self._ended = time.perf_counter()

    @property
    def is_known(self) -> bool:
        """Whether the device has done the work. Call it after `stop`."""
        return self._events is None or self._events[1].query()

    @property
    def seconds(self) -> float:
        """Valid once `is_known`."""
        if self._events is None:
            return self._ended - self._started
        return self._events[0].elapsed_time(self._events[1]) / 1000


class HostCopy:
    """A tensor that the device copies to the host beside its other work.

    On CUDA the copy is made when the queued work is done; to read it later waits for nothing.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self._copied: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(tensor.device))
        else:
            self._tensor = tensor.cpu()

    @property
    def is_queued(self) -> bool:
        """Whether reading may wait for the device."""
        return self._copied is not None

    def read(self) -> torch.Tensor:
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensor


class FiniteCheck:
    """Whether all numbers of one of several tensors are finite, found by the device beside its other work."""

    def __init__(self, largest: HostCopy, number: int) -> None:
        """largest: [tensors], the largest absolute value in each."""
        self._largest, self._number = largest, number

    @property
    def is_queued(self) -> bool:
        """Whether reading may wait for the device."""
        return self._largest.is_queued

    @property
    def is_finite(self) -> bool:
        return math.isfinite(float(self._largest.read()[self._number]))


def finite_checks(tensors: torch.Tensor) -> list[FiniteCheck]:
    """A check for each of the tensors that are stacked in the first dimension."""
    largest = HostCopy(torch.linalg.vector_norm(tensors.flatten(1), torch.inf, dim=1))
    return [FiniteCheck(largest, number) for number in range(len(tensors))]


def choose_device(device: str) -> torch.device:
    """The requested device, or the best of this machine for "auto". device: as of `choose`."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(device)


def choose(device: str = "auto", precision: str = "auto") -> Hardware:
    """The requested device and precision, or the best of this machine.

    device: auto, cpu, cuda, cuda:N or mps. precision: auto, float32, float16 or bfloat16; auto is float16 on a GPU,
    and on a CPU bfloat16 if it computes that natively (two to three times as fast), else float32.

    A CUDA device multiplies float32 with 10 bits of mantissa (TF32) in the whole process, as diffusers recommends
    (https://huggingface.co/docs/diffusers/v0.34.0/optimization/fp16), unless float32 is requested.
    """
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"
    if precision != "auto":
        return Hardware(
            chosen, {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[precision]
        )
    if chosen.type != "cpu":
        return Hardware(chosen, torch.float16)
    return Hardware(chosen, torch.bfloat16 if cpu_has_bfloat16() else torch.float32)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; each type of device raises another type of error."""
    message = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in message for words in OUT_OF_MEMORY_WORDS
    )


def is_device_lost(error: BaseException) -> bool:
    """Whether an error is one of CUDA's sticky errors, after which only another process can use the device."""
    message = str(error).lower()
    is_cuda_error = isinstance(error, torch.AcceleratorError) or "cuda error" in message
    return is_cuda_error and not is_out_of_memory(error) and not any(words in message for words in UNSUPPORTED_WORDS)


def cpu_has_bfloat16() -> bool:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line.split() for line in info.splitlines() if line.startswith(("flags", "Features"))), [])
    return any(flag in flags for flag in BFLOAT16_FLAGS)
