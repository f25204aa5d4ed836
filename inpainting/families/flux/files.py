"""FLUX's transformer in one file, as Black Forest Labs publish it: without text encoders, tokenizers and VAE.

Such a file becomes a folder in diffusers' layout: the other components are taken from another folder, from files of
their own, or from the same file.
"""

from __future__ import annotations

import json
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


class FluxFile(ComponentFile):
    """A transformer of FLUX.1, with or without its other components beside it."""

    label: ClassVar[str] = "transformer of FLUX"
    component: ClassVar[str] = TRANSFORMER
    mark: ClassVar[str] = "double_blocks.0."
    usual_family: ClassVar[str] = "flux-fill"  # no other transformer has its number of channels
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

    def check(self, family: str = "") -> None:
        known, file = families.get(family or self.usual_family), self.path.name
        channels, expected = input_channels(self.transformer), diffusers_layout(known.name).file_channels
        if channels != expected:
            beside = f", with {join_labels(self.beside)} beside it" if self.beside else ""
            hints = "".join(
                f" If it is {same.label}, add it with --family {same.name}."
                for same in families_of_files()
                if diffusers_layout(same.name).file_channels == channels
            )
            raise ModelRefused(
                f"{file} is a transformer of FLUX with {channels} input channels{beside}; {known.label} has "
                f"{expected}.{hints} Those that make images of text alone (dev, schnell, Krea), or follow edges or "
                "depth (Canny, Depth), are not supported."
            )
        if not is_gguf(file):
            check_numbers(self.transformer, file, may_be_scaled=True)
        if not has_published_shape(self.transformer):
            raise ModelRefused(f"{file} is no transformer of FLUX of the published shape.")

    def command(self, files: Iterable[Path] = ()) -> str:
        family = families.get(self.usual_family)
        words = ["add_model", slug_of(self.path.stem), "--family", family.name, "--from", str(self.path)]
        words += [word for file in files for word in ("--part", str(file))]
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


def families_of_files() -> list[ModelFamily]:
    """Return the families with models of such files."""
    return [family for family in families.registered_families() if component_file_class(family.name) is FluxFile]
