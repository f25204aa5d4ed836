"""The reasons for which networks cannot be loaded, as a caller may read them: without places on this machine."""

from __future__ import annotations

import re
from pathlib import Path

MAX_CHARACTERS = 300
PLACE = re.compile(r"(?<![\w.:/])(/|[A-Za-z]:\\)([^\s/\\'\"“”]+[/\\])+")
"""The folders of an absolute path; not those of a link."""


def reason_of(error: BaseException, path: Path | None) -> str:
    """Return the first line of an error of a library that read a model. path: the model's file or folder."""
    (line, *_) = str(error).splitlines() or [type(error).__name__]
    return without_places(line, path)[:MAX_CHARACTERS]


def without_places(text: str, path: Path | None) -> str:
    """Return a message about a model with the last parts alone of absolute paths, or those below its own folder.

    path: the model's file or folder.
    """
    folders = [] if path is None else [f"{place.parent}/" for place in (path, path.resolve())]
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder, "")
    return PLACE.sub("", text)
