"""Refuse files of models that no family takes, and say what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.files import GGUF, ModelRefused
from inpainting.core.sentences import every, pmark, sentence
from inpainting.families.known_files import KNOWN_FILES, OTHER_LORAS, TAKEN, KnownFile

FOUR_BITS = {
    r"\.qweight\Z": sentence("{format}, as {program} has it", format="SVDQuant", program="Nunchaku"),
    r"\.weight_scale_2\Z": "nvfp4",
    r"\.quant_state\.bitsandbytes__": sentence("{format}, as {program} has it", format="NF4", program="bitsandbytes"),
}
"""Pattern of a tensor's name -> the format of a file's weights."""
IT = pmark("a file", "It")
"""The subject of a sentence about a file whose name stands beside it."""


def refuse_known(header: Mapping[str, Any], subject: str) -> None:
    """Refuse a file that no model is added from. subject: of the sentence. Raises ModelRefused."""
    known = next((known for known in KNOWN_FILES if fits(known, header)), None)
    if known is not None and known.reason != TAKEN:
        raise ModelRefused(
            sentence("{subject} is {label}, {reason}", subject=subject, label=known.label, reason=known.reason)
        )


def refuse_four_bits(header: Mapping[str, Any], subject: str) -> None:
    """Refuse weights in a format of 4 bits that is not computed with. Raises ModelRefused."""
    for pattern, label in FOUR_BITS.items():
        if any(re.search(pattern, name) for name in header):
            with_gguf = every(known.label for known in families.registered_families() if known.component_file)
            raise ModelRefused(
                sentence(
                    "{subject} holds weights of 4 bits ({label}), which is not supported: take the same "
                    "model in bf16 or fp8, or a {suffix} file of {with_gguf}.",
                    subject=subject,
                    label=label,
                    suffix=GGUF,
                    with_gguf=with_gguf,
                )
            )


def other_lora(header: Mapping[str, Any]) -> str:
    """Return the model of no family that a LoRA is for; "" for an unknown one."""
    return next(
        (model for pattern, model in OTHER_LORAS.items() if any(re.search(pattern, name) for name in header)), ""
    )


def fits(known: KnownFile, header: Mapping[str, Any]) -> bool:
    found: list[str] = []
    for pattern in known.tensors:
        found = [name for name in header if re.search(pattern, name)]
        if not found:
            return False
    return not known.inputs or known.inputs in (last_side(header[name]) for name in found)


def last_side(tensor: Mapping[str, Any]) -> int:
    """Return the last side of a tensor; twice as many bytes where each holds two numbers."""
    side = int(tensor["shape"][-1]) if tensor["shape"] else 0
    return 2 * side if tensor["dtype"] == "U8" else side
