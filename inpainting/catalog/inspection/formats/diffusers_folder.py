"""A pipeline's folder in diffusers' layout, checked before anything loads it.

The classes that it names are looked up in the declaration of its family; no configuration may bring code along.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.files import (
    CONFIG,
    GGUF,
    INDEX,
    PICKLES,
    WEIGHTS,
    ModelRefused,
    check_names,
    json_in,
    json_object,
    names_in,
    quote,
)
from inpainting.catalog.inspection.formats.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.formats.component_file import component_file_class, component_file_classes
from inpainting.catalog.inspection.formats.gguf_header import read_gguf_header
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.core.sentences import every, sentence
from inpainting.families.layouts import DiffusersLayout

CODE_REFERENCES = ("auto_map", "custom_pipelines", "trust_remote_code")
QUANTISATION = "quantization_config"
WHOLE_WEIGHTS = "/model.safetensors"
"""Ends the name of a text encoder's weights where they are one file."""
SCHEDULER_CONFIG = "scheduler_config.json"
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Files of which a tokenizer's folder holds the one or the others. Without, transformers reads no word of a prompt."""
SHARD = re.compile(r"(?P<stem>[^.]+)(?P<variant>\..+)?-\d{5}-of-\d{5}\.safetensors")
SHARD_LIST = re.compile(r"(?P<stem>[^.]+)\.safetensors\.index(?P<variant>\..+)?\.json")
"""The names of a part of a network's weights, and of the list of all parts; `variant` is such as “.fp16”."""


def check_folder(folder: Path, family: str, names: Sequence[str] | None = None) -> None:
    """Check a pipeline of that family, weights included. names: of the files that belong to it; all files by default.

    Raises ModelRefused.
    """
    names = names_in(folder) if names is None else names
    components = check_folder_texts(folder, family, names)
    declared, component_file = diffusers_layout(family).components, component_file_class(family)
    for name in components:
        if not declared[name].has_loaded_weights:
            continue
        inside = [path.name for path in map(PurePosixPath, names) if path.parent.as_posix() == name]
        if CONFIG not in inside:
            raise ModelRefused(sentence("{component} holds no {config}.", component=name, config=CONFIG))
        suffixes = (WEIGHTS, GGUF) if component_file is not None and name == component_file.component else (WEIGHTS,)
        if not any(path.endswith(suffixes) for path in inside):
            raise ModelRefused(sentence("{component} holds no {suffix} file.", component=name, suffix=WEIGHTS))
        check_shards(folder / name, inside)
    for file in names:
        if file.endswith(WEIGHTS):
            header, component = read_header(folder / file), declared.get(PurePosixPath(file).parent.as_posix())
            is_text_encoder = component is not None and component.is_of_transformers and file.endswith(WHOLE_WEIGHTS)
            is_component_file = any(known.recognises(header) for known in component_file_classes())
            check_numbers(header, file, may_be_scaled=is_text_encoder or is_component_file)
        elif file.endswith(GGUF):
            read_gguf_header(folder / file)


def check_folder_texts(folder: Path, family: str, names: Sequence[str] | None = None) -> dict[str, str]:
    """Check the files of a pipeline but its weights. Return the classes of its components. Raises ModelRefused.

    names: as for `check_folder`.
    """
    names = names_in(folder) if names is None else names
    check_names(names)
    files = list(map(Path, names))
    if Path(INDEX) not in files:
        raise ModelRefused(
            sentence(
                "{folder} holds no {index}, so it is no model in diffusers' layout.", folder=folder.name, index=INDEX
            )
        )
    components = check_index(json_object((folder / INDEX).read_bytes(), INDEX), family)
    for path in files:
        if path.suffix == ".json":
            check_configuration(json_in(folder / path), path, components)
    for name, class_name in components.items():
        if diffusers_layout(family).components[name].may_lack_vocabulary:
            continue
        check_component_texts(name, class_name, {path.name for path in files if path.parent.as_posix() == name})
    return components


def check_component_texts(component: str, class_name: str, names: Collection[str]) -> None:
    """Refuse a scheduler without its configuration, and a tokenizer without its vocabulary. names: in its folder."""
    if class_name.endswith("Scheduler") and SCHEDULER_CONFIG not in names:
        raise ModelRefused(sentence("{component} holds no {config}.", component=component, config=SCHEDULER_CONFIG))
    if "Tokenizer" in class_name and not any(set(files).issubset(names) for files in VOCABULARIES):
        one, other = map(every, VOCABULARIES)
        raise ModelRefused(
            sentence("{component} holds no {one}, nor {other}.", component=component, one=one, other=other)
        )


def check_shards(folder: Path, names: Collection[str]) -> None:
    """Refuse a network whose weights are in shards of which some, or the list of them, are missing.

    names: of the files in its folder. Whole weights are read in place of shards beside them, and weights of another
    variant in place of a list of which no shard is there.
    """
    for name in sorted(names):
        found = SHARD.fullmatch(name) or SHARD_LIST.fullmatch(name)
        if found is None:
            continue
        stem, variant = found["stem"], found["variant"] or ""
        shard_list = f"{stem}{WEIGHTS}.index{variant}.json"
        if f"{stem}{variant}{WEIGHTS}" in names:
            continue
        if shard_list not in names:
            raise ModelRefused(
                sentence(
                    "{folder} holds {component} without {shard_list}, which lists all shards.",
                    folder=folder.name,
                    component=name,
                    shard_list=shard_list,
                )
            )
        shards = json_object((folder / shard_list).read_bytes(), shard_list).get("weight_map")
        listed = {str(shard) for shard in shards.values()} if isinstance(shards, dict) else set()
        missing = sorted(listed.difference(names))
        if missing and len(missing) < len(listed):
            raise ModelRefused(
                sentence(
                    "{folder} lacks {missing}, which {shard_list} lists.",
                    folder=folder.name,
                    missing=missing[0],
                    shard_list=shard_list,
                )
            )


def check_index(index: Mapping[str, Any], family: str) -> dict[str, str]:
    """Return the classes that a model_index.json names, by component.

    Raises ModelRefused for a class that the family does not declare, and for a component that is missing.
    """
    pipeline, pipelines = index.get("_class_name"), pipeline_families()
    if not isinstance(pipeline, str) or pipeline not in pipelines:
        raise ModelRefused(
            sentence(
                "{index} names the pipeline {pipeline}; known are {known}.",
                index=INDEX,
                pipeline=quote(pipeline),
                known=", ".join(pipelines),
            )
        )
    check_family(pipelines[pipeline], family)
    layout = diffusers_layout(family)
    declared = layout.components
    components: dict[str, str] = {}
    for name, value in index.items():
        if not isinstance(value, list | dict):
            continue  # versions and switches name no class
        if value == [None, None]:
            continue
        pair = tuple(value) if isinstance(value, list) else ()
        if name not in declared or pair not in declared[name].pairs:
            reason = layout.refusal(str(pair[-1])) if pair else ""
            reason = reason or sentence("which is not on the list of known classes.")
            raise ModelRefused(
                sentence(
                    "{index} names {value} as {component}, {reason}",
                    index=INDEX,
                    value=quote(value),
                    component=name[:60],
                    reason=reason,
                )
            )
        components[name] = str(pair[1])
    missing = [name for name, component in declared.items() if component.is_required and name not in components]
    if missing:
        listed = reduce(lambda one, other: sentence("{one} and no {other}", one=one, other=other), missing)
        raise ModelRefused(sentence("{index} names no {missing}.", index=INDEX, missing=listed))
    return components


def pipeline_families() -> dict[str, str]:
    """Return the family of each pipeline class that some family declares."""
    return {
        pipeline: family.name
        for family in families.registered_families()
        if isinstance(family.layout, DiffusersLayout)
        for pipeline in family.layout.pipelines
    }


def diffusers_layout(family: str) -> DiffusersLayout:
    """Return the layout of a family of diffusers pipelines. Raises ModelRefused for other families."""
    layout = families.get(family).layout
    if not isinstance(layout, DiffusersLayout):
        raise ModelRefused(
            sentence("Models of the family {family} are no folders in diffusers' layout.", family=family)
        )
    return layout


def check_family(actual: str, expected: str) -> None:
    if actual != expected:
        raise ModelRefused(
            sentence("This is a model of the family {other}, not {expected}.", other=actual, expected=expected)
        )


def check_configuration(configuration: object, path: Path, components: Mapping[str, str]) -> None:
    """Refuse code by reference, quantisation, another class than the index names, and shards that lie elsewhere."""
    if not isinstance(configuration, dict):
        return
    for word in CODE_REFERENCES:
        if word in configuration:
            raise ModelRefused(
                sentence(
                    "{file} refers to code of its own ({word}), which is not allowed.", file=path.as_posix(), word=word
                )
            )
    if QUANTISATION in configuration:
        raise ModelRefused(
            sentence(
                "{file} is of a quantised network ({key}), which is not supported.",
                file=path.as_posix(),
                key=QUANTISATION,
            )
        )
    component, class_name = path.parent.as_posix(), configuration.get("_class_name")
    if path.parent != Path(".") and class_name is not None and class_name != components.get(component):
        raise ModelRefused(
            sentence(
                "{file} names the class {class_name}, {index} another.",
                file=path.as_posix(),
                class_name=quote(class_name),
                index=INDEX,
            )
        )
    shards = configuration.get("weight_map")
    if isinstance(shards, dict):
        for shard in set(map(str, shards.values())):
            if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
                raise ModelRefused(sentence("{file} names the file {shard}.", file=path.as_posix(), shard=quote(shard)))


def pipeline_files(names: Iterable[str], index: Mapping[str, Any], variant: str, family: str) -> list[str]:
    """Return the files of a repository or folder that a pipeline needs: its texts, and one variant of the weights.

    A component without weights of that variant comes with the plain ones; weights that are not loaded, such as those of
    a safety checker, are left out. Raises ModelRefused where a component has no safetensors, and names what it has
    instead.
    """
    names = sorted(names)
    needed = [INDEX]
    declared = diffusers_layout(family).components
    for component in (name for name, value in index.items() if name in declared and value != [None, None]):
        inside = [name for name in names if PurePosixPath(name).parent.as_posix() == component]
        weights = [name for name in inside if name.endswith(WEIGHTS)]
        if declared[component].has_loaded_weights:
            present = {suffix for suffix in (variant, "") for name in weights if is_variant(name, suffix)}
            if not present:
                others = [name for name in inside if PurePosixPath(name).suffix in PICKLES] or ["no weights at all"]
                raise ModelRefused(
                    sentence(
                        "{component} comes without a {suffix} file; it has {found}.",
                        component=component,
                        suffix=WEIGHTS,
                        found=", ".join(others[:4]),
                    )
                )
            chosen = variant if variant in present else ""
            needed += [name for name in inside if is_variant(name, chosen)]
        needed += [name for name in inside if is_text(name)]
    return needed


def takes_guidance(folder: Path, family: str) -> bool:
    """Whether a pipeline follows the guidance scale: not where it is an input that its transformer does not have.

    True where the configuration cannot be read: loading reports that.
    """
    name, path = families.get(family).guidance_input, folder / "transformer" / CONFIG
    if not name:
        return True
    try:
        configuration = json_in(path)
    except (OSError, ModelRefused):
        return True
    return bool(isinstance(configuration, dict) and configuration.get(name))


def is_ignored_weight(name: str, family: str) -> bool:
    """Whether a file of a pipeline's folder holds weights that models of the family leave out."""
    layout, component = families.get(family).layout, PurePosixPath(name).parent.as_posix()
    declared = layout.components.get(component) if isinstance(layout, DiffusersLayout) else None
    return declared is not None and not declared.is_loaded and not is_text(name)


def is_text(name: str) -> bool:
    """Whether the file is a configuration or vocabulary, not an index of weight shards."""
    return name.endswith((".json", ".txt")) and ".index." not in PurePosixPath(name).name


def is_variant(name: str, variant: str) -> bool:
    """Whether it is a weights file of that variant, or the list of its shards, as diffusers and transformers name them.

    `model.safetensors` is plain (""); `model.fp16.safetensors`, `model.fp16-00001-of-00002.safetensors` and
    `model.safetensors.index.fp16.json` are fp16.
    """
    file, middle = PurePosixPath(name).name, re.escape(f".{variant}") if variant else ""
    weights = rf"(diffusion_pytorch_model|model){middle}(-\d{{5}}-of-\d{{5}})?\.safetensors"
    return (
        re.fullmatch(rf"{weights}|(diffusion_pytorch_model|model)\.safetensors\.index{middle}\.json", file) is not None
    )
