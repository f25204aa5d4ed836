"""The folder of one model in transformers' layout: configuration, preprocessor and safetensors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inpainting.catalog.inspection.files import (
    CONFIG,
    WEIGHTS,
    ModelRefused,
    check_names,
    json_in,
    json_object,
    names_in,
    quote,
)
from inpainting.catalog.inspection.formats.diffusers_folder import check_configuration
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.core.sentences import sentence
from inpainting.families.layouts import TransformersLayout

PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
MODEL = f"model{WEIGHTS}"


def transformers_files(names: Iterable[str], layout: TransformersLayout) -> list[str]:
    """The files of a repository or folder that are the model. Raises ModelRefused where one is missing."""
    present = set(names)
    needed = [CONFIG, MODEL]
    missing = [name for name in needed if name not in present]
    if not {PREPROCESSOR, PROCESSOR} & present:
        missing.append(PREPROCESSOR)
    if missing:
        found = ", ".join(sorted(present)[:6]) or "nothing"
        raise ModelRefused(sentence("{missing} is missing. Found: {found}.", missing=missing[0], found=found))
    return [*needed, *(name for name in (PREPROCESSOR, PROCESSOR, *layout.more_files) if name in present)]


def check_configurations(folder: Path, names: Iterable[str]) -> None:
    """Check the JSON files among these files. Raises ModelRefused.

    A preprocessor may name code for an AutoProcessor, since preprocessors are loaded by their class.
    """
    for name in names:
        if name.endswith(".json"):
            configuration = json_in(folder / name)
            if name in (PREPROCESSOR, PROCESSOR) and names_a_processor_alone(configuration):
                del configuration["auto_map"]
            check_configuration(configuration, Path(name), {})


def names_a_processor_alone(configuration: object) -> bool:
    """Whether the code that a configuration refers to is that of an AutoProcessor and no other."""
    code = configuration.get("auto_map") if isinstance(configuration, dict) else None
    return isinstance(code, dict) and set(code) == {"AutoProcessor"}


def check_transformers_folder(folder: Path, layout: TransformersLayout) -> None:
    """Check names, configurations and the header of the weights. Raises ModelRefused."""
    if not folder.is_dir():
        raise ModelRefused(sentence("{folder} is no folder; a model of this family is one.", folder=folder.name))
    names = names_in(folder)
    check_names([*names, folder.name])
    check_configurations(folder, transformers_files(names, layout))
    model_type = json_object((folder / CONFIG).read_bytes(), CONFIG).get("model_type")
    if model_type not in layout.model_types:
        raise ModelRefused(
            sentence(
                "{config} is of a {model_type}, not of a {expected}.",
                config=CONFIG,
                model_type=quote(model_type),
                expected=layout.model_types[0],
            )
        )
    read_header(folder / MODEL)
