"""Quantised networks: weights of eight bits by torchao, or as a GGUF file has them; imported when one is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.gguf_header import TYPES
from inpainting.core.errors import EngineFailed

OFF = "off"
QUANTIZATIONS = {"int8": "Int8WeightOnlyConfig", "float8": "Float8WeightOnlyConfig"}
"""Value of the setting -> class in `torchao.quantization`. Activations keep their precision."""
LIBRARY, GGUF_LIBRARY = "torchao", "gguf"
NETWORKS = ("unet", "transformer")
"""Components that are quantised: the others are small, or their errors show in every step."""


STORED_AS = {name: block_bytes / block for name, block, block_bytes in TYPES.values() if block > 1}
"""Bytes of a number of a quantised type of GGUF, which stays as it is in memory."""


def is_installed(library: str = LIBRARY) -> bool:
    return find_spec(library) is not None


def is_quantized(network: Any) -> bool:
    """Whether a network was quantised in its file."""
    return getattr(network, "hf_quantizer", None) is not None


def read_gguf(path: Path, dtype: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of a GGUF file, whose quantised ones stay so, and the arguments of diffusers' loader for them.

    dtype: of what the layers compute. Raises EngineFailed, `model_unavailable`, without the library.
    """
    if not is_installed(GGUF_LIBRARY):
        raise EngineFailed(
            f"{path.name} holds quantised weights, which need {GGUF_LIBRARY}: “pip install {GGUF_LIBRARY}”.",
            code="model_unavailable",
        )
    from diffusers import GGUFQuantizationConfig
    from diffusers.models.model_loading_utils import load_gguf_checkpoint

    return load_gguf_checkpoint(path), {"quantization_config": GGUFQuantizationConfig(compute_dtype=dtype)}


def quantize(network: Any, quantization: str) -> None:
    """Quantise the linear layers of a network. Raises EngineFailed, `model_unavailable`, without torchao."""
    if not is_installed():
        raise EngineFailed(
            f"DREAMLAYER_DIFFUSION_QUANTIZATION is {quantization}, which needs {LIBRARY}: “pip install {LIBRARY}”.",
            code="model_unavailable",
        )
    from torchao import quantization as kinds

    kinds.quantize_(network, getattr(kinds, QUANTIZATIONS[quantization])())


def dequantized(weight: Any) -> Any:
    """The numbers of a layer's weight as a plain tensor, which it is already unless it was quantised."""
    if hasattr(weight, "quant_type"):
        from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

        return dequantize_gguf_tensor(weight)
    return weight.dequantize() if hasattr(type(weight), "__tensor_flatten__") else weight


def stored_bytes(tensor: Any) -> int:
    """Bytes of a tensor in memory; a quantised one consists of several tensors."""
    names = tensor.__tensor_flatten__()[0] if hasattr(type(tensor), "__tensor_flatten__") else []
    parts = [getattr(tensor, name) for name in names]
    return sum(part.nbytes for part in parts if part is not None) if parts else int(tensor.nbytes)


def predicted_bytes(tensors: Mapping[str, Any], item_size: int, *, is_quantized: bool) -> int:
    """Bytes that the tensors of a file's header take in memory, of `item_size` bytes a number unless quantised."""
    count = 0.0
    for tensor in tensors.values():
        usual = 1 if is_quantized and len(tensor["shape"]) == 2 else item_size
        count += math.prod(tensor["shape"]) * STORED_AS.get(tensor["dtype"], usual)
    return int(count)
