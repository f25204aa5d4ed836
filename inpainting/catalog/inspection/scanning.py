"""Scan the models folder of A1111, ComfyUI or InvokeAI: files are recognised by their content, not by their place.

Only JSON, the headers of safetensors files and the numbers of embeddings are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from inpainting.catalog import families
from inpainting.catalog.inspection.adapter_files import (
    CLASSES,
    IP_ADAPTER_TENSORS,
    SINGLE_FILES,
    check_adapter,
    is_union,
    single_file_configuration,
)
from inpainting.catalog.inspection.checkpoint_file import UNET_PREFIX, check_checkpoint, detect_checkpoint_family
from inpainting.catalog.inspection.checkpoint_tensors import check_numbers
from inpainting.catalog.inspection.diffusers_folder import check_folder, pipeline_families, pipeline_files
from inpainting.catalog.inspection.embedding_files import MAX_EMBEDDING_BYTES
from inpainting.catalog.inspection.few_step_models import few_step_lora
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
    quote,
    shell,
    slug_of,
)
from inpainting.catalog.inspection.flux_file import (
    LABELS,
    TRANSFORMER,
    check_transformer,
    flux_command,
    flux_family,
    is_flux,
    parts_beside,
)
from inpainting.catalog.inspection.flux_parts import (
    NETWORKS,
    TOKENIZERS,
    absent_parts,
    parts_in,
    published_part,
    weights_in,
)
from inpainting.catalog.inspection.gguf_header import read_weights_header
from inpainting.catalog.inspection.lora_files import OTHER_KINDS, check_lora, detect_family
from inpainting.catalog.inspection.lora_layers import is_change, layers_in
from inpainting.catalog.inspection.tensor_slice import TensorSlice
from inpainting.catalog.specs import FEW_STEPS, ControlImageKind, Kind, LoraKind

KIND = "KIND"
"""In place of an option's value that the user has to choose."""
LORA = "lora"
"""In place of a kind of models."""
HALF = "fp16"
"""The variant of folders that have it; plain weights otherwise."""
SUFFIXES = (WEIGHTS, ONNX, GGUF, *PICKLES)
"""Files that are listed; others hold no weights."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model, adapter or LoRA, or a file that cannot be added.

    path: as `add_model --from` takes it. kind: a `Kind` or LORA, "" for what cannot be added. control: of a ControlNet.
    variant: as of `ModelSpec`. reason: why it cannot be added, "" where it can. component: of FLUX.1, where the file
    holds one; parts: for a transformer, the files of the others.
    """

    path: Path
    kind: Kind | str = ""
    family: str = ""
    control: str = ""
    variant: str = ""
    reason: str = ""
    lora_kind: LoraKind = LoraKind.STYLE
    steps: int | None = None
    component: str = ""
    parts: tuple[Path, ...] = ()

    @property
    def slug(self) -> str:
        """A slug made of the name of the file or folder; of a snapshot in the hub's cache that of its repository."""
        name = self.path.name if self.path.is_dir() else self.path.stem
        if self.kind is Kind.IP_ADAPTER:
            name = self.variant
        if self.path.parent.name == "snapshots":
            name = self.path.parent.parent.name.rpartition("--")[2]
        return slug_of(name)

    @property
    def size(self) -> int:
        """Bytes of the file; 0 for a folder."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def weights(self) -> Sequence[Path | TensorSlice]:
        """The files of weights that may belong to it."""
        if self.component == TRANSFORMER:
            return [*weights_in(self.path, read_weights_header(self.path), parts_in(self.parts)).values()]
        if self.path.is_file():
            return [self.path]
        files = [path for path in self.path.rglob("*") if path.suffix in (WEIGHTS, ONNX)]
        if self.kind is Kind.IP_ADAPTER:  # others lie beside it
            return [path for path in files if path.parent.name == IMAGE_ENCODER or path.stem == self.variant]
        return files


def scan(folder: Path) -> Iterator[FoundModel]:
    """Yield what lies in a folder and below it, files that are damaged or refused with the reason."""
    found = list(files_and_folders(folder))
    parts = {
        file.component: file.path for file in sorted(found, key=lambda file: file.size) if file.component in NETWORKS
    }
    for item in found:
        yield (
            item
            if item.component != TRANSFORMER
            else check_path(item.path, partial(transformer_at, parts=parts)) or item
        )


def files_and_folders(folder: Path) -> Iterator[FoundModel]:
    """Yield what lies in a folder and below it, transformers without their parts."""
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
            elif (checked := check_path(path, file_at)) is not None:
                yield checked


def check_path(path: Path, look: Callable[[Path], FoundModel | None]) -> FoundModel | None:
    """Return what `look` finds, with the reason for which it was refused."""
    try:
        return look(path)
    except ModelRefused as error:
        return FoundModel(path, reason=error.message)
    except OSError as error:
        return FoundModel(path, reason=f"It cannot be read: {error.strerror or error}.")


def pipeline_in(folder: Path) -> FoundModel:
    """A pipeline in diffusers' layout. Raises ModelRefused."""
    index = json_object((folder / INDEX).read_bytes(), INDEX)
    family = pipeline_families().get(str(index.get("_class_name")))
    if family is None:
        raise ModelRefused(f"It is a pipeline of the class {quote(index.get('_class_name'))}, which is not supported.")
    check_folder(folder, family, pipeline_files(names_in(folder, is_cached=True), index, HALF, family))
    return FoundModel(folder, Kind.CHECKPOINT, family, variant=HALF)


def network_in(folder: Path) -> FoundModel | None:
    """A VAE or ControlNet in diffusers' layout; None for another folder with a config.json. Raises ModelRefused."""
    class_name = json_object((folder / CONFIG).read_bytes(), CONFIG).get("_class_name")
    kind = next((kind for kind, names in CLASSES.items() if class_name in names), None)
    return None if kind is None else adapter_at(folder, kind, HALF)


def adapter_at(path: Path, kind: Kind, variant: str = "") -> FoundModel:
    """An adapter of that kind, for the one family that accepts it. Raises ModelRefused."""
    check = single_file_configuration if path.is_file() and kind is not Kind.EMBEDDING else check_adapter
    found = FoundModel(path, kind, variant=variant)
    matching, refusals = [], []
    for family in families.registered_families():
        if not (family.text_features or (kind is Kind.VAE and family.latent_channels)):
            continue  # it supports no such adapters
        try:
            check(path, family.name, kind)
            matching.append(family.name)
        except ModelRefused as error:
            refusals.append(error)
    if not matching:
        raise refusals[0]
    control = ""
    if kind is Kind.CONTROLNET:
        control = ControlImageKind.UNION.value if is_union(path) else control_of(found.slug)
    if len(matching) > 1 or (kind is Kind.CONTROLNET and not control):
        raise ModelRefused(unclear(found, matching, control))
    found = replace(found, control=control)
    return replace(found, family=matching[0])


def unclear(found: FoundModel, matching: Sequence[str], control: str) -> str:
    """Return what a scan does not know of an adapter, and the command that states it.

    matching: families that it may be for. control: the kind of control image of a ControlNet, "" where that is unknown.
    """
    reasons, choices, options = [], [], ["--kind", str(found.kind)]
    if len(matching) > 1:
        reasons.append(f"Its numbers fit the families {' and '.join(matching)}.")
        choices.append(f"--family is {' or '.join(matching)}")
    if found.kind is Kind.CONTROLNET:
        options += ["--control", control or KIND]
        if not control:
            reasons.append("Its name does not tell the kind of control image.")
            choices.append(f"{KIND} is one of {', '.join(ControlImageKind)}")
    command = shell("add_model", found.slug, "--family", matching[0], *options, "--from", str(found.path))
    return f"{' '.join(reasons)} Type {command}; {'; '.join(choices)}."


def control_of(name: str) -> str:
    """Return the kind of control image that the name of a ControlNet contains; "" for none or several."""
    matching = [control for control in ControlImageKind if control.value in name]
    return matching[0] if len(matching) == 1 else ""


def file_at(path: Path) -> FoundModel | None:
    """A model, adapter or LoRA of one file. Raises ModelRefused for one that is not known."""
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise ModelRefused(f"A {suffix} file may hold a pickle, which can run any program.")
    if suffix not in (WEIGHTS, GGUF):
        raise ModelRefused(f"{suffix} files are not recognised by a scan.")
    header = read_weights_header(path)
    if suffix == GGUF and not is_flux(header):
        raise ModelRefused("Its weights are quantised (GGUF), and it is no transformer of FLUX.")
    if any(is_change(shapes) for shapes in layers_in(header).values()) or any(
        mark in name for name in header for mark in OTHER_KINDS
    ):
        return lora_at(path, header)
    if is_flux(header):
        check_transformer(header, path.name)
        return FoundModel(path, Kind.CHECKPOINT, flux_family(), component=TRANSFORMER)
    if any(name.startswith(UNET_PREFIX) for name in header):
        family = detect_checkpoint_family(header)
        check_checkpoint(path, family)
        return FoundModel(path, Kind.CHECKPOINT, family)
    if header and all(name.startswith(IP_ADAPTER_TENSORS) for name in header):
        return ip_adapter_at(path, header)
    component = published_part(header)
    if component in TOKENIZERS:
        check_numbers(header, path.name, may_be_scaled=True)
        reason = f"It is {LABELS[component]}, a text encoder of FLUX.1, which is added together with a transformer."
        return FoundModel(path, component=component, reason=reason)
    for kind, mark in SINGLE_FILES.items():
        if any(re.search(mark, name) for name in header):
            return replace(check_path(path, partial(adapter_at, kind=kind)) or FoundModel(path), component=component)
    if path.stat().st_size <= MAX_EMBEDDING_BYTES and len(header) <= 2:
        return adapter_at(path, Kind.EMBEDDING)
    raise ModelRefused(f"No model or adapter that is supported holds {quote(next(iter(header), 'nothing'))}.")


def transformer_at(path: Path, parts: Mapping[str, Path]) -> FoundModel:
    """A transformer of FLUX.1 Fill with what it lacks, of these files by component. Raises ModelRefused without it."""
    header = read_weights_header(path)
    beside = parts_beside(header)
    needed = {component: part for component, part in parts.items() if component not in beside}
    if absent_parts(weights_in(path, header, needed)):
        raise ModelRefused(flux_command(path, header, needed.values()))
    return FoundModel(path, Kind.CHECKPOINT, flux_family(), component=TRANSFORMER, parts=tuple(needed.values()))


def lora_at(path: Path, header: Mapping[str, Any]) -> FoundModel:
    family = detect_family(header)
    if family is None:
        known = families.families_with_loras()
        command = shell("add_lora", FoundModel(path, LORA).slug, "--family", known[0], "--from", str(path))
        raise ModelRefused(f"It is a LoRA of no certain family. Type {command}; --family is {' or '.join(known)}.")
    check_lora(path, family)
    # A file in the hub's cache has the name of its repository above.
    names = (path.stem, *(folder.name for folder in path.parents if folder.name.startswith("models--")))
    kinds = [few_step_lora(name.replace("--", "/")) for name in names]
    kind, steps = next((one for one in kinds if one[0] in supported_kinds(family)), (LoraKind.STYLE, None))
    return FoundModel(path, LORA, family, lora_kind=kind, steps=steps)


def supported_kinds(family: str) -> set[LoraKind]:
    """Return the kinds of few-step LoRAs whose scheduler models of a family can run."""
    schedulers = families.get(family).schedulers
    return {kind for kind, few_steps in FEW_STEPS.items() if few_steps.scheduler in schedulers}


def ip_adapter_at(path: Path, header: Mapping[str, Any]) -> FoundModel:
    """An IP-Adapter, whose image encoder must lie beside it. Raises ModelRefused."""
    width = next((tensor["shape"][-1] for name, tensor in header.items() if name.endswith("to_k_ip.weight")), 0)
    matching = [family.name for family in families.registered_families() if width in family.text_features]
    if len(matching) != 1:
        raise ModelRefused(f"It is an IP-Adapter for text features of {width}, which no family has.")
    if not (path.parent / IMAGE_ENCODER / CONFIG).is_file():
        raise ModelRefused(f"It is an IP-Adapter without the folder {IMAGE_ENCODER} beside it.")
    return FoundModel(path.parent, Kind.IP_ADAPTER, matching[0], variant=path.stem)
