"""How the files of a model family lie on the disk: one class for each layout, filled in by the declarations.

What such files contain is checked in `catalog.inspection`.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
"""The files of a tokenizer of BERT."""
ANY_NAME = ""
"""Stands in place of the name of a network's only input, which may have any."""


@dataclass(frozen=True, slots=True)
class Component:
    """A component of a diffusers pipeline."""

    classes: tuple[str, ...]
    """Each "library.Class" that a model_index.json may name; the first is the one that is loaded."""
    _: KW_ONLY
    is_required: bool = True
    """Whether a pipeline without it is refused."""
    has_weights: bool = False
    """Whether its folder holds weights."""
    is_loaded: bool = True
    """Whether the engine loads those weights. A component that only other pipelines use is left out."""

    may_lack_vocabulary: bool = False
    """Whether a tokenizer's folder may lack its vocabulary, because the family computes with the published one then."""

    @property
    def has_loaded_weights(self) -> bool:
        return self.has_weights and self.is_loaded

    @property
    def is_of_transformers(self) -> bool:
        return self.classes[0].startswith("transformers.")

    @property
    def pairs(self) -> frozenset[tuple[str, ...]]:
        """(library, class), as a model_index.json has them."""
        return frozenset(tuple(path.split(".", 1)) for path in self.classes)


@dataclass(frozen=True, slots=True, eq=False)
class DiffusersLayout:
    """A folder with a model_index.json as diffusers saves pipelines, or one checkpoint file in the original layout."""

    pipelines: tuple[str, ...]
    """Names of the pipeline classes that a model_index.json may name."""
    components: Mapping[str, Component]
    """The components by their names in a model_index.json."""
    checkpoint_prefix: str | None = None
    """The prefix of tensor names by which a checkpoint file is recognised as one of this family.

    "" fits every checkpoint that no other family recognises. With None, a checkpoint of the family is no whole model.
    """
    checkpoint_parts: Mapping[str, str] = field(default_factory=dict)
    """Prefix of the tensors that are the weights of a checkpoint -> the component that they are all of.

    The component is "" for text encoders, whose tensors diffusers splits and joins.
    """
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Pattern of the names of tensors and classes -> why models with one are refused."""
    component_file: str = ""
    """The `catalog.inspection.formats.component_file.ComponentFile` for files of one component, as "module:name".

    It is "" for families whose components come in a folder alone, or together in one checkpoint.
    """
    file_channels: int = 0
    """The input channels of the network in such a file, which tell the families that share a description apart."""

    def refusal(self, name: str) -> str:
        """Return why models with a tensor or class of that name are refused; "" where they are not."""
        return next((reason for pattern, reason in self.refusals.items() if re.match(pattern, name)), "")


@dataclass(frozen=True, slots=True, eq=False)
class OnnxLayout:
    """One ONNX file."""

    element_type: tuple[int, str]
    """The type of inputs and output, by ONNX's number and by name."""
    inputs: Mapping[str, int] = field(default_factory=lambda: {"image": 3, "mask": 1})
    """The name of each input -> its channels."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Operator -> why networks with one are refused."""
    other_names: str = ""
    """Pattern of the names, in lower case, of the published files that are no ONNX."""
    output_channels: int | None = None
    """The channels of the first output; None where they are not checked."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFolderLayout:
    """A folder of several ONNX files, all of them of float32."""

    inputs: Mapping[str, Mapping[str, tuple[int | None, ...]]]
    """The name of each file -> the name of each input -> its shape, None where a side is free."""


@dataclass(frozen=True, slots=True)
class TransformersLayout:
    """A folder with one model of transformers and its preprocessor."""

    model_types: tuple[str, ...]
    """The types that its config.json may name."""
    model_class: str
    """The class of transformers that loads it."""
    more_files: tuple[str, ...] = ()
    """Files that are taken where they are present."""


@dataclass(frozen=True, slots=True, eq=False)
class WeightsLayout:
    """One `.safetensors` file whose tensors tell the sizes of the network, so that it needs no configuration."""

    sizes: Callable[[Mapping[str, tuple[int, ...]]], Any]
    """Takes the shape of each tensor by its name and returns the sizes, with `scale`. Raises ValueError, with the
    reason as the end of a sentence, for the tensors of another network."""
    max_side: Callable[[Any], int]
    """Takes the sizes and returns the pixels of the source along a tile with its margins that memory allows."""
    multiple: Callable[[Any], int] = lambda sizes: 1
    """Takes the sizes and returns what the sides of an input have to be multiples of."""
    padding: Literal["edge", "reflect"] | None = "edge"
    """How inputs are continued to such sides, see `Tiling`."""
    output_margin: int = 176
    """Pixels of the output around a tile that are dropped, at least; `docs/measured.md` has how far networks see."""


class UnsupportedNetwork(ValueError):
    """The tensors are those of the family, in a variant that is not supported.

    The reason is the end of a sentence, as of other errors of `WeightsLayout.sizes`. A scan says it of a file that no
    family takes.
    """


def refuse_other_shapes(shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError, as `WeightsLayout.sizes` does, unless the tensors are those of a network, in their shapes."""
    if other := sorted(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name)):
        raise ValueError(f"{other[0]} is {shapes.get(other[0])}, not {expected.get(other[0])}")


@dataclass(frozen=True, slots=True)
class OwnLayout:
    """A folder that functions of the family itself check."""

    check: str
    """The function that takes the folder and raises ModelRefused, as "module:name"."""
    needed_files: str
    """The function that chooses the model's files, as "module:name".

    It takes the names of all files and the preferred variant of the weights, returns names, and raises ModelRefused
    where one is missing.
    """

    def check_folder(self, folder: Path) -> None:
        """Check a model before anything loads it. Raises ModelRefused."""
        pkgutil.resolve_name(self.check)(folder)

    def files_among(self, names: Iterable[str], variant: str) -> list[str]:
        """Return the model's files among those of a folder. Raises ModelRefused."""
        return list(pkgutil.resolve_name(self.needed_files)(names, variant))


Layout = DiffusersLayout | OnnxLayout | OnnxFolderLayout | OwnLayout | TransformersLayout | WeightsLayout
