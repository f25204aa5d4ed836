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
    TRANSFORMER,
    configuration_files,
    has_published_shape,
    input_channels,
)

PLAIN_CHANNELS, CONTROL_CHANNELS = 64, 128
"""Input channels of a transformer: a patch of noisy latents; or that and one of a control image."""
KONTEXT = "kontext"
MODEL_LABELS = {KONTEXT: "Kontext", "krea": "Krea", "schnell": "[schnell]", "dev": "[dev]"}
"""Word in the name of a file -> the model, one that was trained from another before that one."""


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
        """The family of its shape; where several models have the shape, the one that the file is named as."""
        channels, named = input_channels(self.transformer), named_model(self.path.name)
        matching = [
            known.name for known in families_of_files() if diffusers_layout(known.name).file_channels == channels
        ]
        is_told = channels != PLAIN_CHANNELS or named == KONTEXT
        return matching[0] if matching and is_told and not self._other_model() else self.usual_family

    def check(self, family: str = "") -> None:
        known, file = families.get(family or self.family), self.path.name
        channels, expected = input_channels(self.transformer), diffusers_layout(known.name).file_channels
        if other := self._other_model():
            beside = f", with {join_labels(self.beside)} beside it" if self.beside else ""
            supported = " and ".join(known.label for known in families_of_files())
            raise ModelRefused(f"{file} is {other}{beside}. It is not supported; {supported} are.")
        if channels != expected:
            same = [other for other in families_of_files() if diffusers_layout(other.name).file_channels == channels]
            if not family and same:
                raise ModelRefused(
                    f"{file} has the tensors of FLUX.1 [dev], Krea and Kontext, which are alike, and its name does not "
                    f"tell which it is. If it is {same[0].label}, type {shell(*self._words(same[0].name))}; the others "
                    "make images of text alone and are not supported."
                )
            hint = f" If it is {same[0].label}, add it with --family {same[0].name}." if same else ""
            raise ModelRefused(
                f"{file} is a transformer of FLUX with {channels} input channels; {known.label} has {expected}.{hint}"
            )
        if not is_gguf(file):
            check_numbers(self.transformer, file, may_be_scaled=True)
        if not has_published_shape(self.transformer):
            raise ModelRefused(f"{file} is no transformer of FLUX of the published shape.")

    def _other_model(self) -> str:
        """Return what the transformer is, where no family here has such models; "" where one may have.

        FLUX.1 [dev] and models that were trained from it (Krea) have the shapes of Kontext. Names tell them apart.
        """
        channels, named = input_channels(self.transformer), named_model(self.path.name)
        if channels == CONTROL_CHANNELS:
            return f"FLUX.1 Canny or Depth (it has {channels} input channels), which follows edges or depth"
        if channels != PLAIN_CHANNELS:
            return ""
        if not any("guidance_in." in name for name in self.transformer):
            return "FLUX.1 [schnell] or a model that was trained from it, which makes images of text alone"
        if named and named != KONTEXT:
            return f"FLUX.1 {MODEL_LABELS[named]} by its name, which makes images of text alone"
        return ""

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


def named_model(file: str) -> str:
    """Return the model of 64 input channels that a file is named as; "" for a name that tells none.

    Names of models that were trained from another one hold its name too: “flux1-dev-kontext”.
    """
    return next((name for name in MODEL_LABELS if re.search(rf"(?<![a-z]){name}(?![a-z])", file.lower())), "")


def families_of_files() -> list[ModelFamily]:
    """Return the families with models of such files."""
    return [family for family in families.registered_families() if component_file_class(family.name) is FluxFile]
