"""Models of every layout: which files belong to one, and whether they may be loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.files import INDEX, ONNX, WEIGHTS, ModelRefused, names_in, only_file
from inpainting.catalog.inspection.formats.checkpoint_file import check_checkpoint
from inpainting.catalog.inspection.formats.diffusers_folder import check_folder, pipeline_files
from inpainting.catalog.inspection.formats.onnx_files import check_onnx
from inpainting.catalog.inspection.formats.onnx_folder import check_onnx_folder, onnx_folder_files
from inpainting.catalog.inspection.formats.transformers_folder import check_transformers_folder, transformers_files
from inpainting.catalog.inspection.formats.weights_file import check_weights
from inpainting.catalog.inspection.inpaint_patch import PATCH, check_patch_of
from inpainting.core.sentences import sentence
from inpainting.families.layouts import (
    DiffusersLayout,
    OnnxFolderLayout,
    OnnxLayout,
    OwnLayout,
    TransformersLayout,
    WeightsLayout,
)


def check_model(path: Path, family: str, names: Sequence[str] | None = None) -> None:
    """Check files of that family before anything loads them. Raises ModelRefused.

    path: a folder in diffusers' or transformers' layout, one `.safetensors` checkpoint, one `.onnx` network, or a
    folder of such networks. names: of the files in a folder in diffusers' layout that belong to the model; by default
    all.
    """
    layout = families.get(family).layout
    if not path.exists():
        raise ModelRefused(sentence("There is no folder and no file {file}.", file=path.name))
    match layout:
        case OnnxLayout():
            check_onnx(path, family, layout)
        case OnnxFolderLayout():
            check_onnx_folder(path, family, layout)
        case WeightsLayout():
            check_weights(path, family, layout)
        case OwnLayout():
            layout.check_folder(path)
        case TransformersLayout():
            check_transformers_folder(path, layout)
        case DiffusersLayout() if path.is_dir():
            check_folder(path, family, [name for name in names or names_in(path) if name != PATCH])
            check_patch_of(path, family)
        case DiffusersLayout():
            check_checkpoint(path, family)
            check_patch_of(path, family)


def model_files(names: Iterable[str], family: str, variant: str, read_index: Callable[[], dict[str, Any]]) -> list[str]:
    """Return the files of a repository or folder that are a model of that family.

    variant: the preferred one of the weights, or the name of the ONNX file without its suffix. read_index: returns the
    model_index.json among the files. Raises ModelRefused where files are missing or it is not clear which are meant.
    """
    names = list(names)
    layout = families.get(family).layout
    match layout:
        case OnnxLayout():
            at_the_top = [name for name in names if "/" not in name and name.endswith(ONNX)]
            return [only_file(at_the_top or names, ONNX, variant)]
        case WeightsLayout():
            return [only_file(names, WEIGHTS, variant)]
        case OnnxFolderLayout():
            return onnx_folder_files(names, layout)
        case OwnLayout():
            return layout.files_among(names, variant)
        case TransformersLayout():
            return transformers_files(names, layout)
        case DiffusersLayout():
            if INDEX not in names:
                raise ModelRefused(
                    sentence("There is no {index}, so it is no model in diffusers' layout.", index=INDEX)
                )
            return pipeline_files(names, read_index(), variant, family)
