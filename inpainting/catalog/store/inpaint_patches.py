"""Fooocus' inpaint patch, whose published files are pickles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inpainting import families
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.inpaint_patch import check_patch
from inpainting.catalog.store.unpickling import run_program
from inpainting.core.sentences import every, sentence

PATCH_SUFFIX, HEAD_SUFFIX = ".patch", ".pth"
MAX_PATCH_BYTES, MAX_HEAD_BYTES = 4 * 2**30, 2**20
"""The published ones take about 1.3 GB (`inpaint_v26.fooocus.patch`) and less than 0.1 MB (its head)."""


def patched_models() -> str:
    """Return the names of the families whose models take the patch."""
    return every(family.label for family in families.registered_families() if family.takes_inpaint_patch)


def unpickle(parts: Sequence[Path], target: Path) -> None:
    """Write the patch, whose files are `parts` in any order, to `target`. Raises ModelRefused."""
    by_suffix = {path.suffix.lower(): path for path in parts}
    if len(parts) != 2 or by_suffix.keys() != {PATCH_SUFFIX, HEAD_SUFFIX}:
        raise ModelRefused(
            sentence(
                "An inpaint patch is two files: --part inpaint_v26.fooocus.patch and --part fooocus_inpaint_head.pth."
            )
        )
    files = {by_suffix[PATCH_SUFFIX]: MAX_PATCH_BYTES, by_suffix[HEAD_SUFFIX]: MAX_HEAD_BYTES}
    run_program("patch", files, target)
    check_patch(target)
