"""The errors of networks that cannot be loaded, as a caller may read them: without places on this machine."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import Sentence, sentence

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 300
PLACE = re.compile(r"(?<![\w.:/])(/|[A-Za-z]:\\)([^\s/\\'\"“”]+[/\\])+")
"""The folders of an absolute path; not those of a link."""


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


def without_places(text: str, path: Path | None) -> str:
    """Return a message about a model with the last parts alone of absolute paths, or those below its own folder.

    path: the model's file or folder.
    """
    if isinstance(text, Sentence):
        values = {name: value_without_places(value, path) for name, value in text.values.items()}
        return Sentence(text.template, text.many, values, text.context)
    folders = [] if path is None else [f"{place.parent}/" for place in (path, path.resolve())]
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder, "")
    return PLACE.sub("", text)


def value_without_places(value: Any, path: Path | None) -> Any:
    """Return a value of a sentence as `without_places` does; a number as it is."""
    if isinstance(value, int | float):
        return value
    return without_places(value if isinstance(value, str) else str(value), path)
