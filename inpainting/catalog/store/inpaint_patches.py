"""Fooocus' inpaint patch, whose published files are pickles: a process of its own writes them as safetensors once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import inpainting
from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.inpaint_patch import check_patch

PROGRAM = Path(inpainting.__file__).parent / "networks" / "unpickled_patch.py"
REFUSED = 2
"""Its exit status where it says what is wrong."""
PATCH_SUFFIX, HEAD_SUFFIX = ".patch", ".pth"
MAX_PATCH_BYTES, MAX_HEAD_BYTES = 4 * 2**30, 2**20
"""The published ones take about 1.3 GB (`inpaint_v26.fooocus.patch`) and less than 0.1 MB (its head)."""
LIBRARY_BYTES = 2 * 2**30
"""Memory that torch itself may take: without CUDA a third of a gigabyte."""
MAX_SECONDS = 600


def patched_models() -> str:
    """Return the names of the families whose models take the patch."""
    return " and ".join(family.label for family in families.registered_families() if family.takes_inpaint_patch)


def unpickle(parts: Sequence[Path], target: Path) -> None:
    """Write the patch, whose files are `parts` in any order, to `target`. Raises ModelRefused.

    The process may take the memory of both files three times.
    """
    by_suffix = {path.suffix.lower(): path for path in parts}
    if len(parts) != 2 or by_suffix.keys() != {PATCH_SUFFIX, HEAD_SUFFIX}:
        raise ModelRefused(
            "An inpaint patch is two files: --part inpaint_v26.fooocus.patch and --part fooocus_inpaint_head.pth."
        )
    patch, head = by_suffix[PATCH_SUFFIX], by_suffix[HEAD_SUFFIX]
    for path, limit in ((patch, MAX_PATCH_BYTES), (head, MAX_HEAD_BYTES)):
        if not path.is_file():
            raise ModelRefused(f"There is no file {path}.")
        if path.stat().st_size > limit:
            raise ModelRefused(f"{path.name} has {path.stat().st_size} bytes, of {limit} at most.")
    memory_bytes = LIBRARY_BYTES + 3 * (patch.stat().st_size + head.stat().st_size)
    command = [sys.executable, "-I", str(PROGRAM), str(patch.resolve()), str(head.resolve()), str(target)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and program
            [*command, str(memory_bytes), str(MAX_SECONDS)],
            env={"OMP_NUM_THREADS": "1"},  # each thread takes memory for its stack
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelRefused(f"{patch.name} could not be read within {MAX_SECONDS} seconds.") from error
    said = done.stderr.strip().splitlines()[-1:]
    if done.returncode == REFUSED and said:
        raise ModelRefused(said[0][:500])
    if done.returncode:
        reason = said[0][:300] if said else f"it ended with the status {done.returncode}"
        raise ModelRefused(f"{patch.name} and {head.name} could not be read: {reason}")
    check_patch(target)
