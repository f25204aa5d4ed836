"""Write weights that are published as pickles as one file of safetensors.

It is a program: `unpickled.py patch TARGET MEMORY_BYTES SECONDS PATCH HEAD` for Fooocus' inpaint patch, and
`unpickled.py weights TARGET MEMORY_BYTES SECONDS FILE` for a network of one file. It runs in a process of its own,
which may take so much memory and processor time, and imports nothing of DreamLayer. `weights_only` lets a pickle hold
tensors and their names, and call nothing. It ends with status 2 and a sentence in the standard error for files of other
contents.

The formats of the patch are those of github.com/lllyasviel/Fooocus: PATCH holds for each weight of the UNet its
difference as bytes, w, and two numbers, so that the difference is w / 255 * (max - min) + min; HEAD holds the weights
of a convolution. Those of a network are BasicSR's and PyTorch's: the tensors by name, or below one of NETWORKS.
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
NETWORKS = ("params_ema", "params", "state_dict", "model")
"""Keys under which trainers save the weights of a network, the averaged ones first."""
PARALLEL = "module."
"""Begins the name of every tensor of a network that was trained on several devices."""


def main(what: str, target: str, memory_bytes: str, seconds: str, *files: str) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), int(memory_bytes)))
    from safetensors.torch import save_file

    save_file(patch_in(*files) if what == "patch" else weights_in(*files), target)


def patch_in(patch: str, head: str) -> dict[str, Any]:
    """Return the tensors of Fooocus' patch."""
    import torch

    convolution = read(head).get(HEAD)
    if convolution is None or not is_float(convolution):
        refuse(head, "it holds no convolution “head”")
    tensors = {HEAD: convolution.float().contiguous()}
    for name, values in read(patch).items():
        if not isinstance(values, list | tuple) or len(values) != 3:
            refuse(patch, f"{name[:80]} is no weight with two limits")
        weight, *limits = values
        is_bytes = isinstance(weight, torch.Tensor) and weight.dtype == torch.uint8
        if not is_bytes or not all(is_float(limit) for limit in limits):
            refuse(patch, f"{name[:80]} is no weight of bytes with two limits")
        plain = PREFIX.sub("", name)
        tensors[plain] = weight.contiguous()
        for suffix, limit in zip((MINIMUM, MAXIMUM), limits, strict=True):
            tensors[plain + suffix] = limit.float().contiguous().clone()
    return tensors


def weights_in(path: str) -> dict[str, Any]:
    """Return the tensors of a network. Some are of whole numbers: the positions of pixels, or counters."""
    found = read(path)
    for key in NETWORKS:
        if isinstance(found.get(key), dict):
            found = found[key]
            break
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and is_number(value)}
    if not any(map(is_float, tensors.values())) or len(tensors) < len(found):
        refuse(path, "it holds something else than the weights of a network by name")
    cut = len(PARALLEL) if all(name.startswith(PARALLEL) for name in tensors) else 0
    return {name[cut:]: tensor.contiguous().clone() for name, tensor in tensors.items()}


def read(path: str) -> dict[str, Any]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises errors of many kinds
        refuse(path, f"it cannot be read as weights alone ({type(error).__name__})")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        refuse(path, "it holds no weights by name")
    return found


def is_float(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16, torch.float32)


def is_number(value: object) -> bool:
    import torch

    return is_float(value) or (isinstance(value, torch.Tensor) and value.dtype in (torch.int32, torch.int64))


def refuse(path: str, reason: str) -> NoReturn:
    print(f"{Path(path).name} is not what is expected: {reason}.", file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    main(*sys.argv[1:])
