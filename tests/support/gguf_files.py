"""Files in GGUF, as city96's converter makes them of a transformer."""

from __future__ import annotations

from pathlib import Path

import gguf
import torch


def gguf_file(tensors: dict[str, torch.Tensor], path: Path, kind: str) -> dict[str, torch.Tensor]:
    """Write matrices quantised, and others in float32 or bfloat16. Return the numbers that the file holds.

    city96's converter does the same: tensors of no layer, such as Z-Image's tokens of padding, stay in bfloat16.
    """
    writer, held = gguf.GGUFWriter(path, arch="any"), {}
    for name, tensor in tensors.items():
        is_matrix = tensor.ndim == 2 and tensor.shape[-1] % 32 == 0
        wanted = gguf.GGMLQuantizationType[(kind if name.endswith(".weight") else "BF16") if is_matrix else "F32"]
        quantised = gguf.quantize(tensor.numpy(), wanted)
        held[name] = torch.from_numpy(gguf.dequantize(quantised, wanted).copy()).reshape(tensor.shape)
        writer.add_tensor(name, quantised, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held
