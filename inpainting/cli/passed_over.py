"""Lists what of a folder is not painted, and why, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from inpainting.core.codecs import inspect_image
from inpainting.core.codecs.accepted import ACCEPTED, SUFFIXES
from inpainting.core.codecs.sniffing import describe, detect_format
from inpainting.core.errors import InvalidImage
from inpainting.image_limits import image_limits


def list_passed_over(folder: Path, used: Iterable[Path]) -> Iterator[str]:
    """Yield a sentence for everything in the folder that is not among the used paths. Raises OSError."""
    known = {path.resolve() for path in used}
    for path in sorted(folder.iterdir()):
        if path.resolve() not in known:
            yield f"{path.name} was passed over: {_reason(path)}."


def count_of(passed: Iterable[str]) -> str:
    """Return the end of a closing line about that many sentences: "3 were passed over."; empty for none."""
    count = len([*passed])
    return f"{count} {'was' if count == 1 else 'were'} passed over." if count else ""


def _reason(path: Path) -> str:
    if path.is_dir():
        return "folders in a folder are not searched"
    if not path.is_file():
        return "it is not a file"
    if path.suffix.lower() in SUFFIXES:
        return "it is named as a mask, and no image uses it"
    limits = image_limits()
    try:
        with path.open("rb") as file:  # Large files, such as cameras' raw files, are known by their beginning.
            data = file.read(limits.max_bytes)
    except OSError:
        return "it cannot be read"
    if not data:
        return "it is empty"
    if detect_format(data) is None:
        kind, advice = describe(data)
        return f"it is {kind}; {advice}"
    try:
        inspect_image(data, limits=limits)
    except InvalidImage as error:
        return error.message.rstrip(".").replace("The image", "the image", 1)
    return f"its name does not end as that of a {ACCEPTED} file"
