"""Sentences about what loading a model passed over: tensors and configuration values that nothing reads or follows."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers

from inpainting.catalog.inspection.files import CONFIG, INDEX, json_in, quote
from inpainting.catalog.inspection.formats.checkpoint_tensors import ignored_tensors, is_weight
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.sampling.schedulers import latent_values
from inpainting.families.layouts import DiffusersLayout

SCHEDULER = "scheduler"
SCHEDULER_CONFIG = "scheduler_config.json"
SHOWN = 3


def tensor_notes(place: str, names: Collection[str]) -> Iterator[str]:
    """A note about tensors of a file or folder, if there are any."""
    if names:
        yield sentence(
            "{file} holds tensors that nothing reads ({count}): {names}.",
            file=place,
            count=len(names),
            names=join_names(names),
        )


def checkpoint_notes(
    file: str, header: Mapping[str, Any], layout: DiffusersLayout, components: Mapping[str, Any]
) -> Iterator[str]:
    """Notes about the tensors of a checkpoint. components: those loaded from it, by name."""
    yield from tensor_notes(file, ignored_tensors(header, layout))
    for prefix, component in layout.checkpoint_parts.items():
        part = components.get(component)
        if part is None:
            continue
        count = sum(name.startswith(prefix) and is_weight(name, layout) for name in header) - len(part.state_dict())
        if count > 0:
            yield sentence(
                "{file} holds tensors of its {component} that nothing reads ({count}).",
                file=file,
                component=component,
                count=count,
            )


def configuration_notes(folder: Path, components: Mapping[str, Any], layout: DiffusersLayout) -> Iterator[str]:
    """Notes about the configurations of a pipeline's folder. components: the classes of its networks, by name.

    Those of text encoders and tokenizers are left out: transformers reads values of any name.
    """
    for name, component_class in components.items():
        path = folder / name / CONFIG
        if issubclass(component_class, diffusers.ModelMixin) and path.is_file():
            yield from value_notes(path, folder, parameters([component_class]))
    path = folder / SCHEDULER / SCHEDULER_CONFIG
    if path.is_file() and SCHEDULER in layout.components:
        names = [pair[1] for pair in layout.components[SCHEDULER].pairs]
        yield from value_notes(path, folder, parameters(getattr(diffusers, name) for name in names))
    # A family may declare pipelines that diffusers does not have.
    pipelines = [getattr(diffusers, name) for name in layout.pipelines if hasattr(diffusers, name)]
    if pipelines and (folder / INDEX).is_file():
        yield from value_notes(folder / INDEX, folder, parameters(pipelines))


def scheduler_notes(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """A note about values of a scheduler's file in place of which others are used, if there are any.

    folder: of the pipeline. config: of its scheduler once it is loaded, as the pipeline's class may change it.
    """
    path = folder / SCHEDULER / SCHEDULER_CONFIG
    own = json_in(path) if path.is_file() else {}
    used = {**config, **latent_values(own)}
    pairs = [(name, value, used[name]) for name, value in sorted(own.items()) if name[0] != "_" and name in used]
    replaced = [f"{name}={value} by {other}" for name, value, other in pairs if value != other]
    if replaced:
        place = path.relative_to(folder).as_posix()
        yield sentence(
            "{file} has values that a latent model cannot be sampled with, replaced: {values}.",
            file=place,
            values=", ".join(replaced),
        )


def value_notes(path: Path, folder: Path, known: Collection[str]) -> Iterator[str]:
    ignored = sorted(name for name in json_in(path) if name not in known and not name.startswith("_"))
    if ignored:
        yield sentence(
            "{file} has values that nothing reads: {names}.",
            file=path.relative_to(folder).as_posix(),
            names=join_names(ignored),
        )


def parameters(classes: Iterable[Any]) -> set[str]:
    """The names of all values that these classes are configured with."""
    return {name for type_ in classes for name in inspect.signature(type_.__init__).parameters}


def join_names(names: Collection[str]) -> str:
    shown = ", ".join(quote(name) for name in sorted(names)[:SHOWN])
    return shown if len(names) <= SHOWN else sentence("{names} and others", names=shown)
