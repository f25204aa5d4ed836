"""Quantised networks: by torchao or bitsandbytes, or as a GGUF file has them; imported when one is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inpainting.catalog.inspection.formats.checkpoint_tensors import FLOAT8
from inpainting.catalog.inspection.formats.gguf_header import TYPES
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence

OFF = "off"
TORCHAO, BITSANDBYTES, GGUF_LIBRARY = "torchao", "bitsandbytes", "gguf"
NF4_BLOCK = 64
"""Numbers that share a float32 scale in bitsandbytes' NF4, as diffusers configures it."""


LEAST_SCALED = 1e-12
"""The least number that the largest of a token's is taken for, where it is quantised: that of torchao's training."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How linear layers keep their weights; activations keep their precision unless they are quantised too.

    number_bytes: of a weight in memory. config: the class in `torchao.quantization`. quantizes_activations: in each
    step, with a scale for each token, so that the layers multiply numbers of 8 bits.
    """

    library: str
    number_bytes: float
    config: str = ""
    quantizes_activations: bool = False


QUANTIZATIONS = {
    "int8": Quantization(TORCHAO, 1, "Int8WeightOnlyConfig"),
    "float8": Quantization(TORCHAO, 1, "Float8WeightOnlyConfig"),
    "float8-dynamic": Quantization(TORCHAO, 1, "Float8DynamicActivationFloat8WeightConfig", True),
    # Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs" (NeurIPS 2023), without double quantisation.
    "nf4": Quantization(BITSANDBYTES, 0.5 + 4 / NF4_BLOCK),
}
"""Value of the setting -> how it quantises."""
NETWORKS = ("unet", "transformer")
"""Components that are quantised: the others are small, or their errors show in every step."""


EMBEDDING = re.compile(r"(embed_tokens|shared|(token|position)_embedding|relative_attention_bias)\.weight\Z")
"""The matrices of text encoders that are of no linear layer."""
STORED_AS = {name: block_bytes / block for name, block, block_bytes in TYPES.values() if block > 1}
"""Bytes of a number of a quantised type of GGUF, which stays as it is in memory."""


def is_installed(library: str) -> bool:
    return find_spec(library) is not None


def is_quantized(network: Any) -> bool:
    """Whether a network consists of weights that accelerate cannot move apart: those of GGUF and of bitsandbytes."""
    return getattr(network, "hf_quantizer", None) is not None or getattr(network, "is_loaded_in_4bit", False)


def read_gguf(path: Path, dtype: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of a GGUF file, whose quantised ones stay so, and the arguments of diffusers' loader for them.

    Those of no layer, such as the tokens of padding of Z-Image, become plain numbers: diffusers dequantises where a
    layer computes.

    dtype: of what the layers compute. Raises EngineFailed, `model_unavailable`, without the library.
    """
    if not is_installed(GGUF_LIBRARY):
        raise EngineFailed(
            sentence(
                "{file} holds quantised weights, which need {library}: “pip install {library}”.",
                file=path.name,
                library=GGUF_LIBRARY,
            ),
            code="model_unavailable",
        )
    from diffusers import GGUFQuantizationConfig
    from diffusers.models.model_loading_utils import load_gguf_checkpoint

    tensors = {
        name: tensor if name.endswith((".weight", ".bias")) else dequantize(tensor).to(dtype)
        for name, tensor in load_gguf_checkpoint(path).items()
    }
    return tensors, {"quantization_config": GGUFQuantizationConfig(compute_dtype=dtype)}


def quantize(network: Any, quantization: str, device: Any) -> None:
    """Quantise the linear layers of a network, which is in the machine's memory.

    device: that will compute. bitsandbytes quantises there, because a CPU takes minutes for FLUX, and the layers stay.

    Raises EngineFailed, `model_unavailable`, without the library, or if it does not support the device or precision.
    """
    kind = QUANTIZATIONS[quantization]
    if not is_installed(kind.library):
        raise EngineFailed(
            sentence(
                "DREAMLAYER_DIFFUSION_QUANTIZATION is {value}, which needs {library}: “pip install {library}”.",
                value=quantization,
                library=kind.library,
            ),
            code="model_unavailable",
        )
    if kind.library == BITSANDBYTES:
        _quantize_to_nf4(network, device)
        return
    from torchao import quantization as kinds

    arguments: dict[str, Any] = {}
    if kind.quantizes_activations:
        # A token of zeros, as an empty prompt of SDXL has them, would be divided by its largest number. torchao would
        # else change how everything in the process is compiled.
        arguments = {"granularity": kinds.PerRow(), "activation_value_lb": LEAST_SCALED, "set_inductor_config": False}
    try:
        kinds.quantize_(network, getattr(kinds, kind.config)(**arguments))
    except AssertionError as error:
        raise EngineFailed(
            sentence(
                "DREAMLAYER_DIFFUSION_QUANTIZATION is {value}, which torchao does not support here: {error}",
                value=quantization,
                error=str(error),
            ),
            code="model_unavailable",
        ) from error
    _settle_rows_of_zeros(network)


def _settle_rows_of_zeros(network: Any) -> None:
    """Make the rows of weights zero that torchao has divided by their largest number, 0, to get 8 bits."""
    from torch import uint8

    for layer in network.modules():
        weight: Any = getattr(layer, "weight", None)
        if not hasattr(weight, "qdata") or not weight.qdata.is_floating_point():
            continue
        rows = (weight.scale == 0).flatten()
        if rows.any():
            weight.qdata.view(uint8)[rows] = 0
            weight.scale[rows] = 1


def _quantize_to_nf4(network: Any, device: Any) -> None:
    import bitsandbytes
    from torch.nn import Linear

    # Versions without this name support CUDA alone.
    supported = getattr(bitsandbytes, "supported_torch_devices", {"cuda"})
    if device.type not in supported:
        raise EngineFailed(
            sentence(
                "DREAMLAYER_DIFFUSION_QUANTIZATION is nf4, and the installed bitsandbytes {version} does not support "
                "the device {device}.",
                version=bitsandbytes.__version__,
                device=device.type,
            ),
            code="model_unavailable",
        )
    kind = {"compress_statistics": False, "quant_type": "nf4"}
    for name in [name for name, layer in network.named_modules() if type(layer) is Linear]:
        layer = network.get_submodule(name)
        quantized = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.weight.dtype,
            device="meta",
            **kind,
        )
        quantized.weight = bitsandbytes.nn.Params4bit(layer.weight.data, module=quantized, **kind).to(device)
        quantized.bias = layer.bias
        # On CPUs with AVX512-BF16 its first call would rearrange the weights, which nothing else can read then.
        quantized.support_avx512bf16_for_cpu = False
        network.set_submodule(name, quantized.eval())
    network.is_loaded_in_4bit = True  # read by `is_quantized`


def dequantize(weight: Any) -> Any:
    """The numbers of a layer's parameter as a plain tensor, which it is already unless it was quantised."""
    if hasattr(weight, "quant_state"):
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state)
    if hasattr(weight, "quant_type"):
        from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

        return dequantize_gguf_tensor(weight)
    return weight.dequantize() if hasattr(type(weight), "__tensor_flatten__") else weight


def stored_bytes(tensor: Any) -> int:
    """Bytes of a tensor in memory; a quantised one consists of several tensors."""
    if hasattr(tensor, "quant_state"):
        return int(tensor.nbytes + tensor.quant_state.absmax.nbytes)
    names = tensor.__tensor_flatten__()[0] if hasattr(type(tensor), "__tensor_flatten__") else []
    parts = [getattr(tensor, name) for name in names]
    return sum(part.nbytes for part in parts if part is not None) if parts else int(tensor.nbytes)


def predicted_bytes(
    tensors: Mapping[str, Any], item_size: int, quantization: str = "", *, keeps_float8: bool = False
) -> int:
    """Bytes that the tensors of a file's header take in memory, of `item_size` bytes a number unless quantised.

    keeps_float8: whether matrices in fp8 stay so, but for those of embeddings.
    """
    matrix_item = QUANTIZATIONS[quantization].number_bytes if quantization else item_size
    count = 0.0
    for name, tensor in tensors.items():
        is_matrix = len(tensor["shape"]) == 2
        usual = matrix_item if is_matrix else item_size
        if keeps_float8 and is_matrix and tensor["dtype"] in FLOAT8 and not EMBEDDING.search(name):
            usual = 1
        count += math.prod(tensor["shape"]) * STORED_AS.get(tensor["dtype"], usual)
    return int(count)
