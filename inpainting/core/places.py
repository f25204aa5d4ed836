"""Messages of libraries as a caller may read them: without places on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from inpainting.core.sentences import Sentence

PLACE = re.compile(r"(?<![\w.:/])(/|[A-Za-z]:\\)([^\s/\\'\"“”]+[/\\])+")
"""The folders of an absolute path; not those of a link."""


def without_places(text: str, path: Path | None = None) -> str:
    """Return a message with the last parts alone of absolute paths, or those below its own folder.

    path: the file or folder that it is about.
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
