"""What a caller is told about the files of a network that a library cannot read: one rule for every loader of torch."""

from __future__ import annotations

import logging
from pathlib import Path

from safetensors import SafetensorError, safe_open

from inpainting.catalog.inspection.files import WEIGHTS
from inpainting.core.errors import EngineFailed
from inpainting.networks.device.hardware import is_out_of_memory
from inpainting.networks.load_errors import reason_of

logger = logging.getLogger(__name__)

READ_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)
"""What the libraries raise for missing, damaged and unsuitable files."""


def unreadable(what: str, path: Path | None, error: Exception, code: str) -> EngineFailed:
    """Return the error for the caller who needs `what`, such as “The model Ink”, and log the library's.

    path: the file, or the folder of the files. An out-of-memory error is raised unchanged.
    """
    if is_out_of_memory(error):
        raise error
    logger.error("%s cannot be loaded", what, exc_info=error)
    reason = reason_of(error, path)
    if isinstance(error, SafetensorError) and path is not None:  # which does not name its file
        reason = f"{broken_file(path)} is no {WEIGHTS} file that can be read: {reason}"
    return EngineFailed(f"{what} cannot be loaded: {reason}", code=code)


def broken_file(path: Path) -> str:
    """Return the name of the first file that cannot be opened, below its folder; that of `path` where all can."""
    for file in [path] if path.is_file() else sorted(path.rglob(f"*{WEIGHTS}")):
        try:
            with safe_open(file, "pt"):
                continue
        except (SafetensorError, OSError):
            return str(file.relative_to(path.parent if file == path else path))
    return path.name
