"""One checkpoint file in the original layout (Rombach et al. 2022), and the folder of its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inpainting import families
from inpainting.catalog.inspection.files import CONFIG, INDEX, ModelRefused, check_single_file, json_object, names_in
from inpainting.catalog.inspection.formats.checkpoint_tensors import VELOCITY, check_tensors
from inpainting.catalog.inspection.formats.component_file import recognise, unrecognised_error
from inpainting.catalog.inspection.formats.diffusers_folder import (
    check_family,
    check_folder_texts,
    diffusers_layout,
    is_text,
)
from inpainting.catalog.inspection.formats.gguf_header import read_weights_header
from inpainting.catalog.inspection.inpaint_patch import patch_of
from inpainting.catalog.inspection.known_files import refuse_known
from inpainting.core.sentences import sentence
from inpainting.families.layouts import DiffusersLayout

CONFIGURATION = "config"
"""Folder beside a checkpoint with what its weights lack: a pipeline in diffusers' layout without weights."""
UNET_PREFIX = "model.diffusion_model."
FIRST_LAYER = f"{UNET_PREFIX}input_blocks.0.0.weight"
PLAIN_CHANNELS, INPAINTING_CHANNELS = 4, 9
"""Input channels of a UNet: noisy latents; or those, the mask and the latents of the masked image."""


def check_checkpoint(path: Path, family: str) -> None:
    """Check one checkpoint of that family, and its configuration if that lies beside it. Raises ModelRefused."""
    layout, label = diffusers_layout(family), families.get(family).label
    check_single_file(path, may_be_gguf=bool(families.get(family).component_file))
    header = read_weights_header(path)
    refuse_known(header, path.name)
    if (component := recognise(path, header)) is not None:
        component.check()
        raise ModelRefused(component.command())
    if families.get(family).component_file:
        raise unrecognised_error(path, family)
    if not any(name.startswith(UNET_PREFIX) for name in header):
        raise ModelRefused(
            sentence(
                "{file} is no checkpoint of {label}: no tensor is called {mark}…",
                file=path.name,
                label=label,
                mark=UNET_PREFIX,
            )
        )
    if not has_text_encoders(header):
        width = text_features(header)
        raise ModelRefused(
            sentence(
                "{file} is a UNet for text features of {width} without text encoders: take a "
                "checkpoint with them and the VAE, or a folder in diffusers' layout.",
                file=path.name,
                width=width,
            )
        )
    check_family(detect_checkpoint_family(header), family)
    channels = unet_channels(header)
    if not channels:
        raise ModelRefused(
            sentence(
                "{file} is no checkpoint of {label}: it has no {layer}.", file=path.name, label=label, layer=FIRST_LAYER
            )
        )
    if channels not in (PLAIN_CHANNELS, INPAINTING_CHANNELS):
        raise ModelRefused(
            sentence(
                "{file} takes {channels} channels; {plain} (plain) and {inpainting} (inpainting) are supported.",
                file=path.name,
                channels=channels,
                plain=PLAIN_CHANNELS,
                inpainting=INPAINTING_CHANNELS,
            )
        )
    check_tensors(header, layout, path.name)
    if configuration_folder(path).is_dir():
        check_folder_texts(configuration_folder(path), family)


def detect_checkpoint_family(names: Iterable[str]) -> str:
    """Return the family whose declared prefix some tensor names have; the longest such prefix decides."""
    names = list(names)
    prefixes = {
        family.layout.checkpoint_prefix: family.name
        for family in families.registered_families()
        if isinstance(family.layout, DiffusersLayout) and family.layout.checkpoint_prefix is not None
    }
    present = (prefix for prefix in prefixes if any(name.startswith(prefix) for name in names))
    return prefixes[max(present, key=len)]


def has_text_encoders(header: Mapping[str, Any]) -> bool:
    """Whether a checkpoint holds the text encoders of its family, or one of another family's."""
    layouts = (family.layout for family in families.registered_families())
    prefixes = {
        prefix
        for layout in layouts
        if isinstance(layout, DiffusersLayout)
        for prefix, component in layout.checkpoint_parts.items()
        if not component
    }
    return any(name.startswith(tuple(prefixes)) for name in header)


def configuration_folder(checkpoint: Path) -> Path:
    return checkpoint.with_name(CONFIGURATION)


def unet_channels(header: Mapping[str, Any]) -> int:
    """Return the number of input channels of a checkpoint's UNet; 0 where it has no first layer."""
    shape = header.get(FIRST_LAYER, {}).get("shape", [])
    return int(shape[1]) if len(shape) == 4 else 0


def is_trained_to_fill(weights: Path) -> bool:
    """Whether the UNet of an installed checkpoint or pipeline takes the mask and the masked image too.

    It does with an inpaint patch.
    """
    if patch_of(weights) is not None:
        return True
    if weights.is_file():
        return unet_channels(read_weights_header(weights)) == INPAINTING_CHANNELS
    configuration = weights / "unet" / CONFIG
    return (
        configuration.is_file()
        and json_object(configuration.read_bytes(), CONFIG).get("in_channels") == INPAINTING_CHANNELS
    )


def text_features(header: Mapping[str, Any]) -> int | None:
    """Return the width of the text features that a checkpoint's UNet attends to; None where it has no such layer."""
    shapes = (tensor["shape"] for name, tensor in header.items() if name.endswith(".attn2.to_k.weight"))
    return next((int(shape[-1]) for shape in shapes if shape), None)


def can_configure(folder: Path, header: Mapping[str, Any]) -> bool:
    """Whether a pipeline's configuration may be that of a checkpoint: their UNets attend to text of the same width."""
    width = text_features(header)
    try:
        unet = json_object((folder / "unet" / CONFIG).read_bytes(), CONFIG)
    except OSError:
        return False
    return width is None or unet.get("cross_attention_dim") == width


def usual_configuration(header: Mapping[str, Any], family: str) -> str:
    """Return the name of the published configuration for a checkpoint, "" where there is none of its shape.

    Raises ModelRefused where the file does not tell what the network predicts, which decides the configuration.
    """
    names = families.get(family).configurations.get(text_features(header) or 0, ())
    if len(names) < 2:
        return next(iter(names), "")
    noise, velocity = names
    if VELOCITY in header:
        return velocity
    if unet_channels(header) == INPAINTING_CHANNELS:
        return noise  # as the published inpainting model
    raise ModelRefused(
        sentence(
            "The file does not tell whether the network predicts noise, as models of 512 pixels "
            "do, or velocity, as those of 768 do: add --config {noise} or --config {velocity}.",
            noise=noise,
            velocity=velocity,
        )
    )


def configuration_files(folder: Path, family: str) -> list[str]:
    """Return the files of a pipeline, with or without weights, that configure a checkpoint.

    Raises ModelRefused for a folder that is no pipeline of the family.
    """
    components = check_folder_texts(folder, family, [*filter(is_text, names_in(folder, is_cached=True))])
    needed = [
        f"{component}/{name}"
        for component in components
        for name in sorted(path.name for path in (folder / component).glob("*"))
        if is_text(name)
    ]
    return [INDEX, *needed]
