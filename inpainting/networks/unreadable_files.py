"""The errors of files that torch's libraries cannot read, with one rule for every loader."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from inpainting.catalog.inspection.files import WEIGHTS
from inpainting.core.errors import EngineFailed
from inpainting.networks.device.hardware import is_out_of_memory
from inpainting.networks.load_errors import load_failure

READ_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)
"""What the libraries raise for missing, damaged and unsuitable files."""


def unreadable(what: str, path: Path | None, error: Exception, code: str) -> EngineFailed:
    """Return what `load_failure` returns, with the name of a safetensors file that cannot be read.

    An out-of-memory error is raised unchanged.
    """
    if is_out_of_memory(error):
        raise error
    # The error of safetensors does not name its file.
    broken = broken_file(path) if isinstance(error, SafetensorError) and path is not None else ""
    return load_failure(what, path, error, code, broken=broken)


def broken_file(path: Path) -> str:
    """Return the name of the first file that cannot be opened, below its folder; that of `path` where all can."""
    for file in [path] if path.is_file() else sorted(path.rglob(f"*{WEIGHTS}")):
        try:
            with safe_open(file, "pt"):
                continue
        except (SafetensorError, OSError):
            return str(file.relative_to(path.parent if file == path else path))
    return path.name
