"""Write Fooocus' inpaint patch, which is published as two pickles, as one file of safetensors.

It is a program: `unpickled_patch.py PATCH HEAD TARGET MEMORY_BYTES SECONDS`. It runs in a process of its own, which may
take so much memory and processor time, and imports nothing of DreamLayer. `weights_only` lets a pickle hold tensors and
their names, and call nothing. It ends with status 2 and a sentence in the standard error for files of other contents.

The formats are those of github.com/lllyasviel/Fooocus: PATCH holds for each weight of the UNet its difference as bytes,
w, and two numbers, so that the difference is w / 255 * (max - min) + min; HEAD holds the weights of a convolution.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path
from typing import Any, NoReturn

REFUSED = 2
"""The exit status for files of other contents."""
PREFIX = re.compile(r"\A(model\.)?diffusion_model\.")
HEAD = "head"
MINIMUM, MAXIMUM = ".min", ".max"
"""Follow the name of a weight in TARGET."""


def main(patch: str, head: str, target: str, memory_bytes: str, seconds: str) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), int(memory_bytes)))
    import torch
    from safetensors.torch import save_file

    def read(path: str) -> dict[str, Any]:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file raises errors of many kinds
            refuse(path, f"it cannot be read as weights alone ({type(error).__name__})")
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            refuse(path, "it holds no weights by name")
        return found

    def is_tensor(value: object, *dtypes: torch.dtype) -> bool:
        return isinstance(value, torch.Tensor) and value.dtype in dtypes

    floats = (torch.float16, torch.bfloat16, torch.float32)
    convolution = read(head).get(HEAD)
    if convolution is None or not is_tensor(convolution, *floats):
        refuse(head, "it holds no convolution “head”")
    tensors = {HEAD: convolution.float().contiguous()}
    for name, values in read(patch).items():
        if not isinstance(values, list | tuple) or len(values) != 3:
            refuse(patch, f"{name[:80]} is no weight with two limits")
        weight, *limits = values
        if not is_tensor(weight, torch.uint8) or not all(is_tensor(limit, *floats) for limit in limits):
            refuse(patch, f"{name[:80]} is no weight of bytes with two limits")
        plain = PREFIX.sub("", name)
        tensors[plain] = weight.contiguous()
        for suffix, limit in zip((MINIMUM, MAXIMUM), limits, strict=True):
            tensors[plain + suffix] = limit.float().contiguous().clone()
    save_file(tensors, target)


def refuse(path: str, reason: str) -> NoReturn:
    print(f"{Path(path).name} is not what Fooocus publishes: {reason}.", file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])
