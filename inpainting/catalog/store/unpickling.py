"""Weights that are published as pickles: a process of its own writes them as safetensors once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import inpainting
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.core.sentences import every, sentence

PROGRAM = Path(inpainting.__file__).parent / "networks" / "unpickled.py"
REFUSED = 2
"""Its exit status where it says what is wrong."""
LIBRARY_BYTES = 2 * 2**30
"""Memory that torch itself may take: without CUDA a third of a gigabyte."""
MAX_SECONDS = 600
MAX_WEIGHTS_BYTES = 2**30
"""Of a network of one file; the largest upscalers have less than 200 MB."""


def write_weights(path: Path, target: Path) -> None:
    """Write the tensors of a network in a pickle to `target`, as safetensors. Raises ModelRefused."""
    run_program("weights", {path: MAX_WEIGHTS_BYTES}, target)


def run_program(what: Literal["patch", "weights"], limits: Mapping[Path, int], target: Path) -> None:
    """Run the program that reads pickles. Raises ModelRefused.

    limits: the bytes that each file may have. The process may take the memory of all files three times.
    """
    for path, limit in limits.items():
        if not path.is_file():
            raise ModelRefused(sentence("There is no file {file}.", file=path))
        if path.stat().st_size > limit:
            raise ModelRefused(
                sentence(
                    "{file} has {size} bytes, of {limit} at most.",
                    file=path.name,
                    size=path.stat().st_size,
                    limit=limit,
                )
            )
    names = every(path.name for path in limits)
    memory_bytes = LIBRARY_BYTES + 3 * sum(path.stat().st_size for path in limits)
    command = [sys.executable, "-I", str(PROGRAM), what, str(target), str(memory_bytes), str(MAX_SECONDS)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and program
            [*command, *(str(path.resolve()) for path in limits)],
            env={"OMP_NUM_THREADS": "1"},  # each thread takes memory for its stack
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelRefused(
            sentence("{names} could not be read within {count} seconds.", names=names, count=MAX_SECONDS)
        ) from error
    said = done.stderr.strip().splitlines()[-1:]
    if done.returncode == REFUSED and said:
        raise ModelRefused(said[0][:500])  # in English, as the other process has no sentences
    if done.returncode:
        reason = said[0][:300] if said else sentence("it ended with the status {status}", status=done.returncode)
        raise ModelRefused(sentence("{names} could not be read: {reason}", names=names, reason=reason))
