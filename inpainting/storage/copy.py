"""Copy all files from one storage to another, such as a folder to a bucket; can be interrupted and repeated."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from inpainting.storage import ImageStorage

THREADS = 8
"""Most of the time of a copy is a wait for the bucket."""
COPIED, GONE = "copied", "gone"


def copy_files(source: ImageStorage, target: ImageStorage) -> Counter[str]:
    """Copy the files that the target has not, or has with another size; nothing is deleted from the source.

    Return how many were COPIED, and how many were GONE because they were deleted meanwhile.
    """
    there = dict(target.names_and_sizes())
    missing = [(name, name in there) for name, size in source.names_and_sizes() if there.get(name) != size]
    with ThreadPoolExecutor(THREADS) as threads:
        return Counter(threads.map(partial(copy_file, source, target), missing))


def copy_file(source: ImageStorage, target: ImageStorage, missing: tuple[str, bool]) -> str:
    """missing: the name, and whether the target has a part of the file, which an interrupted copy has left."""
    name, is_partial = missing
    try:
        with source.open(name, "rb") as file:
            if is_partial:
                target.delete(name)
            saved = target.save(name, file)
    except FileNotFoundError:
        return GONE
    if saved != name:  # rows name the file
        target.delete(saved)
        raise FileExistsError(f"{name} was written to the target by another process")
    return COPIED
