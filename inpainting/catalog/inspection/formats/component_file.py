"""Files of one component of a pipeline, as publishers save transformers: its other components lie elsewhere.

A family that has such files describes them by a class of its own, which its layout names.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from inpainting import families
from inpainting.catalog.inspection.files import GGUF, WEIGHTS, ModelRefused
from inpainting.catalog.inspection.formats.gguf_header import is_gguf, read_weights_header
from inpainting.catalog.inspection.formats.tensor_slice import TensorSlice
from inpainting.catalog.inspection.known_files import refuse_four_bits, refuse_known
from inpainting.core.sentences import any_of, sentence

WEIGHTS_NAMES = tuple(f"diffusion_pytorch_model{suffix}" for suffix in (WEIGHTS, GGUF))
"""The name of such a file in the folder of its component."""


class ComponentFile(ABC):
    """A file of one component, by its header. Other components may lie in the same file."""

    label: ClassVar[str]
    """What such a file is, in a sentence."""
    component: ClassVar[str]
    """The component's name in the pipeline."""
    mark: ClassVar[str]
    """What some tensor names of such files contain, and those of no others."""
    usual_family: ClassVar[str]
    """The family that a file is taken for where neither it nor its name tells."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.header = header

    @classmethod
    def recognises(cls, header: Mapping[str, Any]) -> bool:
        """Whether a file with these tensors is one."""
        return any(cls.mark in name for name in header)

    @property
    def family(self) -> str:
        """The family that the file is of, as far as its tensors and its name tell."""
        return self.usual_family

    @property
    def weights_name(self) -> str:
        """The name of the file in a folder in diffusers' layout."""
        return f"{self.component}/{WEIGHTS_NAMES[is_gguf(self.path.name)]}"

    @classmethod
    def own_defaults(cls, folder: Path) -> dict[str, Any]:
        """Return the defaults that an installed model has in place of its family's; {} for none."""
        return {}

    # The file itself

    @abstractmethod
    def check(self, family: str = "") -> None:
        """Refuse a component that is none of the family, or of another shape. Raises ModelRefused."""

    @abstractmethod
    def command(self, files: Iterable[Path] = ()) -> str:
        """Return sentences with the command that adds it. files: the known files of other components."""

    # Its other components

    @property
    @abstractmethod
    def others(self) -> Sequence[str]:
        """The components that a model needs besides, by their names in the pipeline."""

    @property
    @abstractmethod
    def hint(self) -> str:
        """Sentences about where those are had, and the options of `add_model` that name them."""

    @property
    @abstractmethod
    def beside(self) -> Sequence[str]:
        """Those of `others` whose weights lie in the same file."""

    @classmethod
    @abstractmethod
    def component_in(cls, header: Mapping[str, Any]) -> str:
        """Return which of `others` a file's tensors are the weights of, in a published size; "" for none."""

    @classmethod
    @abstractmethod
    def reason_alone(cls, component: str, header: Mapping[str, Any], name: str) -> str:
        """Return why a file of one of `others` is no model or adapter by itself; "" where it is one.

        header, name: of the file. Raises ModelRefused where its weights cannot be read.
        """

    @abstractmethod
    def files_by_component(self, paths: Iterable[Path]) -> dict[str, Path]:
        """Return which of `others` each file holds. Raises ModelRefused for another kind, and for two of one."""

    @abstractmethod
    def fitting_files(self, paths: Iterable[Path]) -> dict[str, Path]:
        """Return which of these files, the last where several are, holds each of `others` that it lacks."""

    @abstractmethod
    def join_labels(self, components: Iterable[str]) -> str:
        """Return what those of `others` with weights are, for a sentence."""

    @abstractmethod
    def weights(self, files: Mapping[str, Path]) -> dict[str, Path | TensorSlice]:
        """Return the weights of a model by their names in diffusers' layout.

        files: of other components, by component. They are taken in place of what lies in the file itself.
        """

    @abstractmethod
    def absent_components(self, weights: Collection[str]) -> list[str]:
        """Return those of `others` that a model with these weights lacks."""

    @abstractmethod
    def check_folder(self, folder: Path, components: Collection[str]) -> None:
        """Refuse a folder whose components give features of another width than it takes. Raises ModelRefused."""

    @abstractmethod
    def files_among(self, names: Iterable[str], variant: str, family: str, components: Collection[str]) -> list[str]:
        """Return the files of a folder that are these of `others`. Raises ModelRefused where one is missing."""

    @abstractmethod
    def write_configurations(self, folder: Path, weights: Mapping[str, Path | TensorSlice], family: str) -> None:
        """Write the published configurations for these weights into a folder. Raises ModelRefused."""


def component_file_class(family: str) -> type[ComponentFile] | None:
    """Return what describes the files of one component of a family; None where it has none."""
    name = families.get(family).component_file
    if not name:
        return None
    found: type[ComponentFile] = pkgutil.resolve_name(name)
    return found


def families_of_component_file(known: type[ComponentFile]) -> list[str]:
    """Return the families with such files, whose models have the same other components."""
    return [family for family in families.names() if component_file_class(family) is known]


def component_file_classes() -> list[type[ComponentFile]]:
    """Return each description once."""
    found = map(component_file_class, families.names())
    return list(dict.fromkeys(known for known in found if known is not None))


def component_labels() -> str:
    """Return what files of one component may be, for a sentence: “transformer of …”."""
    return any_of(known.label for known in component_file_classes())


def recognise(path: Path, header: Mapping[str, Any]) -> ComponentFile | None:
    """Return the file as one of one component, None where its tensors are of no known component."""
    return next((known(path, header) for known in component_file_classes() if known.recognises(header)), None)


def read_component_file(path: Path, family: str) -> ComponentFile:
    """Read a file of one component of the family. Raises ModelRefused where it is none."""
    header, known = read_weights_header(path), component_file_class(family)
    refuse_known(header, path.name)
    refuse_four_bits(header, path.name)
    if known is not None and known.recognises(header):
        return known(path, header)
    if (other := recognise(path, header)) is not None:
        other.check()
        raise ModelRefused(other.command())
    raise unrecognised_error(path, family)


def unrecognised_error(path: Path, family: str) -> ModelRefused:
    known = component_file_class(family)
    if known is None:
        return ModelRefused(sentence("Models of the family {family} come in no files of one component.", family=family))
    return ModelRefused(
        sentence(
            "{file} is no {label}: no tensor is called {mark}…", file=path.name, label=known.label, mark=known.mark
        )
    )
