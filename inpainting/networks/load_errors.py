"""The errors of networks that cannot be loaded, as a caller may read them: without places on this machine."""

from __future__ import annotations

import logging
from pathlib import Path

from inpainting.core.errors import EngineFailed
from inpainting.core.places import without_places
from inpainting.core.sentences import sentence

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 300


def load_failure(what: str, path: Path | None, error: Exception, code: str, *, broken: str = "") -> EngineFailed:
    """Return the error for the caller who needs `what`, such as “The model Ink”, and log that of the library.

    path: the model's file or folder. broken: the name of its file that is none.
    """
    logger.error("%s cannot be loaded", what, exc_info=error)
    values = {"what": what, "reason": reason_of(error, path)}
    return EngineFailed(
        sentence(
            "{what} cannot be loaded: {file} is no .safetensors file that can be read: {reason}", file=broken, **values
        )
        if broken
        else sentence("{what} cannot be loaded: {reason}", **values),
        code=code,
    )


def reason_of(error: BaseException, path: Path | None) -> str:
    """Return the first line of an error of a library that read a model. path: the model's file or folder."""
    (line, *_) = str(error).splitlines() or [type(error).__name__]
    return without_places(line, path)[:MAX_CHARACTERS]
