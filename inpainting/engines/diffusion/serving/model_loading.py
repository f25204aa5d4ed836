"""A model's files, read into the device's memory once they are checked; and what they will take there."""

from __future__ import annotations

import logging
import math
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.loaders.single_file_utils import SingleFileComponentError

from inpainting.catalog import families
from inpainting.catalog.families import DiffusersLayout, ModelFamily
from inpainting.catalog.inspection.model_files import (
    CONFIGURATION,
    INDEX,
    WEIGHTS,
    ModelRefused,
    check_model,
    configuration_of,
    header_of,
    unet_channels,
)
from inpainting.catalog.specs import Kind, LoraSpec, ModelSpec, how_to_get
from inpainting.core.errors import EngineFailed
from inpainting.engines.diffusion.hardware import Hardware, is_out_of_memory
from inpainting.engines.diffusion.serving.adapter_loading import flavour_of, variant_in
from inpainting.engines.diffusion.serving.load_lock import serialized

logger = logging.getLogger(__name__)

# Progress bars are for terminals.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()

VELOCITY_MARK = "v_pred"
"""A tensor of this name says that a checkpoint was trained to predict velocity (Salimans and Ho 2022, section 2)."""


def fingerprint_of(spec: ModelSpec) -> int:
    """Changes when other files are put in the model's place; 0 where there are none."""
    if spec.path is None:
        return 0
    try:
        # a rename moved the folder of a part into place
        place = spec.path / INDEX if spec.kind is Kind.CHECKPOINT and spec.path.is_dir() else spec.path
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def lora_bytes(spec: LoraSpec, dtype: torch.dtype) -> int:
    """What its weights will take in that type; 0 where that cannot be known, as loading it will say."""
    try:
        header = header_of(spec.path) if spec.path is not None else {}
    except (OSError, ModelRefused):
        return 0
    return dtype.itemsize * sum(math.prod(tensor["shape"]) for tensor in header.values())


def weights_bytes(spec: ModelSpec, dtype: torch.dtype) -> int:
    """What its weights will take in that type; 0 where that cannot be known, as `load` will say."""
    if spec.path is None:
        return 0
    try:
        headers = [header_of(path) for path in weight_files(spec.path, families.get(spec.family))]
    except (OSError, ModelRefused):
        return 0
    return dtype.itemsize * sum(math.prod(tensor["shape"]) for header in headers for tensor in header.values())


def weight_files(path: Path, family: ModelFamily) -> list[Path]:
    """Those that `load` reads."""
    if path.is_file():
        return [path]
    if not (path / INDEX).is_file():
        return sorted(path.rglob(f"*{WEIGHTS}"))
    files = []
    for part in component_classes(family):
        variant = variant_in(path / part)
        files += [file for file in (path / part).glob(f"*{WEIGHTS}") if (variant or "") == flavour_of(file.name)]
    return files


@serialized
def load(spec: ModelSpec, hardware: Hardware) -> Any:
    """Read a model's files, which are checked first, into the device's memory. Returns the family's `LatentModel`.

    Raises EngineFailed: `model_unavailable` where they are not there or damaged, `model_refused` by the check.
    """
    if spec.path is None or not spec.path.exists():
        raise EngineFailed(how_to_get(spec.slug, spec.label), code="model_unavailable")
    check_model(spec.path, spec.family)
    family = families.get(spec.family)
    hardware = precise_enough(hardware, family)
    pipeline_class = getattr(diffusers, family.pipeline_class)
    read = _from_file if spec.path.is_file() else _from_folder
    try:
        pipeline = read(pipeline_class, spec.path, hardware.dtype, family)
    except (OSError, ValueError, RuntimeError, KeyError, SingleFileComponentError) as error:
        if is_out_of_memory(error):
            raise
        logger.exception("%s cannot be loaded", spec.slug)
        raise EngineFailed(
            f"The model {spec.label} cannot be loaded: {_first_line(error)}", code="model_unavailable"
        ) from error
    _let_clip_skip_find_layers(pipeline.text_encoder)
    pipeline.to(hardware.device)
    if hardware.is_cuda and hasattr(pipeline, "unet"):
        # Convolutions are the larger half of this UNet, and the tensor cores want channels last.
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    return family.load_implementation()(pipeline, hardware, spec)


def precise_enough(hardware: Hardware, family: ModelFamily) -> Hardware:
    """The hardware as models of the family are to use it."""
    if hardware.dtype == torch.float16 and family.overflows_float16:
        return replace(hardware, dtype=torch.bfloat16)
    return hardware


def component_classes(family: ModelFamily) -> dict[str, type[Any]]:
    """Return the classes of the components whose weights are loaded, by name. What the files say is not asked."""
    components = family.layout.components if isinstance(family.layout, DiffusersLayout) else {}
    return {
        name: pkgutil.resolve_name(one.classes[0].replace(".", ":", 1))
        for name, one in components.items()
        if one.has_weights and one.is_loaded
    }


def _from_folder(pipeline_class: type[Any], folder: Path, dtype: torch.dtype, family: ModelFamily) -> Any:
    parts = dict(family.pipeline_arguments)
    for name, kind in component_classes(family).items():
        if not (folder / name).is_dir():
            continue
        wanted = {"dtype": dtype} if issubclass(kind, transformers.PreTrainedModel) else {"torch_dtype": dtype}
        part, told = kind.from_pretrained(
            folder / name,
            variant=variant_in(folder / name),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **wanted,
        )
        # transformers would go on with random numbers in their place.
        if told["missing_keys"]:
            raise ValueError(lacking(folder / name))
        parts[name] = part.eval()
    return pipeline_class.from_pretrained(folder, use_safetensors=True, local_files_only=True, **parts)


def _from_file(pipeline_class: type[Any], path: Path, dtype: torch.dtype, family: ModelFamily) -> Any:
    """One checkpoint in the original layout, whose configuration and tokenizers lie in the folder beside it.

    Whether it was trained for inpainting, and what its UNet predicts where the file says so, is the file's word: the
    configuration may be that of a plain model.
    """
    config = configuration_of(path)
    if not config.is_dir():
        raise FileNotFoundError(
            f"{path.name} has no folder “{CONFIGURATION}” beside it; “python manage.py pull_model {path.parent.name} "
            f"--repin --from FILE --config SLUG_OR_FOLDER” brings both."
        )
    header = header_of(path)
    where = {"config": str(config), "local_files_only": True, "torch_dtype": dtype}
    try:
        unet = diffusers.UNet2DConditionModel.from_single_file(
            str(path), subfolder="unet", in_channels=unet_channels(header), **where
        )
        pipeline = pipeline_class.from_single_file(str(path), unet=unet, **where, **family.pipeline_arguments)
    except NotImplementedError as error:  # torch's way to say that nothing was read into a tensor
        raise ValueError(lacking(path)) from error
    if any(is_empty(getattr(pipeline, name, None)) for name in component_classes(family)):
        raise ValueError(lacking(path))
    if VELOCITY_MARK in header:
        pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    return pipeline


def lacking(path: Path) -> str:
    """path: a checkpoint, or the folder of a part."""
    return f"{path.name} lacks weights that its configuration tells of."


def is_empty(part: torch.nn.Module | None) -> bool:
    """Whether something of it was never read."""
    return part is not None and any(tensor.is_meta for tensor in part.state_dict().values())


def _let_clip_skip_find_layers(encoder: Any) -> None:
    """For clip_skip diffusers 0.42 asks for the layers where transformers 4 had them; 5 has them one level higher."""
    if encoder is not None and not hasattr(encoder, "text_model"):
        # Past Module.__setattr__, which would make the encoder a part of itself.
        encoder.__dict__["text_model"] = encoder


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
