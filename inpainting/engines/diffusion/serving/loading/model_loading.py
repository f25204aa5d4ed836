"""Load models from their files into the device's memory, and predict how much of it they will take."""

from __future__ import annotations

import logging
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.loaders.single_file import load_single_file_sub_model
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from diffusers.loaders.single_file_utils import SingleFileComponentError

from inpainting import families
from inpainting.catalog.inspection.files import GGUF, INDEX, WEIGHTS, ModelRefused
from inpainting.catalog.inspection.formats.checkpoint_file import CONFIGURATION, configuration_folder, unet_channels
from inpainting.catalog.inspection.formats.checkpoint_tensors import FLOAT8, VELOCITY, ZERO_SNR, is_extra, is_weight
from inpainting.catalog.inspection.formats.component_file import WEIGHTS_NAMES, component_file_class
from inpainting.catalog.inspection.formats.diffusers_folder import diffusers_layout
from inpainting.catalog.inspection.formats.gguf_header import is_gguf, read_weights_header
from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.inpaint_patch import patch_of
from inpainting.catalog.inspection.model_files import check_model
from inpainting.catalog.specs import Kind, LoraSpec, ModelSpec, install_hint
from inpainting.core.errors import EngineFailed
from inpainting.core.places import without_places
from inpainting.core.sentences import sentence
from inpainting.engines.diffusion.inpaint_patch import apply_patch
from inpainting.engines.diffusion.serving.loading.adapter_loading import variant_in, weights_variant
from inpainting.engines.diffusion.serving.loading.ignored_weights import (
    checkpoint_notes,
    configuration_notes,
    scheduler_notes,
    tensor_notes,
)
from inpainting.engines.diffusion.serving.loading.part_files import (
    float8_text_file,
    foreign_file_in,
    missing_weights,
    read_foreign,
    read_tensors,
    row_scales,
    text_scales,
)
from inpainting.families.declaration import ModelFamily
from inpainting.families.layouts import DiffusersLayout
from inpainting.networks.device.float8 import keep_float8
from inpainting.networks.device.hardware import Hardware, Offload
from inpainting.networks.device.quantization import NETWORKS, is_quantized, predicted_bytes, quantize, read_gguf
from inpainting.networks.load_lock import serialize
from inpainting.networks.unreadable_files import READ_ERRORS, unreadable

logger = logging.getLogger(__name__)
PREFIX = re.compile(r"\A(model\.)?diffusion_model\.")
"""Before the published names of a transformer's tensors, as ComfyUI and trainers save them."""

# Progress bars would fill the log.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


def weights_bytes(spec: ModelSpec | LoraSpec, dtype: torch.dtype, quantization: str = "") -> int:
    """Memory of a model's weights in that dtype; 0 if its files cannot be read: loading them reports the error.

    quantization: of its network, as of `Hardware`.
    """
    if spec.path is None:
        return 0
    family = families.get(spec.family)
    try:
        headers = {path: read_weights_header(path) for path in weight_files(spec.path, family)}
        kept = [] if quantization else [component_file_in(spec.path / name, spec.family) for name in NETWORKS]
        kept += [float8_text_file(spec.path / name) for name in text_encoders(family)]
    except (OSError, ModelRefused):
        return 0
    if spec.kind is Kind.CHECKPOINT and spec.path.is_file() and isinstance(family.layout, DiffusersLayout):
        # Averaged weights, for example, are not loaded.
        headers = {Path(part): tensors for part, tensors in checkpoint_parts(headers[spec.path], family.layout).items()}
    return sum(
        predicted_bytes(
            tensors,
            dtype.itemsize,
            quantization if path.parent.name in NETWORKS else "",
            keeps_float8=path in kept,
        )
        for path, tensors in headers.items()
    )


def text_encoders(family: ModelFamily) -> list[str]:
    """The components that transformers loads the weights of."""
    components = component_classes(family)
    return [name for name, class_ in components.items() if issubclass(class_, transformers.PreTrainedModel)]


def checkpoint_parts(header: Mapping[str, Any], layout: DiffusersLayout) -> dict[str, dict[str, Any]]:
    """The weights of a checkpoint, by the folder and file that they would have in diffusers' layout."""
    parts: dict[str, dict[str, Any]] = {}
    for prefix, component in layout.checkpoint_parts.items():
        weights = {
            name: tensor for name, tensor in header.items() if name.startswith(prefix) and is_weight(name, layout)
        }
        parts.setdefault(f"{component}/{prefix}", {}).update(weights)
    return parts


def weight_files(path: Path, family: ModelFamily) -> list[Path]:
    """The files that `load` reads weights from."""
    if path.is_file():
        return [path]
    if not (path / INDEX).is_file():
        return sorted(path.rglob(f"*{WEIGHTS}"))
    files = []
    for component in component_classes(family):
        variant = variant_in(path / component)
        files += [
            file for file in (path / component).glob(f"*{WEIGHTS}") if (variant or "") == weights_variant(file.name)
        ]
        files += (path / component).glob(f"*{GGUF}")
    return files


def load(spec: ModelSpec, hardware: Hardware, offload: Offload = Offload.NONE) -> Any:
    """Check a model's files and load them. Returns the family's `LatentModel`.

    offload: what of it stays in the machine's memory.

    Raises EngineFailed: `model_unavailable` if files are missing or damaged, `model_refused` by the check.
    Out-of-memory errors pass unchanged.
    """
    if spec.path is None or not spec.path.exists():
        raise EngineFailed(install_hint(spec.slug, spec.label), code="model_unavailable")
    try:
        check_model(spec.path, spec.family)
    except ModelRefused as error:
        raise ModelRefused(without_places(error.message, spec.path)) from error
    family = families.get(spec.family)
    hardware = hardware_for(family, hardware)
    pipeline_class = getattr(diffusers, family.pipeline_class)
    read = read_checkpoint if spec.path.is_file() else partial(read_folder, keeps_float8=not hardware.quantization)
    try:
        pipeline, notes = read(pipeline_class, spec.path, hardware.dtype, family)
        if (patch := patch_of(spec.path)) is not None:
            original_name = family.lora.load_original_name() if family.lora else None
            notes += apply_patch(pipeline.unet, patch, original_name) if original_name else []
        quantize_networks(pipeline, hardware)
    except (*READ_ERRORS, SingleFileComponentError) as error:
        raise unreadable(
            sentence("The model {label}", label=spec.label), spec.path, error, "model_unavailable"
        ) from error
    alias_text_model(pipeline.text_encoder)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            # Weights that accelerate moves during a step, in inference mode, could not be placed whole again.
            part.requires_grad_(False)
    if offload is Offload.NONE:
        hardware.place(pipeline)
    model = family.load_implementation()(pipeline, hardware, spec)
    if notes:
        logger.warning("%s: %s", spec.slug, " ".join(notes))
        model.notes += notes
    if offload is not Offload.NONE:
        model.offload_to(offload)
    return model


def quantize_networks(pipeline: Any, hardware: Hardware) -> None:
    """Quantise the networks of a pipeline as the hardware is configured, but those that their files have quantised."""
    if not hardware.quantization:
        return
    for name in NETWORKS:
        network = getattr(pipeline, name, None)
        if network is not None and not is_quantized(network):
            with hardware.copying():
                quantize(network, hardware.quantization, hardware.device)


def hardware_for(family: ModelFamily, hardware: Hardware) -> Hardware:
    """The hardware, with bfloat16 in place of float16 for a family that overflows in float16 and quantised weights."""
    if hardware.dtype == torch.float16 and (family.overflows_float16 or hardware.quantization):
        return replace(hardware, dtype=torch.bfloat16)
    return hardware


def component_classes(family: ModelFamily) -> dict[str, type[Any]]:
    """Classes of the components with weights, by component name, as the family declares them, not as the files do."""
    components = family.layout.components if isinstance(family.layout, DiffusersLayout) else {}
    return {
        name: pkgutil.resolve_name(component.classes[0].replace(".", ":", 1))
        for name, component in components.items()
        if component.has_loaded_weights
    }


def read_folder(
    pipeline_class: type[Any], folder: Path, dtype: torch.dtype, family: ModelFamily, *, keeps_float8: bool = False
) -> tuple[Any, list[str]]:
    """Read a pipeline in diffusers' layout, one folder for each component. Also returns notes about ignored parts.

    keeps_float8: whether a transformer whose file is in fp8 stays so in memory, as a text encoder always does.
    """
    parts = dict(family.pipeline_arguments)
    notes = list(configuration_notes(folder, component_classes(family), diffusers_layout(family.name)))
    for name, component_class in component_classes(family).items():
        if not (folder / name).is_dir():
            continue
        if (original := component_file_in(folder / name, family.name)) is not None:
            parts[name], ignored = read_component(component_class, original, dtype, keeps_float8=keeps_float8)
            notes += tensor_notes(name, ignored)
            continue
        is_text = name in text_encoders(family)
        if (foreign := foreign_file_in(folder / name, component_class)) is not None:
            part, loading_info = read_foreign(component_class, foreign, dtype)
        else:
            part, loading_info = serialize(component_class.from_pretrained)(
                folder / name,
                variant=variant_in(folder / name),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **{"dtype" if is_text else "torch_dtype": dtype},
            )
        # transformers fills missing weights with random numbers.
        if loading_info["missing_keys"]:
            raise ValueError(missing_weights(folder / name))
        notes += tensor_notes(name, [key for key in loading_info["unexpected_keys"] if not is_extra(key)])
        if is_text and (small := float8_text_file(folder / name)) is not None:
            keep_float8(part, text_scales(small, part))
        parts[name] = part.eval()
    pipeline = serialize(pipeline_class.from_pretrained)(folder, use_safetensors=True, local_files_only=True, **parts)
    return pipeline, [*notes, *scheduler_notes(folder, pipeline.scheduler.config)]


def component_file_in(folder: Path, family: str) -> Path | None:
    """The weights in a component's folder if they are a file of the family's with its published names."""
    known = component_file_class(family)
    if known is None or folder.name != known.component:
        return None
    paths = [path for name in WEIGHTS_NAMES if (path := folder / name).is_file()]
    return next((path for path in paths if known.recognises(read_weights_header(path))), None)


def read_component(
    component_class: type[Any], path: Path, dtype: torch.dtype, *, keeps_float8: bool = False
) -> tuple[Any, list[str]]:
    """Read a component with its published names, and the configuration beside it.

    keeps_float8: as of `read_folder`. Also returns the names of tensors that nothing reads.
    """
    scales: dict[str, torch.Tensor] = {}
    if is_gguf(path.name):
        tensors, arguments = read_gguf(path, dtype)
    else:
        header = read_header(path)
        numbers = read_tensors(path, header, dtype)
        tensors, arguments = {name: number for name, number in numbers.items() if not is_extra(name)}, {}
        if keeps_float8 and any(tensor["dtype"] in FLOAT8 for tensor in header.values()):
            scales = {PREFIX.sub("", name): scale for name, scale in row_scales(path, header).items()}
    tensors = {PREFIX.sub("", name): number for name, number in tensors.items()}
    try:
        names = names_in_diffusers(component_class, tensors)
        part = serialize(component_class.from_single_file)(
            tensors, config=str(path.parent), torch_dtype=dtype, local_files_only=True, **arguments
        )
    except (KeyError, NotImplementedError) as error:  # by a conversion that names each tensor; for one without data
        raise ValueError(missing_weights(path.parent)) from error
    if any(tensor.is_meta for tensor in part.state_dict().values()):
        raise ValueError(missing_weights(path.parent))
    if scales:
        keep_float8(part, converted(component_class, scales))
    # Some conversions take what they know out of `tensors`, others take everything.
    return part, sorted({*tensors, *names}.difference(part.state_dict()))


def names_in_diffusers(component_class: type[Any], tensors: Mapping[str, Any]) -> list[str]:
    """The names that diffusers' conversion gives to the tensors of a component with its published names."""
    shapes = {name: torch.empty(tensor.shape, device="meta") for name, tensor in tensors.items()}
    return list(converted(component_class, shapes))


def converted(component_class: type[Any], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a component with its published names, as diffusers' conversion names and divides them."""
    convert = SINGLE_FILE_LOADABLE_CLASSES[component_class.__name__]["checkpoint_mapping_fn"]
    return dict(convert(checkpoint=tensors, config={}))


def read_checkpoint(
    pipeline_class: type[Any], path: Path, dtype: torch.dtype, family: ModelFamily
) -> tuple[Any, list[str]]:
    """Read a pipeline from one file in the original layout, with the configuration and tokenizers beside it.

    Also returns notes about ignored parts.

    The number of input channels, the prediction type and the end of the noise schedule are those of the file if its
    tensors show them, because the configuration may be that of a plain model.
    """
    config = configuration_folder(path)
    if not config.is_dir():
        raise FileNotFoundError(
            sentence(
                "{name} has no folder “{configuration}” beside it; “python manage.py "
                "pull_model {name_2} --repin --from FILE --config SLUG_OR_FOLDER” installs "
                "both.",
                name=path.name,
                configuration=CONFIGURATION,
                name_2=path.parent.name,
            )
        )
    header = read_header(path)
    checkpoint = read_tensors(path, header, dtype)
    parts = {}
    for name, component_class in component_classes(family).items():
        if not (config / name).is_dir():
            continue
        try:
            part = serialize(load_single_file_sub_model)(
                library_name=component_class.__module__.partition(".")[0],
                class_name=component_class.__name__,
                name=name,
                checkpoint=checkpoint,
                pipelines=diffusers.pipelines,
                is_pipeline_module=False,
                cached_model_config_path=str(config),
                torch_dtype=dtype,
                local_files_only=True,
                **({"in_channels": unet_channels(header)} if name == "unet" else {}),
            )
        except NotImplementedError as error:  # raised by torch for a tensor without data
            raise ValueError(missing_weights(path)) from error
        if any(tensor.is_meta for tensor in part.state_dict().values()):
            raise ValueError(missing_weights(path))
        parts[name] = part
    # It loads the tokenizers and the scheduler.
    pipeline = serialize(pipeline_class.from_single_file)(
        str(path), config=str(config), local_files_only=True, **parts, **family.pipeline_arguments
    )
    layout = diffusers_layout(family.name)
    notes = [*checkpoint_notes(path.name, header, layout, parts)]
    notes += configuration_notes(config, component_classes(family), layout)
    notes += scheduler_notes(config, pipeline.scheduler.config)
    set_noise_schedule(pipeline.scheduler, header)
    return pipeline, notes


def set_noise_schedule(scheduler: Any, header: Mapping[str, Any]) -> None:
    """Configure a scheduler as the tensors of a checkpoint show that the model was trained."""
    if VELOCITY not in header:
        return
    values: dict[str, Any] = {"prediction_type": "v_prediction"}
    if ZERO_SNR in header:
        # The last timestep must be sampled (Lin et al. 2023, section 3.3).
        values |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    # `from_config` drops the values that are listed as absent from the scheduler's own file.
    absent = [name for name in scheduler.config.get("_use_default_values", ()) if name not in values]
    scheduler.register_to_config(**values, _use_default_values=absent)


def alias_text_model(encoder: Any) -> None:
    """Add `text_model`, which diffusers 0.42 reads for clip_skip and transformers 5 has merged into the encoder."""
    if encoder is not None and not hasattr(encoder, "text_model"):
        # Module.__setattr__ would register the encoder as its own submodule.
        encoder.__dict__["text_model"] = encoder
