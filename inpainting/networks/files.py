"""The files of a network: whether they have changed since it was loaded, and the memory that their weights take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from inpainting.catalog.inspection.files import ONNX, WEIGHTS, ModelRefused
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.networks.device.quantization import predicted_bytes

NO_FILES = 0
"""The fingerprint where there is no file."""
FLOAT32_BYTES = 4


def fingerprint(path: Path | None) -> int:
    """64 bits of the name, size and modification time of a file, or of every file below a folder.

    They differ after a file was replaced, added, removed or renamed, also inside a folder, and are the same in every
    process. NO_FILES where there is no file, or where one cannot be read.
    """
    if path is None:
        return NO_FILES
    try:
        files = sorted(files_below(os.fspath(path))) if path.is_dir() else [(path.name, path.stat())]
    except OSError:
        return NO_FILES
    text = "".join(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0" for name, status in files)
    digest = blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) if files else NO_FILES


def files_below(folder: str, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """The path of each file inside the folder, and its status."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from files_below(entry.path, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry.stat()


def weights_bytes(path: Path) -> int:
    """The memory of the weights in a file or folder: in float32, or as they are in ONNX files.

    0 where they cannot be read: loading them reports the error.
    """
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.suffix in (WEIGHTS, ONNX)]
    try:
        return sum(
            file.stat().st_size if file.suffix == ONNX else predicted_bytes(read_header(file), FLOAT32_BYTES)
            for file in files
        )
    except (OSError, ModelRefused):
        return 0
