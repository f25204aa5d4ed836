"""A transformer in one file, as publishers save it: without text encoders, tokenizers and VAE.

Such a file becomes a folder in diffusers' layout: the other components are taken from another folder, from files of
their own, as ComfyUI has them, or from the same file. Files are recognised by their tensors. Configurations and
tokenizers of the other components are the published ones, in `catalog.configurations`.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, ClassVar

from inpainting import families
from inpainting.catalog import configurations
from inpainting.catalog.inspection.few_step_models import values
from inpainting.catalog.inspection.files import (
    CONFIG,
    INDEX,
    ModelRefused,
    check_names,
    check_single_file,
    json_in,
    json_object,
    quote,
    shell,
    slug_of,
)
from inpainting.catalog.inspection.formats.checkpoint_tensors import check_numbers, is_extra
from inpainting.catalog.inspection.formats.component_file import ComponentFile
from inpainting.catalog.inspection.formats.diffusers_folder import check_configuration, diffusers_layout, pipeline_files
from inpainting.catalog.inspection.formats.gguf_header import is_gguf
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.catalog.inspection.known_files import refuse_known
from inpainting.core.sentences import any_of, every, paragraph, sentence

TRANSFORMER, SCHEDULER = "transformer", "scheduler"
SCHEDULER_CONFIG = f"{SCHEDULER}/scheduler_config.json"
NAMED = "_name_or_path"
"""The value of a configuration which tells what it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherComponent:
    """A text encoder or VAE, which a transformer's file lacks, as a file of its own."""

    labels: Mapping[str, str]
    """The name in `catalog.configurations` of a published configuration -> what a file of that size is."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """The same -> whose it is, where the label does not say."""
    usual_file: str
    """The name of its file in ComfyUI, without its suffix."""
    tensors: tuple[str, ...]
    """Patterns of names; a file of it holds a tensor for each. The size of the last one tells which it is."""
    side: int
    """The side of that tensor which is its size."""
    key: str
    """The value of its configuration which that size is."""
    prefix: str
    """The beginning of the names of its tensors in a file with several components, as ComfyUI saves checkpoints."""
    other_names: str = ""
    """Pattern of the names, in lower case, of files of another model with the same tensors."""
    output: str = ""
    """The tensor of a text encoder's last layer, which its file may lack: the outputs of earlier ones are read."""
    ignored: str = ""
    """The name there of a tensor that the pipeline does not compute with."""
    tokenizer: str = ""
    """The tokenizer of a text encoder."""
    features: str = ""
    """The end of the name of the transformer's tensor that takes the features of a text encoder."""
    layers: int = 1
    """The layers of a text encoder whose outputs are the features of a token."""
    is_adapter: bool = False
    """Whether a file of it may be added alone, too."""

    @property
    def file(self) -> str:
        """The name of its weights in a folder in diffusers' layout."""
        return "model.safetensors" if self.tokenizer else "diffusion_pytorch_model.safetensors"

    def size_of(self, tensors: Mapping[str, Any]) -> int:
        """Return the size of a component with these tensors; 0 for those of another one."""
        found: list[str] = []
        for pattern in self.tensors:
            found = [name for name in tensors if re.search(pattern, name)]
            if not found:
                return 0
        shape = tensors[found[0]]["shape"]
        return int(shape[self.side]) if len(shape) > self.side else 0

    def configured_size(self, name: str, component: str) -> int:
        """Return the size of a published one. name: of the configuration."""
        return int(self.size_in(configurations.files_of(name)[f"{component}/{CONFIG}"]))

    def size_in(self, configuration: Mapping[str, Any]) -> Any:
        """Return the size that a configuration has; None for one without.

        A text encoder that reads images too may have it in a configuration of its own.
        """
        inside = configuration.get("text_config")
        return configuration.get(self.key, inside.get(self.key) if isinstance(inside, dict) else None)


class TransformerFile(ComponentFile):
    """A transformer, with or without its other components beside it. Each family declares a class."""

    component: ClassVar[str] = TRANSFORMER
    models: ClassVar[str]
    """The models that have such files, in a sentence."""
    repository: ClassVar[str]
    """One on the hub with the other components."""
    components: ClassVar[Mapping[str, OtherComponent]]
    """Those that files are taken for, by their names in the pipeline."""

    # The file itself

    @cached_property
    def transformer(self) -> dict[str, Any]:
        """The tensors that are of no other component."""
        prefixes = tuple(other.prefix for other in self.components.values())
        return {name: tensor for name, tensor in self.header.items() if not name.startswith(prefixes)}

    def pipeline_values(self) -> dict[str, Any]:
        """Return what a model_index.json says beside the classes of the components."""
        return {}

    @abstractmethod
    def scheduler_configuration(self) -> Mapping[str, Any]:
        """Return the published configuration of the scheduler."""

    @abstractmethod
    def transformer_configuration(self) -> dict[str, Any]:
        """Return diffusers' configuration of the transformer, from the shapes of its tensors. Raises ModelRefused."""

    def check_shapes(self, family: str, embedder: str, head: int, multiple: int) -> None:
        """Refuse another number of input channels than the family's, heads of another width, and quantised numbers.

        embedder: the tensor that takes the latents. head: the width of a head, a multiple of `multiple`. Raises
        ModelRefused.
        """
        known, file = families.get(family or self.family), self.path.name
        width, channels = (*shape_of(self.transformer, embedder), 0)[:2]
        if channels != (expected := diffusers_layout(known.name).file_channels):
            raise ModelRefused(
                sentence(
                    "{file} is a transformer with {channels} input channels; {label} has {expected}.",
                    file=file,
                    channels=channels,
                    label=known.label,
                    expected=expected,
                )
            )
        if not is_gguf(file):
            check_numbers(self.transformer, file, may_be_scaled=True)
        if not head or head % multiple or width % head:
            raise ModelRefused(
                sentence(
                    "{file} is no {label}: its heads have a width of {head} of {width}.",
                    file=file,
                    label=self.label,
                    head=head,
                    width=width,
                )
            )

    def words(self, family: str) -> list[str]:
        """Return the words of the command that adds it."""
        return ["add_model", slug_of(self.path.stem), "--family", family, "--from", str(self.path)]

    @property
    def hint(self) -> str:
        names = ", ".join(other.usual_file for other in self.components.values())
        return sentence(
            "FOLDER is an installed model of the family, or a folder in diffusers' layout with {components}: “hf "
            "download {repository} --include 'text_encoder*/*' 'tokenizer*/*' 'vae/*' --local-dir FOLDER” gets one. In "
            "its place, --part FILE names the file of one part, as ComfyUI has them ({files}); it may be repeated.",
            components=", ".join(self.others),
            repository=self.repository,
            files=names,
        )

    def command(self, files: Iterable[Path] = ()) -> str:
        family = families.get(self.family)
        words = [*self.words(family.name), *(word for file in files for word in ("--part", str(file)))]
        about = {"file": self.path.name, "label": family.label}
        if len(self.beside) == len(self.components):
            return sentence(
                "{file} is {label} with {parts}. Type {command}.",
                **about,
                parts=self.join_labels(self.beside),
                command=shell(*words),
            )
        about["command"] = shell(*words, "--config", "FOLDER")
        if self.beside:
            what = sentence(
                "{file} is the transformer of {label} with {parts} alone. Type {command}.",
                **about,
                parts=self.join_labels(self.beside),
            )
        else:
            what = sentence("{file} is the transformer of {label} alone. Type {command}.", **about)
        return paragraph([what, self.hint])

    # Its other components

    @property
    def others(self) -> list[str]:
        declared = diffusers_layout(self.usual_family).components
        return sorted(name for name in declared if name not in (TRANSFORMER, SCHEDULER))

    @cached_property
    def beside(self) -> list[str]:
        return [
            component
            for component, other in self.components.items()
            if any(name.startswith(other.prefix) for name in self.header)
        ]

    def configuration_of(self, component: str) -> str:
        """Return the name of a component's published configuration: the one whose features the transformer takes."""
        other = self.components[component]
        fitting = [
            name
            for name in other.labels
            if not other.features
            or other.layers * other.configured_size(name, component) == shape_of(self.transformer, other.features)[-1]
        ]
        return next(iter(fitting or other.labels))

    def label_of(self, component: str) -> str:
        return self.components[component].labels[self.configuration_of(component)]

    def join_labels(self, components: Iterable[str]) -> str:
        return every(self.label_of(component) for component in components if component in self.components)

    @classmethod
    def component_in(cls, header: Mapping[str, Any]) -> str:
        return next((component for component in cls.components if cls.published(component, header)), "")

    @classmethod
    def published(cls, component: str, header: Mapping[str, Any]) -> str:
        """Return the name of the configuration of a component that a file holds; "" where it holds none or another."""
        other = cls.components[component]
        size = other.size_of(header)
        return next((name for name in other.labels if size == other.configured_size(name, component)), "")

    @classmethod
    def reason_alone(cls, component: str, header: Mapping[str, Any], name: str) -> str:
        other = cls.components[component]
        if other.is_adapter:
            return ""
        check_numbers(header, name, may_be_scaled=bool(other.tokenizer))
        name = cls.published(component, header)
        what = ", ".join(filter(None, (other.labels[name], other.roles.get(name))))
        return f"It is {what}, which is added together with a transformer."

    def fitting_files(self, paths: Iterable[Path]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in paths:
            header = read_header(path)
            for component, other in self.components.items():
                published = self.published(component, header)
                if other.other_names and re.search(other.other_names, path.name.lower()):
                    continue
                if published and published == self.configuration_of(component):
                    found[component] = path
        return {component: path for component, path in found.items() if component not in self.beside}

    def files_by_component(self, paths: Iterable[Path]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in paths:
            if not path.is_file():
                raise ModelRefused(sentence("There is no file {file}.", file=path))
            check_single_file(path)
            header = read_header(path)
            refuse_known(header, path.name)
            fitting = (name for name, other in self.components.items() if other.size_of(header))
            component = self.component_in(header) or next(fitting, "")
            if not component:
                labels = any_of(map(self.label_of, self.components))
                raise ModelRefused(
                    sentence(
                        "{file} is no file of {labels}, which {models} has.",
                        file=path.name,
                        labels=labels,
                        models=self.models,
                    )
                )
            if component in found:
                label = self.label_of(component)
                raise ModelRefused(
                    sentence(
                        "{file} and {file_2} are both files of {label}.",
                        file=found[component].name,
                        file_2=path.name,
                        label=label,
                    )
                )
            found[component] = path
        return found

    def weights(self, files: Mapping[str, Path]) -> dict[str, Path | TensorSlice]:
        transformer: Path | TensorSlice = self.path
        if self.beside:
            kept = [name for name in self.transformer if not is_extra(name)]
            transformer = TensorSlice(self.path, {name: name for name in kept}, self.header)
        weights = {self.weights_name: transformer}
        for component, other in self.components.items():
            if component in files:
                weights[f"{component}/{other.file}"] = files[component]
            elif component in self.beside:
                weights[f"{component}/{other.file}"] = self._slice_beside(other)
        return weights

    def _slice_beside(self, other: OtherComponent) -> TensorSlice:
        """Return the weights of a component in the same file."""
        names = [name for name in self.header if name.startswith(other.prefix) and name != other.ignored]
        return TensorSlice(self.path, {name: name.removeprefix(other.prefix) for name in names}, self.header)

    def absent_components(self, weights: Collection[str]) -> list[str]:
        present = {name.partition("/")[0] for name in weights}
        present |= {self.components[component].tokenizer for component in present if component in self.components}
        return [component for component in self.others if component not in present]

    def check_folder(self, folder: Path, components: Collection[str]) -> None:
        for component, other in self.components.items():
            if component not in components or not other.features:
                continue
            path = folder / component / CONFIG
            if not path.is_file():
                raise ModelRefused(sentence("{component} holds no {config}.", component=component, config=CONFIG))
            configuration = json_object(path.read_bytes(), CONFIG)
            check_configuration(configuration, Path(component, CONFIG), {})
            actual, expected = other.size_in(configuration), shape_of(self.transformer, other.features)[-1]
            if not isinstance(actual, int) or other.layers * actual != expected:
                count = f"{other.layers} times " if other.layers > 1 else ""
                raise ModelRefused(
                    sentence(
                        "{component} gives features of {count}{other}, the transformer takes {expected}.",
                        component=component,
                        count=count,
                        other=quote(actual),
                        expected=expected,
                    )
                )

    def files_among(self, names: Iterable[str], variant: str, family: str, components: Collection[str]) -> list[str]:
        names = [name for name in names if name.partition("/")[0] in components]
        absent = [component for component in components if not any(name.startswith(f"{component}/") for name in names)]
        if absent:
            raise ModelRefused(
                sentence(
                    "It holds no folder {absent}.",
                    absent=reduce(
                        lambda one, other: sentence("{one} and no folder {other}", one=one, other=other), absent
                    ),
                )
            )
        index = {INDEX: "", **dict.fromkeys(components, "")}
        needed = [name for name in pipeline_files(names, index, variant, family) if name != INDEX]
        check_names(needed)
        return needed

    def write_configurations(self, folder: Path, weights: Mapping[str, Path | TensorSlice], family: str) -> None:
        components = [name.partition("/")[0] for name in weights]
        for component, other in self.components.items():
            if component in components:
                wanted = {component, other.tokenizer}
                configurations.write_components(self.configuration_of(component), folder, wanted)
        self.check_folder(folder, components)
        for component, origin in zip(components, weights.values(), strict=True):
            if component in self.components:
                self._check_weights(folder, component, origin)
        declared = diffusers_layout(family).components.items()
        written = {
            INDEX: {
                "_class_name": diffusers_layout(family).pipelines[0],
                **self.pipeline_values(),
                **{name: component.classes[0].split(".", 1) for name, component in declared},
            },
            SCHEDULER_CONFIG: self.scheduler_configuration(),
            f"{TRANSFORMER}/{CONFIG}": self.transformer_configuration(),
        }
        for name, value in written.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(value, indent=2))

    def _check_weights(self, folder: Path, component: str, origin: Path | TensorSlice) -> None:
        """Refuse quantised weights of a component, and those of another size than configured. Raises ModelRefused.

        Where `OtherComponent.output` is absent, the configuration becomes one that needs none.
        """
        other = self.components[component]
        if isinstance(origin, Path):
            label, tensors = origin.name, read_header(origin)
        else:
            label = sentence("{label} in {file}", label=self.label_of(component), file=origin.path.name)
            tensors = {new: self.header[old] for old, new in origin.names.items()}
        check_numbers(tensors, label, may_be_scaled=bool(other.tokenizer))
        if other.output and other.output not in tensors:
            path = folder / component / CONFIG
            path.write_text(json.dumps({**json_in(path), "tie_word_embeddings": True}, indent=2))
        size, expected = other.size_of(tensors), other.size_in(json_in(folder / component / CONFIG))
        if size != expected:
            raise ModelRefused(
                sentence(
                    "{file} is not {label} as {models} has it: {key} is {size}, not {expected}.",
                    file=label,
                    label=self.label_of(component),
                    models=self.models,
                    key=other.key,
                    size=size or sentence("unknown"),
                    expected=expected,
                )
            )


def noted_name(folder: Path) -> str:
    """Return the name of the file, in lower case, that the configuration of a pipeline's transformer notes, or ""."""
    return str(values(folder / TRANSFORMER / CONFIG).get(NAMED, "")).lower()


def shape_of(header: Mapping[str, Any], end: str) -> list[int]:
    """Return the shape of the tensor whose name ends so; [0] where there is none."""
    return next((tensor["shape"] for name, tensor in header.items() if name.endswith(end)), [0]) or [0]


def block_count(header: Mapping[str, Any], blocks: str) -> int:
    """Return how many blocks of that name a transformer has."""
    found = (re.search(rf"(?:\A|\.){blocks}\.(\d+)\.", name) for name in header)
    return len({match[1] for match in found if match})
