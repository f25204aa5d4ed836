"""Load adapters and preview decoders from their files into the device's memory."""

from __future__ import annotations

import logging
import pkgutil
from pathlib import Path
from typing import Any

import diffusers
import torch

from inpainting import families
from inpainting.catalog.inspection.adapter_files import CLASSES, check_adapter, check_tiny_vae
from inpainting.catalog.inspection.files import CONFIG, WEIGHTS, ModelRefused, json_object
from inpainting.catalog.inspection.formats.diffusers_folder import is_variant
from inpainting.catalog.specs import ADAPTER_LABELS, Kind, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.conditioning import ip_adapter
from inpainting.engines.diffusion.serving.loading.ignored_weights import tensor_notes
from inpainting.networks.device.hardware import Hardware
from inpainting.networks.load_lock import serialize
from inpainting.networks.unreadable_files import READ_ERRORS, unreadable

logger = logging.getLogger(__name__)


def load_adapter(spec: ModelSpec, hardware: Hardware) -> Any:
    """Check the files of a VAE, ControlNet or IP-Adapter and load its network.

    Raises EngineFailed: `adapter_unavailable` if files are missing or damaged, `adapter_refused` by the check.
    Out-of-memory errors pass unchanged.
    """
    name = sentence("The {kind} {slug}", kind=ADAPTER_LABELS[spec.kind], slug=spec.slug)
    if spec.path is None or not spec.path.exists():
        raise EngineFailed(sentence("{name} is not installed any more.", name=name), code="adapter_unavailable")
    try:
        check_adapter(spec.path, spec.family, spec.kind)
        with hardware.copying():
            if spec.kind is Kind.IP_ADAPTER:
                support = families.get(spec.family).image_prompts
                return (ip_adapter.load if support is None else support.load_function())(spec, hardware)
            return load_network(spec.path, spec.kind, hardware)
    except ModelRefused as error:
        raise EngineFailed(
            sentence("{name} is refused: {message}", name=name, message=error.message), code="adapter_refused"
        ) from error
    except READ_ERRORS as error:
        raise unreadable(name, spec.path, error, "adapter_unavailable") from error


@serialize
def load_network(folder: Path, kind: Kind, hardware: Hardware) -> Any:
    """Load a network in diffusers' layout. Raises ModelRefused for a class that is not allowed for that kind."""
    configuration = json_object((folder / CONFIG).read_bytes(), CONFIG)
    name = str(configuration.get("_class_name"))
    if name not in CLASSES[kind]:
        raise ModelRefused(sentence("its class is {name}.", name=name))
    network_class, arguments = class_of(name), {"local_files_only": True, "torch_dtype": hardware.dtype}
    files = list(folder.glob(f"*{WEIGHTS}"))
    if any(is_variant(path.name, weights_variant(path.name)) for path in files):
        network, info = network_class.from_pretrained(
            folder, variant=variant_in(folder), use_safetensors=True, output_loading_info=True, **arguments
        )
        if info["missing_keys"]:
            raise ValueError("weights are missing")
        for note in tensor_notes(folder.name, info["unexpected_keys"]):
            logger.warning(note)
    else:  # one file, of the original layout or of diffusers'
        network = network_class.from_single_file(str(files[0]), config=str(folder), **arguments)
    if any(tensor.is_meta for tensor in network.state_dict().values()):
        raise ValueError("weights are missing")
    return network.eval().to(hardware.device)


def class_of(name: str) -> Any:
    """Return the class of a network, by the name in its configuration."""
    supported = [family.controlnet for family in families.registered_families() if family.controlnet]
    own = next((support.network for support in supported if support.network and support.class_name == name), "")
    return pkgutil.resolve_name(own) if own else getattr(diffusers, name)


def load_preview_decoder(models_dir: Path, family: str, hardware: Hardware) -> torch.nn.Module | None:
    """Load the decoder of an AutoencoderTiny: latents [n, c, h, w] -> [n, 3, 8h, 8w], -1 to 1.

    None if it is not installed, or refused or damaged, which is a warning in the log: previews are optional.
    """
    name = families.get(family).preview_decoder
    folder = models_dir / name
    if not name or not folder.is_dir():
        return None
    try:
        check_tiny_vae(folder, family)
        decoder: torch.nn.Module = load_network(folder, Kind.VAE, hardware).decoder
    except (ModelRefused, *READ_ERRORS) as error:
        logger.warning("Previews are made without %s: %s", folder.name, error)
        return None
    return decoder


def variant_in(folder: Path) -> str | None:
    """The variant of the weights in a component's folder: None if there are plain ones, else e.g. "fp16"."""
    variants = {weights_variant(path.name) for path in folder.glob(f"*{WEIGHTS}")}
    return None if not variants or "" in variants else min(variants)


def weights_variant(name: str) -> str:
    """`fp16` for `model.fp16.safetensors` and `model.fp16-00001-of-00002.safetensors`; empty for a plain name."""
    return name.removesuffix(WEIGHTS).split("-")[0].partition(".")[2]
