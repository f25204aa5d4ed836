"""The folder of a safety checker: one StableDiffusionSafetyChecker of transformers and its image processor."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from inpainting.catalog.inspection.files import (
    CONFIG,
    WEIGHTS,
    ModelRefused,
    check_names,
    json_object,
    names_in,
    quote,
)
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.formats.transformers_folder import PREPROCESSOR, check_configurations
from inpainting.core.sentences import sentence

IMAGE_PROCESSORS = frozenset(
    ("CLIPImageProcessor", "CLIPFeatureExtractor", "CLIPImageProcessorFast", "CLIPImageProcessorPil")
)
CHECKER_CLASSES = frozenset({"StableDiffusionSafetyChecker", "SafetyChecker"})
"""The class by its name of today and by the one under which its weights were first published."""
CHECKER_TENSORS: dict[str, tuple[int | None, ...]] = {
    "concept_embeds": (17, None),
    "concept_embeds_weights": (17,),
    "special_care_embeds": (3, None),
    "special_care_embeds_weights": (3,),
    "visual_projection.weight": (None, None),
}
"""Shapes of the class's tensors, None being any size."""


def check_safety_checker(folder: Path) -> None:
    """Check the classes, the configuration and the tensors of a safety checker. Raises ModelRefused."""
    files = names_in(folder)
    check_names([*files, folder.name])
    needed = safety_checker_files(files, variant_in(files))
    check_configurations(folder, needed)
    configuration = json_object((folder / CONFIG).read_bytes(), CONFIG)
    classes = configuration.get("architectures")
    if not isinstance(classes, list) or len(classes) != 1 or classes[0] not in CHECKER_CLASSES:
        raise ModelRefused(
            sentence(
                "{config} names {classes}, not the class of a safety checker.", config=CONFIG, classes=quote(classes)
            )
        )
    processor = json_object((folder / PREPROCESSOR).read_bytes(), PREPROCESSOR)
    class_name = processor.get("image_processor_type", processor.get("feature_extractor_type"))
    if class_name not in IMAGE_PROCESSORS:
        raise ModelRefused(
            sentence(
                "{config} names the class {class_name}, which is not on the list of known classes.",
                config=PREPROCESSOR,
                class_name=quote(class_name),
            )
        )
    weights = needed[-1]
    header = read_header(folder / weights)
    for name, expected in CHECKER_TENSORS.items():
        shape = header.get(name, {}).get("shape", [])
        if len(shape) != len(expected) or any(
            size not in (None, actual) for size, actual in zip(expected, shape, strict=True)
        ):
            raise ModelRefused(
                sentence(
                    "{weights} is no safety checker: {file} is missing or has another shape.",
                    weights=weights,
                    file=name,
                )
            )


def safety_checker_files(names: Iterable[str], variant: str) -> list[str]:
    """Return the files of a repository or folder that are a safety checker, its weights last.

    Weights of that variant, or else plain ones. Raises ModelRefused where a file is missing.
    """
    names = set(names)
    named = f"model.{variant}{WEIGHTS}"
    weights = named if variant and named in names else f"model{WEIGHTS}"
    needed = [CONFIG, PREPROCESSOR, weights]
    missing = [name for name in needed if name not in names]
    if missing:
        found = ", ".join(sorted(names)[:6]) or "nothing"
        raise ModelRefused(
            sentence(
                "A safety checker is {needed}; {missing} is missing. Found: {found}.",
                needed=", ".join(needed),
                missing=missing[0],
                found=found,
            )
        )
    return needed


def variant_in(names: Iterable[str]) -> str:
    """Return the variant of the weights in a safety checker's folder; "" for plain ones, which are preferred."""
    found = [name for name in names if re.fullmatch(r"model\.[\w-]+\.safetensors", name)]
    return found[0].split(".")[1] if found and f"model{WEIGHTS}" not in names else ""
