"""Quantised networks: weights of eight bits in memory, computed by torchao, which is imported when one is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from inpainting.core.errors import EngineFailed

OFF = "off"
QUANTIZATIONS = {"int8": "Int8WeightOnlyConfig", "float8": "Float8WeightOnlyConfig"}
"""Value of the setting -> class in `torchao.quantization`. Activations keep their precision."""
LIBRARY = "torchao"
NETWORKS = ("unet", "transformer")
"""Components that are quantised: the others are small, or their errors show in every step."""


def is_installed() -> bool:
    return find_spec(LIBRARY) is not None


def quantize(network: Any, quantization: str) -> None:
    """Quantise the linear layers of a network. Raises EngineFailed, `model_unavailable`, without torchao."""
    if not is_installed():
        raise EngineFailed(
            f"DREAMLAYER_DIFFUSION_QUANTIZATION is {quantization}, which needs {LIBRARY}: “pip install {LIBRARY}”.",
            code="model_unavailable",
        )
    from torchao import quantization as kinds

    kinds.quantize_(network, getattr(kinds, QUANTIZATIONS[quantization])())


def stored_bytes(tensor: Any) -> int:
    """Bytes of a tensor in memory; a quantised one consists of several tensors."""
    names = tensor.__tensor_flatten__()[0] if hasattr(type(tensor), "__tensor_flatten__") else []
    parts = [getattr(tensor, name) for name in names]
    return sum(part.nbytes for part in parts if part is not None) if parts else int(tensor.nbytes)


def predicted_bytes(tensors: Mapping[str, Any], item_size: int, *, is_quantized: bool) -> int:
    """Bytes that the tensors of a file's header take in memory, of `item_size` bytes a number unless quantised."""
    shapes = [tensor["shape"] for tensor in tensors.values()]
    return sum(math.prod(shape) * (1 if is_quantized and len(shape) == 2 else item_size) for shape in shapes)
