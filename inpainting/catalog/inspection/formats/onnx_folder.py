"""A folder of several ONNX networks that are one model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inpainting.catalog.inspection.files import ModelRefused, check_names, names_in, quote
from inpainting.catalog.inspection.formats.onnx_files import read_onnx
from inpainting.core.sentences import sentence
from inpainting.families.layouts import OnnxFolderLayout

FLOAT32 = 1
"""ONNX's number of the type."""
Shape = tuple[int | None, ...]


def onnx_folder_files(names: Iterable[str], layout: OnnxFolderLayout) -> list[str]:
    """The files of a repository or folder that are the model. Raises ModelRefused where one is missing."""
    present = set(names)
    for name in layout.inputs:
        if name not in present:
            found = ", ".join(sorted(present)[:6]) or "nothing"
            raise ModelRefused(sentence("{missing} is missing. Found: {found}.", missing=name, found=found))
    return list(layout.inputs)


def check_onnx_folder(folder: Path, family: str, layout: OnnxFolderLayout) -> None:
    """Check the ONNX files of that family in a folder. Raises ModelRefused."""
    if not folder.is_dir():
        raise ModelRefused(sentence("{folder} is no folder; a model of this family is one.", folder=folder.name))
    names = names_in(folder)
    check_names(names)
    for name in onnx_folder_files(names, layout):
        file, wanted = read_onnx(folder / name), layout.inputs[name]
        if set(file.inputs) != set(wanted):
            found = ", ".join(sorted(file.inputs)) or "nothing"
            raise ModelRefused(
                sentence(
                    "{file} takes {found}; the family {family} takes {expected}.",
                    file=name,
                    found=quote(found),
                    family=family,
                    expected=", ".join(wanted),
                )
            )
        for part, shape in wanted.items():
            value = file.inputs[part]
            if value.type != FLOAT32 or not fits(value.shape, shape):
                sides = ", ".join("any" if side is None else str(side) for side in shape)
                raise ModelRefused(
                    sentence(
                        "{file} takes {input} as something else than float32 [{sides}].",
                        file=name,
                        input=quote(part),
                        sides=sides,
                    )
                )


def fits(shape: Shape, wanted: Shape) -> bool:
    """Whether they have as many sides, and each is equal or free in one of them."""
    return len(shape) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
    )
