"""FLUX's transformer in one file, as Black Forest Labs publish it: without text encoders, tokenizers and VAE.

Such a file becomes a folder in diffusers' layout: the other components are taken from another folder, from files of
their own, or from the same file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from inpainting import families
from inpainting.catalog.inspection.checkpoint_tensors import check_numbers, is_extra
from inpainting.catalog.inspection.component_file import ComponentFile, component_file_class
from inpainting.catalog.inspection.diffusers_folder import diffusers_layout
from inpainting.catalog.inspection.files import ModelRefused, shell, slug_of
from inpainting.catalog.inspection.gguf_header import is_gguf
from inpainting.catalog.inspection.tensor_slice import TensorSlice
from inpainting.families.declaration import ModelFamily
from inpainting.families.flux.components import (
    BESIDE,
    LABELS,
    NETWORKS,
    TOKENIZERS,
    absent_components,
    check_widths,
    component_files,
    components_beside,
    files_by_component,
    join_labels,
    published_component,
    slice_beside,
    write_components,
)
from inpainting.families.flux.transformer import (
    COMPONENTS,
    PLAIN_CHANNELS,
    TRANSFORMER,
    configuration_files,
    has_guidance,
    has_published_shape,
    input_channels,
)

CONTROL_CHANNELS = 2 * PLAIN_CHANNELS
"""Input channels of a transformer that takes a patch of noisy latents and one of a control image."""
PLAIN_FAMILY = "flux-dev"
"""The family of a transformer that takes noisy latents alone, where neither it nor its name tells another."""
MODELS = {
    "kontext": ("FLUX.1 Kontext", "flux-kontext"),
    "krea": ("FLUX.1 Krea", PLAIN_FAMILY),
    "schnell": ("FLUX.1 [schnell]", PLAIN_FAMILY),
    "dev": ("FLUX.1 [dev]", PLAIN_FAMILY),
}
"""Word in the name of a file of PLAIN_CHANNELS -> the model, one that was trained from another before that one, and its
family."""


class FluxFile(ComponentFile):
    """A transformer of FLUX.1, with or without its other components beside it."""

    label: ClassVar[str] = "transformer of FLUX"
    component: ClassVar[str] = TRANSFORMER
    mark: ClassVar[str] = "double_blocks.0."
    usual_family: ClassVar[str] = "flux-fill"
    others: ClassVar[Sequence[str]] = tuple(COMPONENTS)
    hint: ClassVar[str] = (
        f"FOLDER is an installed model of the family, or a folder in diffusers' layout with {', '.join(COMPONENTS)}: "
        "“hf download black-forest-labs/FLUX.1-Fill-dev --include 'text_encoder*/*' 'tokenizer*/*' 'vae/*' "
        "--local-dir FOLDER” gets one. In its place, --part FILE names the file of one part, as ComfyUI has them "
        "(clip_l, t5xxl, ae); it may be repeated."
    )

    @cached_property
    def transformer(self) -> dict[str, Any]:
        """The tensors that are of no other component."""
        return {name: tensor for name, tensor in self.header.items() if not name.startswith(tuple(BESIDE.values()))}

    @cached_property
    def beside(self) -> list[str]:
        """The components whose weights lie in the same file."""
        return components_beside(self.header)

    @property
    def family(self) -> str:
        """The family of its shape; where several have the shape, the one that the file is named as."""
        channels = input_channels(self.transformer)
        if channels == PLAIN_CHANNELS:
            _, told = self._told()
            return told or PLAIN_FAMILY
        matching = [known.name for known in families_of_files() if file_channels(known) == channels]
        return matching[0] if matching else self.usual_family

    def check(self, family: str = "") -> None:
        known, file = families.get(family or self.family), self.path.name
        channels, expected = input_channels(self.transformer), file_channels(known)
        if channels == CONTROL_CHANNELS:
            beside = f", with {join_labels(self.beside)} beside it" if self.beside else ""
            supported = " and ".join(known.label for known in families_of_files())
            raise ModelRefused(
                f"{file} is FLUX.1 Canny or Depth (it has {channels} input channels), which follows edges or depth"
                f"{beside}. It is not supported; {supported} are."
            )
        if channels != expected:
            same = [other for other in families_of_files() if file_channels(other) == channels]
            named = " or ".join(f"--family {other.name} if it is {other.label}" for other in same)
            raise ModelRefused(
                f"{file} is a transformer of FLUX with {channels} input channels; {known.label} has {expected}."
                + (f" Add it with {named}." if named else "")
            )
        model, told = self._told()
        if told not in ("", known.name):
            raise ModelRefused(f"{file} is {model}, not {known.label}: add it with --family {told}.")
        if not is_gguf(file):
            check_numbers(self.transformer, file, may_be_scaled=True)
        if not has_published_shape(self.transformer):
            raise ModelRefused(f"{file} is no transformer of FLUX of the published shape.")

    def _told(self) -> tuple[str, str]:
        """Return which model a transformer of PLAIN_CHANNELS is, in a sentence, and its family; "" where nothing tells.

        FLUX.1 [dev] and models that were trained from it (Krea) have the tensors of Kontext. Names tell them apart.
        """
        if input_channels(self.transformer) != PLAIN_CHANNELS:
            return "", ""
        if not has_guidance(self.transformer):
            return "FLUX.1 [schnell] or a model that was trained from it", PLAIN_FAMILY
        model, family = named_model(self.path.name)
        return (f"{model} by its name", family) if model else ("", "")

    def _words(self, family: str) -> list[str]:
        """Return the words of the command that adds it."""
        return ["add_model", slug_of(self.path.stem), "--family", family, "--from", str(self.path)]

    def command(self, files: Iterable[Path] = ()) -> str:
        family = families.get(self.family)
        words = [*self._words(family.name), *(word for file in files for word in ("--part", str(file)))]
        if len(self.beside) == len(BESIDE):
            return f"{self.path.name} is {family.label} with {join_labels(self.beside)}. Type {shell(*words)}."
        alone = "alone" if not self.beside else f"with {join_labels(self.beside)} alone"
        command = shell(*words, "--config", "FOLDER")
        return f"{self.path.name} is the transformer of {family.label} {alone}. Type {command}. {self.hint}"

    @classmethod
    def component_in(cls, header: Mapping[str, Any]) -> str:
        return published_component(header)

    @classmethod
    def reason_alone(cls, component: str, header: Mapping[str, Any], name: str) -> str:
        if component not in TOKENIZERS:
            return ""
        check_numbers(header, name, may_be_scaled=True)
        return f"It is {LABELS[component]}, a text encoder of FLUX.1, which is added together with a transformer."

    @classmethod
    def files_by_component(cls, paths: Iterable[Path]) -> dict[str, Path]:
        return files_by_component(paths)

    def weights(self, files: Mapping[str, Path]) -> dict[str, Path | TensorSlice]:
        transformer: Path | TensorSlice = self.path
        if self.beside:
            kept = [name for name in self.transformer if not is_extra(name)]
            transformer = TensorSlice(self.path, {name: name for name in kept}, self.header)
        weights = {self.weights_name: transformer}
        for component, (*_, file) in NETWORKS.items():
            if component in files:
                weights[f"{component}/{file}"] = files[component]
            elif component in self.beside:
                weights[f"{component}/{file}"] = slice_beside(self.path, self.header, component)
        return weights

    def absent_components(self, weights: Collection[str]) -> list[str]:
        return absent_components(weights)

    def check_folder(self, folder: Path, components: Collection[str]) -> None:
        check_widths(folder, self.header, components)

    def files_among(self, names: Iterable[str], variant: str, family: str, components: Collection[str]) -> list[str]:
        return component_files(names, variant, family, components)

    def write_configurations(self, folder: Path, weights: Mapping[str, Path | TensorSlice], family: str) -> None:
        write_components(folder, weights, self.header)
        for name, values in configuration_files(self.transformer, family).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(values, indent=2))


def named_model(file: str) -> tuple[str, str]:
    """Return which model of PLAIN_CHANNELS a file is named as, and its family; "" for a name that tells none.

    Names of models that were trained from another one hold its name too: “flux1-dev-kontext”.
    """
    found = (MODELS[word] for word in MODELS if re.search(rf"(?<![a-z]){word}(?![a-z])", file.lower()))
    return next(found, ("", ""))


def families_of_files() -> list[ModelFamily]:
    """Return the families with models of such files."""
    return [family for family in families.registered_families() if component_file_class(family.name) is FluxFile]


def file_channels(family: ModelFamily) -> int:
    """Return the input channels of a family's transformer."""
    return diffusers_layout(family.name).file_channels
