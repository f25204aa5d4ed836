"""The file that makes a plain model fill a mask: changes of its UNet's weights, and a convolution of what is kept.

The method and the weights are Fooocus' (github.com/lllyasviel/Fooocus). `networks/unpickled.py` writes the file,
and `engines/diffusion/inpaint_patch.py` applies it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused, quote
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.core.sentences import sentence

PATCH = "inpaint_patch/inpaint_patch.safetensors"
"""Its name in a model's folder."""
HEAD = "head"
"""The convolution, [features, 5, 3, 3]: of the mask and 4 channels of latents."""
MINIMUM, MAXIMUM = ".min", ".max"
"""Follow the name of a weight in the original layout: the differences that the bytes 0 and 255 of it mean."""
FLOATS = ("F32",)


def patch_of(weights: Path) -> Path | None:
    """Return the patch of an installed model; None for one without. weights: the model's folder or its only file."""
    path = (weights.parent if weights.is_file() else weights) / PATCH
    return path if path.is_file() else None


def check_patch_of(weights: Path, family: str) -> None:
    """Check the patch of an installed model of that family, if it has one. Raises ModelRefused."""
    path = patch_of(weights)
    if path is None:
        return
    if not families.get(family).takes_inpaint_patch:
        raise ModelRefused(sentence("Models of the family {family} take no inpaint patch.", family=family))
    check_patch(path)


def check_patch(path: Path) -> None:
    """Raises ModelRefused unless each weight of the file is bytes with two limits, beside the convolution."""
    header = read_header(path)
    head = header.pop(HEAD, {"shape": [], "dtype": ""})
    if head["shape"][1:] != [5, 3, 3] or head["dtype"] not in FLOATS:
        raise ModelRefused(sentence("{file} holds no convolution “{name}” of 5 channels.", file=path.name, name=HEAD))
    names = [name for name in header if not name.endswith((MINIMUM, MAXIMUM))]
    if not names or len(header) != 3 * len(names):
        raise ModelRefused(
            sentence("{file} is no inpaint patch: it does not hold two limits for each weight.", file=path.name)
        )
    for name in names:
        limits = [header.get(name + suffix) for suffix in (MINIMUM, MAXIMUM)]
        if header[name]["dtype"] != "U8" or not all(fits(limit, header[name]["shape"]) for limit in limits):
            raise ModelRefused(
                sentence(
                    "{file} is no inpaint patch: {name} is no weight of bytes with two limits.",
                    file=path.name,
                    name=quote(name),
                )
            )


def fits(limit: Any, shape: list[int]) -> bool:
    """Whether a limit is one for a whole weight, or for parts of it."""
    if limit is None or limit["dtype"] not in FLOATS or len(limit["shape"]) > len(shape):
        return False
    ends = shape[len(shape) - len(limit["shape"]) :]
    return all(side in (1, whole) for side, whole in zip(limit["shape"], ends, strict=True))
