"""LoRAs that a prompt names, in the notation of AUTOMATIC1111: `<lora:NAME:0.8>`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence

NETWORK = re.compile(r"<(lora|lyco|hypernet):([^:>]{1,200})((?::[^:>]{0,40}){0,8})>")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)


def named_networks(prompt: str) -> Iterator[tuple[str, str, str]]:
    """Yield kind (lora, lyco or hypernet), name and numbers, for `weight_of`, of each network that a prompt names."""
    for match in NETWORK.finditer(prompt):
        kind, name, numbers = match.group(1, 2, 3)
        yield kind, name, numbers


def without_networks(prompt: str) -> str:
    """Return the prompt without the networks that it names."""
    return NETWORK.sub("", prompt).strip()


def weight_of(name: str, numbers: str) -> float:
    """Return the weight of a LoRA: the first of the numbers after its name, such as `:0.8` or `:unet=0.8`.

    Raises InvalidRequest for one that is no number.
    """
    sent = numbers[1:].partition(":")[0].rpartition("=")[2]
    if not NUMBER.fullmatch(sent or "1"):
        raise InvalidRequest(
            sentence("The weight of {name} is no number: {sent}.", name=name, sent=sent), field="prompt"
        )
    return float(sent or 1)
