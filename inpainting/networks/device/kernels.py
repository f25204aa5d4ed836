"""Which kernels a CUDA device computes with: the flags of torch that hold for the whole process, set here alone.

Importing this module does not import torch: the checks of the settings read the values that they may have.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

AUTO, CUDNN = "auto", "cudnn"
ATTENTIONS = (AUTO, CUDNN)
OFF, BLOCKS = "off", "blocks"
COMPILATIONS = (OFF, BLOCKS)
"""How networks are compiled; see `compilation`."""
_attention = ExitStack()
"""Holds the order of attention kernels until another one is set."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """Defaults for a service, which paints images of many sizes.

    tf32: float32 products and convolutions are computed with 10 bits of mantissa in place of 23. diffusers recommends
    it (https://huggingface.co/docs/diffusers/v0.34.0/optimization/fp16); torch allows it for convolutions alone.
    cudnn_benchmark: cuDNN tries its algorithms for each new shape of a convolution. Off: every new image size and
    number of rows would delay the steps of all others, and another run of the process may choose other algorithms
    (https://docs.pytorch.org/docs/stable/notes/randomness.html).
    attention: one of ATTENTIONS, for `scaled_dot_product_attention`. auto: torch's own order of its kernels, flash
    attention first; cudnn: cuDNN's first.
    """

    tf32: bool = True
    cudnn_benchmark: bool = False
    attention: str = AUTO

    def use(self) -> None:
        """Set torch's flags."""
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32
        torch.backends.cudnn.benchmark = self.cudnn_benchmark
        _attention.close()
        if self.attention == CUDNN:
            order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
            _attention.enter_context(sdpa_kernel([*order, SDPBackend.MATH], set_priority=True))


DEFAULT_KERNELS = Kernels()
