"""Generation parameters as the text that AUTOMATIC1111 and others keep in a PNG, under the keyword `parameters`.

The prompt; a line with the negative prompt; and a line `Steps: 20, Sampler: Euler a, …`, whose values are quoted as in
JSON where they hold a comma, a colon or a line break.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

KEYWORD = "parameters"
NEGATIVE = "Negative prompt: "
PAIR = re.compile(r'(?<![\w /+-])([\w /+-]{1,60}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
"""A name begins after another character, or each place in a long run of spaces would be tried: anybody sends a text."""
FEWEST_PAIRS = 3
"""Of the last line; one with fewer is a part of a prompt."""
SIZE = re.compile(r"(\d+)x(\d+)")


def write_infotext(prompt: str, negative_prompt: str, values: Mapping[str, object]) -> str:
    """Return the text. values: those of None are left out."""
    pairs = ", ".join(f"{name}: {quoted(str(value))}" for name, value in values.items() if value is not None)
    return "\n".join([prompt, *([NEGATIVE + negative_prompt] if negative_prompt else []), pairs])


def read_infotext(text: str) -> dict[str, str]:
    """Return the prompts and the values of a text by their names; a size `Size: 512x768` as `Size-1` and `Size-2`."""
    *lines, last = text.strip().split("\n")
    pairs = PAIR.findall(last)
    if len(pairs) < FEWEST_PAIRS:
        lines, pairs = [*lines, last], []
    prompt, _, negative = "\n".join(lines).partition(NEGATIVE)
    found = {"Prompt": prompt.strip(), "Negative prompt": negative.strip()}
    for name, value in ((sent.strip(), value) for sent, value in pairs):
        if size := SIZE.fullmatch(value):
            found |= {f"{name}-1": size[1], f"{name}-2": size[2]}
        else:
            found[name] = unquoted(value)
    return found


def quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if set(value) & set(',:\n"') else value


def unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value
