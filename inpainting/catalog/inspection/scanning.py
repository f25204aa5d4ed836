"""Scan the models folder of A1111, ComfyUI or InvokeAI: files are recognised by their content, not by their place.

Only JSON, the headers of safetensors files and the numbers of embeddings are read; and the pickles in folders of
upscalers, whose published files are pickles, by a process of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from inpainting import families
from inpainting.catalog.inspection.adapter_files import CLASSES
from inpainting.catalog.inspection.file_recognition import adapter_at, file_at, unclear
from inpainting.catalog.inspection.files import (
    CONFIG,
    GGUF,
    IMAGE_ENCODER,
    INDEX,
    ONNX,
    PICKLES,
    WEIGHTS,
    ModelRefused,
    json_object,
    names_in,
    only_file,
    quote,
    shell,
)
from inpainting.catalog.inspection.formats.component_file import read_component_file
from inpainting.catalog.inspection.formats.diffusers_folder import check_folder, pipeline_families, pipeline_files
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.formats.weights_file import weights_family
from inpainting.catalog.inspection.found_model import FoundModel, check_path
from inpainting.catalog.inspection.image_encoders import encoder_of, needed_encoder
from inpainting.catalog.inspection.known_files import IT, refuse_known
from inpainting.catalog.specs import Kind
from inpainting.catalog.store.unpickling import write_weights
from inpainting.core.sentences import paragraph, sentence
from inpainting.families.layouts import WeightsLayout

HALF = "fp16"
"""The variant of folders that have it; plain weights otherwise."""
UPSCALERS = frozenset({"upscale_models", "esrgan", "realesrgan"})
"""Names of the folders of upscalers, in lower case: of ComfyUI, and two of A1111."""
SUFFIXES = (WEIGHTS, ONNX, GGUF, *PICKLES)
"""Files that are listed; others hold no weights."""


def scan(folder: Path, scratch: Path) -> Iterator[FoundModel]:
    """Yield what lies in a folder and below it, files that are damaged or refused with the reason.

    scratch: an empty folder, where the weights of upscalers in pickles are written.
    """
    all_found = list(files_and_folders(folder, scratch))
    parts = [
        found.path
        for found in sorted(all_found, key=lambda found: found.size)
        if found.component not in ("", IMAGE_ENCODER) and not found.lacks_components
    ]
    encoders = [found.path for found in all_found if found.component == IMAGE_ENCODER]
    beside = {found.family for found in all_found if found.kind is Kind.CHECKPOINT}
    for found in all_found:
        complete_one = partial(complete, found=found, parts=parts, encoders=encoders, beside=beside)
        yield check_path(found.path, complete_one) or found


def files_and_folders(folder: Path, scratch: Path) -> Iterator[FoundModel]:
    """Yield what lies in a folder and below it, files of one component without the others."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        found = None
        if INDEX in names or CONFIG in names:
            found = check_path(here, pipeline_in if INDEX in names else network_in)
        if found is not None:
            folders.clear()
            yield found
            continue
        if here.name == IMAGE_ENCODER:
            continue
        for name in sorted(names):
            path = here / name
            if path.suffix.lower() not in SUFFIXES:
                continue
            if not path.resolve().is_relative_to(folder.resolve()):
                yield FoundModel(path, reason="It is a link that leads out of the folder.")
            elif path.suffix.lower() in PICKLES and is_of_upscalers(path, folder):
                yield check_path(path, partial(upscaler_at, scratch=scratch)) or FoundModel(path)
            elif (checked := check_path(path, file_at)) is not None:
                yield checked


def is_of_upscalers(path: Path, folder: Path) -> bool:
    """Return whether a file lies in a folder of upscalers, which may be the one that is scanned."""
    return any(part.lower() in UPSCALERS for part in (folder / path.relative_to(folder)).parent.parts)


def upscaler_at(path: Path, scratch: Path) -> FoundModel:
    """A network in a pickle, written as safetensors. Raises ModelRefused for one that is not known."""
    written = scratch / str(len(list(scratch.iterdir()))) / f"{path.stem}{WEIGHTS}"
    written.parent.mkdir()
    write_weights(path, written)
    header = read_header(written)
    refuse_known(header, IT)
    family = weights_family(header)
    if not family:
        *labels, last = [
            family.label for family in families.registered_families() if isinstance(family.layout, WeightsLayout)
        ]
        raise ModelRefused(
            sentence(
                "It is an upscaler of another architecture than {labels} and {last}.",
                labels=", ".join(labels),
                last=last,
            )
        )
    return FoundModel(path, Kind.CHECKPOINT, family, written=written)


def pipeline_in(folder: Path) -> FoundModel:
    """A pipeline in diffusers' layout. Raises ModelRefused."""
    index = json_object((folder / INDEX).read_bytes(), INDEX)
    class_name = str(index.get("_class_name"))
    if (prompts := image_prompt_pipelines().get(class_name)) is not None:
        return ip_adapter_in(folder, prompts)
    family = pipeline_families().get(class_name)
    if family is None:
        raise ModelRefused(
            sentence(
                "It is a pipeline of the class {class_name}, which is not supported.", class_name=quote(class_name)
            )
        )
    check_folder(folder, family, pipeline_files(names_in(folder, is_cached=True), index, HALF, family))
    return FoundModel(folder, Kind.CHECKPOINT, family, variant=HALF)


def ip_adapter_in(folder: Path, family: str) -> FoundModel:
    """An IP-Adapter of a transformer with its image encoder, in diffusers' layout. Raises ModelRefused."""
    names = [name for name in names_in(folder, is_cached=True) if not name.startswith(f"{IMAGE_ENCODER}/")]
    # The same weights lie in the folder of its component, too.
    beside = [name for name in names if "/" not in name and name.endswith(WEIGHTS)]
    return FoundModel(folder, Kind.IP_ADAPTER, family, variant=Path(only_file(beside or names, WEIGHTS, "")).stem)


def image_prompt_pipelines() -> dict[str, str]:
    """Return the classes of diffusers for folders of IP-Adapters of transformers -> the family of each."""
    supports = (family.image_prompts for family in families.registered_families())
    return {support.pipeline_class: support.family for support in supports if support is not None}


def network_in(folder: Path) -> FoundModel | None:
    """A VAE or ControlNet in diffusers' layout; None for another folder with a config.json. Raises ModelRefused."""
    class_name = json_object((folder / CONFIG).read_bytes(), CONFIG).get("_class_name")
    kind = next((kind for kind, names in CLASSES.items() if class_name in names), None)
    return None if kind is None else adapter_at(folder, kind, HALF)


def complete(
    path: Path, found: FoundModel, parts: Sequence[Path], encoders: Sequence[Path], beside: Collection[str]
) -> FoundModel:
    """Return a file with what it lacks of the others that were found; any other file as it is.

    parts: files of one component, the largest last. encoders: files of image encoders. beside: the families of the
    checkpoints. Raises ModelRefused where something is not among them.
    """
    if found.families:
        return vae_beside(found, beside)
    if found.lacks_encoder:
        return with_encoder(found, encoders)
    if not found.lacks_components:
        return found
    file = read_component_file(path, found.family)
    needed = file.fitting_files(parts)
    if absent := file.absent_components(file.weights(needed)):
        reason = sentence(
            "The folder that was scanned has no file of {labels}, without which it is not added; ComfyUI keeps such "
            "files in text_encoders and vae.",
            labels=file.join_labels(absent),
        )
        raise ModelRefused(paragraph([reason, file.command(needed.values())]))
    return replace(found, parts=tuple(needed.values()))


def vae_beside(found: FoundModel, beside: Collection[str]) -> FoundModel:
    """Return a VAE that fits several families for the one that its name tells, or whose models lie beside it.

    beside: the families of the checkpoints that were found. Raises ModelRefused where neither tells.
    """
    name = found.path.name.lower()
    patterns = {family: families.get(family).vae_names for family in found.families}
    named = [family for family, pattern in patterns.items() if pattern and re.search(pattern, name)]
    present = [family for family in found.families if family in beside]
    for candidates in (named, present):
        if len(candidates) == 1:
            return replace(found, family=candidates[0])
    raise ModelRefused(unclear(found, present or found.families, ""))


def with_encoder(found: FoundModel, encoders: Sequence[Path]) -> FoundModel:
    """Return an IP-Adapter with its image encoder. Raises ModelRefused where that is not among the files."""
    needed = needed_encoder(read_header(found.path), found.path.name)
    for encoder in encoders:
        if encoder_of(read_header(encoder)) == needed:
            return replace(found, parts=(encoder,))
    words = ["add_model", found.slug, "--family", found.family, "--kind", str(found.kind), "--from"]
    raise ModelRefused(
        sentence(
            "It is an IP-Adapter whose image encoder, {needed}, is not in the folder. Type {command}, where FILE is "
            "the {suffix} file of that encoder.",
            needed=needed,
            command=shell(*words, str(found.path), "--part", "FILE"),
            suffix=WEIGHTS,
        )
    )
