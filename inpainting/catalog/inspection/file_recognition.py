"""Recognise a file by its tensors: a model, adapter, LoRA or image encoder, or why it cannot be added."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.adapter_files import (
    SINGLE_FILES,
    check_adapter,
    check_ip_adapter_tensors,
    ip_adapter_family,
    is_ip_adapter,
    is_union,
    single_file_configuration,
)
from inpainting.catalog.inspection.embedding_files import MAX_EMBEDDING_BYTES
from inpainting.catalog.inspection.few_step_models import few_step_lora, titles_in
from inpainting.catalog.inspection.files import CONFIG, GGUF, IMAGE_ENCODER, ONNX, PICKLES, ModelRefused, quote, shell
from inpainting.catalog.inspection.formats.checkpoint_file import (
    UNET_PREFIX,
    check_checkpoint,
    configuration_folder,
    detect_checkpoint_family,
    text_features,
    usual_configuration,
)
from inpainting.catalog.inspection.formats.component_file import component_file_classes, component_labels, recognise
from inpainting.catalog.inspection.formats.gguf_header import read_weights_header
from inpainting.catalog.inspection.formats.onnx_files import check_onnx
from inpainting.catalog.inspection.formats.weights_file import weights_family
from inpainting.catalog.inspection.found_model import LORA, FoundModel, check_path
from inpainting.catalog.inspection.image_encoders import encoder_of, is_image_encoder
from inpainting.catalog.inspection.known_files import IT, other_lora, refuse_four_bits, refuse_known
from inpainting.catalog.inspection.lora_files import (
    OTHER_KINDS,
    check_lora,
    detect_family,
    has_names_of,
    other_model,
    read_base_models,
)
from inpainting.catalog.inspection.lora_layers import is_change, layers_in
from inpainting.catalog.shipped import models_of_family
from inpainting.catalog.specs import ControlImageKind, Kind, LoraKind, few_steps_of
from inpainting.core.sentences import any_of, paragraph, sentence
from inpainting.families.declaration import UPSCALING, ModelFamily
from inpainting.families.layouts import OnnxLayout

KIND = "KIND"
"""In place of an option's value that the user has to choose."""


def file_at(path: Path) -> FoundModel | None:
    """A model, adapter or LoRA of one file. Raises ModelRefused for one that is not known."""
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise ModelRefused(
            paragraph(
                [
                    sentence("A {suffix} file may hold a pickle, which can run any program.", suffix=suffix),
                    instead_of(path),
                ]
            )
        )
    if suffix == ONNX:
        return network_at(path)
    header = read_weights_header(path)
    if any(is_change(shapes) for shapes in layers_in(header).values()) or any(
        mark in name for name in header for mark in OTHER_KINDS
    ):
        return lora_at(path, header)
    owners = [one for one in families.registered_families() if one.controlnet and one.controlnet.is_in(header)]
    if owners:
        return adapter_at(path, Kind.CONTROLNET, among=owners)
    refuse_known(header, IT)
    refuse_four_bits(header, IT)
    component_file = recognise(path, header)
    if suffix == GGUF and component_file is None:
        raise ModelRefused(
            sentence("Its weights are quantised (GGUF), and it is no {labels}.", labels=component_labels())
        )
    if component_file is not None:
        component_file.check()
        return FoundModel(path, Kind.CHECKPOINT, component_file.family, component=component_file.component)
    if any(name.startswith(UNET_PREFIX) for name in header):
        return checkpoint_at(path, header)
    if family := weights_family(header):
        return FoundModel(path, Kind.CHECKPOINT, family)
    if is_image_encoder(header):
        return image_encoder_at(path, header)
    if is_ip_adapter(header):
        return ip_adapter_at(path, header)
    component, reason = component_in(path, header)
    if reason:
        return FoundModel(path, component=component, reason=reason)
    for kind, mark in SINGLE_FILES.items():
        if any(re.search(mark, name) for name in header):
            return replace(check_path(path, partial(adapter_at, kind=kind)) or FoundModel(path), component=component)
    are_vectors = all(1 <= len(tensor["shape"]) <= 2 for tensor in header.values())
    if path.stat().st_size <= MAX_EMBEDDING_BYTES and 1 <= len(header) <= 2 and are_vectors:
        return adapter_at(path, Kind.EMBEDDING)
    raise ModelRefused(
        sentence("No model or adapter that is supported holds {name}.", name=quote(next(iter(header), "nothing")))
    )


def instead_of(path: Path) -> str:
    """Return a sentence with the command that gets the model that a pickle is named as; "" for an unknown name."""
    for family in families.registered_families():
        names = family.layout.other_names if isinstance(family.layout, OnnxLayout) else ""
        if names and re.search(names, path.name.lower()):
            commands = [f"“python manage.py pull_model {spec.slug}”" for spec in models_of_family(family.name)]
            return sentence(
                "Its name is that of {label}, which {commands} gets as {suffix}.",
                label=family.label,
                commands=any_of(commands),
                suffix=ONNX,
            )
    return ""


def network_at(path: Path) -> FoundModel:
    """An ONNX network that paints or enlarges. Raises ModelRefused for others."""
    matching, labels = [], []
    for family in families.registered_families():
        if not (family.generates or family.engine == UPSCALING) or not isinstance(family.layout, OnnxLayout):
            continue
        labels.append(family.label)
        try:
            check_onnx(path, family.name, family.layout)
            matching.append(family.name)
        except ModelRefused:
            continue
    if len(matching) != 1:
        raise ModelRefused(
            sentence(
                "It is no network of {labels}; a scan recognises no other {suffix} files.",
                labels=any_of(labels),
                suffix=ONNX,
            )
        )
    return FoundModel(path, Kind.CHECKPOINT, matching[0])


def checkpoint_at(path: Path, header: Mapping[str, Any]) -> FoundModel:
    """A checkpoint that has a published configuration, or its own beside it. Raises ModelRefused for others."""
    family = detect_checkpoint_family(header)
    check_checkpoint(path, family)
    found = FoundModel(path, Kind.CHECKPOINT, family)
    if configuration_folder(path).is_dir():
        return found
    command = shell("add_model", found.slug, "--family", family, "--from", str(path), "--config", "NAME")
    try:
        name = usual_configuration(header, family)
    except ModelRefused as error:
        raise ModelRefused(sentence("{reason} Type {command}.", reason=error.message, command=command)) from error
    if not name:
        raise ModelRefused(
            sentence(
                "It attends to text features of {width}, for which no configuration of {label} is "
                "known. Type {command}, where NAME is a folder in diffusers' layout with its "
                "configuration, or an installed model of that shape.",
                width=text_features(header),
                label=families.get(family).label,
                command=command,
            )
        )
    return found


def image_encoder_at(path: Path, header: Mapping[str, Any]) -> FoundModel:
    """An image encoder, which is no model or adapter by itself. Raises ModelRefused for one of another kind."""
    label = encoder_of(header)
    if not label:
        raise ModelRefused(
            sentence("It is an image encoder of another kind than the IP-Adapters that are supported take.")
        )
    reason = f"It is the image encoder {label}, which is added together with an IP-Adapter."
    return FoundModel(path, component=IMAGE_ENCODER, reason=reason)


def component_in(path: Path, header: Mapping[str, Any]) -> tuple[str, str]:
    """Return which component a file holds that another one lacks, and why it is not added alone; "" for neither.

    Raises ModelRefused.
    """
    for known in component_file_classes():
        if component := known.component_in(header):
            return component, known.reason_alone(component, header, path.name)
    return "", ""


def adapter_at(
    path: Path, kind: Kind, variant: str = "", among: Iterable[ModelFamily] = families.registered_families()
) -> FoundModel:
    """An adapter of that kind, for the one family of these that accepts it. Raises ModelRefused."""
    check = single_file_configuration if path.is_file() and kind is not Kind.EMBEDDING else check_adapter
    found = FoundModel(path, kind, variant=variant)
    matching, refusals = [], []
    for family in among:
        takes_it = {Kind.VAE: family.latent_channels, Kind.CONTROLNET: family.controlnet}.get(kind)
        if not (family.text_features or takes_it):
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
    if kind is Kind.VAE and len(matching) > 1:
        return replace(found, families=tuple(matching))
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
        reasons.append(f"Its tensors fit the families {' and '.join(matching)}.")
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
    # What is trained on blurred images sharpens its own, as one for tiles does.
    name = name.replace("blur", ControlImageKind.TILE)
    matching = [control for control in ControlImageKind if control.value in name]
    return matching[0] if len(matching) == 1 else ""


def lora_at(path: Path, header: Mapping[str, Any]) -> FoundModel:
    base_models = read_base_models(path)
    family = detect_family(header, base_models)
    if family is None:
        raise ModelRefused(unclear_lora(path, header, base_models))
    check_lora(path, family)
    # A file in the hub's cache has the name of its repository above.
    names = (
        path.stem,
        *titles_in(path),
        *(folder.name for folder in path.parents if folder.name.startswith("models--")),
    )
    kinds = [few_step_lora(name.replace("--", "/")) for name in names]
    kind, steps = next((one for one in kinds if one[0] in supported_kinds(family)), (LoraKind.STYLE, None))
    return FoundModel(path, LORA, family, lora_kind=kind, steps=steps)


def unclear_lora(path: Path, header: Mapping[str, Any], base_models: Sequence[str]) -> str:
    """Return for which other model a LoRA is, or the command that states its family.

    Raises LoraRefused for one that no family could take.
    """
    layers, known = layers_in(header), families.families_with_loras()
    others = [other_model(layers, base_models, family) for family in known]
    if other := other_lora(header) or next(filter(None, others), ""):
        return f"It is a LoRA for {other}, and no model that is supported takes it."
    possible = [family for family in known if has_names_of(header, family)]
    if not possible:
        return f"It is a LoRA for a model of no family: it changes {quote(next(iter(layers), 'nothing'))}."
    check_lora(path, possible[0])
    command = shell("add_lora", FoundModel(path, LORA).slug, "--family", possible[0], "--from", str(path))
    which = "" if len(possible) == 1 else f"; --family is {' or '.join(possible)}"
    return f"Neither its layers nor its metadata tell the family of this LoRA. Type {command}{which}."


def supported_kinds(family: str) -> set[LoraKind]:
    """Return the kinds of few-step LoRAs that models of a family take."""
    return {kind for kind in LoraKind if few_steps_of(kind, family) is not None}


def ip_adapter_at(path: Path, header: Mapping[str, Any]) -> FoundModel:
    """An IP-Adapter with the folder of its image encoder beside it, or the file alone. Raises ModelRefused."""
    check_ip_adapter_tensors(header, path.name)
    family = ip_adapter_family(header)
    if (path.parent / IMAGE_ENCODER / CONFIG).is_file():
        return FoundModel(path.parent, Kind.IP_ADAPTER, family, variant=path.stem)
    return FoundModel(path, Kind.IP_ADAPTER, family)
