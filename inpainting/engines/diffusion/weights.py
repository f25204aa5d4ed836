"""Models in memory: loaded on demand, kept warm, the least used one put away when another needs the room."""

from __future__ import annotations

import gc
import logging
import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
import transformers
from diffusers.loaders.single_file_utils import SingleFileComponentError

from inpainting.core.errors import EngineFailed
from inpainting.engines.catalog import Family, Kind, LoraSpec, ModelSpec, how_to_get
from inpainting.engines.diffusion.adapters import Worn
from inpainting.engines.diffusion.families.base import LatentModel
from inpainting.engines.diffusion.families.flux_fill import FluxFill
from inpainting.engines.diffusion.families.sd import StableDiffusion
from inpainting.engines.diffusion.families.sdxl import StableDiffusionXL
from inpainting.engines.diffusion.hardware import Hardware
from inpainting.engines.diffusion.parts import flavour_of, load_part, variant_in
from inpainting.engines.model_files import (
    CONFIGURATION,
    INDEX,
    WEIGHTS,
    ModelRefused,
    check_model,
    check_preview_decoder,
    configuration_of,
    header_of,
    unet_channels,
)

if TYPE_CHECKING:
    from inpainting.engines.diffusion.openvino.network import Compiled

logger = logging.getLogger(__name__)

# Progress bars are for terminals.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()

FAMILIES: dict[Family, tuple[type[Any], type[LatentModel]]] = {
    Family.SD: (diffusers.StableDiffusionInpaintPipeline, StableDiffusion),
    Family.SDXL: (diffusers.StableDiffusionXLInpaintPipeline, StableDiffusionXL),
    Family.FLUX_FILL: (diffusers.FluxFillPipeline, FluxFill),
}
LEFT_OUT: dict[Family, dict[str, Any]] = {
    Family.SD: {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    Family.SDXL: {"add_watermarker": False},
    Family.FLUX_FILL: {},
}
"""Parts of a pipeline that are not ours to run: a mark in the pixels would be one outside the mask too."""
PARTS: dict[str, type[Any]] = {
    "unet": diffusers.UNet2DConditionModel,
    "vae": diffusers.AutoencoderKL,
    "text_encoder": transformers.CLIPTextModel,
    "text_encoder_2": transformers.CLIPTextModelWithProjection,
}
"""What holds weights, and its class: the files are not asked."""
OTHER_PARTS: dict[Family, dict[str, type[Any]]] = {
    Family.FLUX_FILL: {
        "transformer": diffusers.FluxTransformer2DModel,
        "text_encoder_2": transformers.T5EncoderModel,
    }
}
"""Where a family has others under these names."""
PREVIEW_DECODERS: dict[Family, str] = {Family.SD: "taesd", Family.SDXL: "taesdxl", Family.FLUX_FILL: "taef1"}
"""Folders beside the models: decoders of a few MB (TAESD, Ollin Boer Bohan), which no model needs."""
WANTS_BFLOAT16 = frozenset({Family.FLUX_FILL})
"""Whose activations overflow in float16."""
VELOCITY_MARK = "v_pred"
"""A tensor of this name says that a checkpoint was trained to predict velocity (Salimans and Ho 2022, section 2)."""


class Shelf:
    """The models in the device's memory, and what is compiled of them. For the device's thread alone.

    budget_bytes: weights kept at most, one model being always allowed. models_dir: where the small decoders for
    previews lie, if any do.
    """

    def __init__(self, hardware: Hardware, budget_bytes: int, *, models_dir: Path | None = None) -> None:
        self.hardware = hardware
        self.budget_bytes = budget_bytes
        self.models_dir = models_dir
        self.reserved_bytes = 0
        """For what is being compiled. Nobody but others of its kind waits for that: it is only faster."""
        self._preview_decoders: dict[Family, torch.nn.Module | None] = {}
        self._models: OrderedDict[str, LatentModel] = OrderedDict()
        self._parts: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._stamps: dict[str, int] = {}
        self._sizes: dict[tuple[ModelSpec, int], int] = {}

    def loaded(self, spec: ModelSpec) -> LatentModel | None:
        """The model, if it is there as it lies on the disk now."""
        is_current = self._stamps.get(spec.slug, stamp_of(spec)) == stamp_of(spec)
        return self._models.get(spec.slug) if is_current else None

    def holds(self, model: LatentModel) -> bool:
        return any(own is model for own in self._models.values())

    def fits(
        self,
        spec: ModelSpec,
        *,
        parts_in_use: Collection[ModelSpec] = (),
        compiled_in_use: Collection[Compiled] = (),
    ) -> bool:
        """Whether it is there, or can be loaded without putting another model, or anything else in use, away."""
        if self.loaded(spec) is not None:
            return True
        key = (spec, stamp_of(spec))
        if key not in self._sizes:
            self._sizes[key] = weights_bytes(spec, self.hardware.dtype)
        parts = sum(bytes_of(self._parts[slug][1]) for slug in self._idle_parts(parts_in_use))
        compiled = sum(found.byte_count for _, _, found in self._idle_compiled(compiled_in_use))
        return self.used_bytes - parts - compiled + self._sizes[key] <= self.budget_bytes

    @property
    def models(self) -> list[LatentModel]:
        return list(self._models.values())

    @property
    def used_bytes(self) -> int:
        parts = (bytes_of(part) for _, part in self._parts.values())
        return sum(model.byte_count for model in self._models.values()) + sum(parts)

    def get(
        self,
        spec: ModelSpec,
        *,
        in_use: Collection[LatentModel] = (),
        parts_in_use: Collection[ModelSpec] = (),
        compiled_in_use: Collection[Compiled] = (),
    ) -> Any:
        """The loaded `LatentModel`, where needed in place of other models and all else that is not in use.

        Raises EngineFailed (`model_unavailable`, `model_refused`) where it cannot be loaded.
        """
        slug, model = spec.slug, self.loaded(spec)
        if model is None:
            self._models.pop(slug, None)  # of other files; who still paints with it holds it
            wanted, stamp = weights_bytes(spec, self.hardware.dtype), stamp_of(spec)
            self._make_room(wanted, in_use, parts_in_use, compiled_in_use)
            model = self._models[slug] = load(spec, self.hardware)
            self._stamps[slug] = stamp
        self._models.move_to_end(slug)
        return model

    def bring(
        self,
        worn: Worn,
        model: LatentModel,
        *,
        in_use: Collection[LatentModel],
        worn_now: Collection[str],
        parts_in_use: Collection[ModelSpec] = (),
        compiled_in_use: Collection[Compiled] = (),
    ) -> None:
        """Load the LoRAs that a model lacks, where needed in place of other models or of its LoRAs nobody wears now.

        Raises EngineFailed (`lora_unavailable`, `lora_refused`, `lora_unfit`) where one cannot be loaded.
        """
        lacking = model.adapters.lacking(worn)
        if not lacking:
            return
        wanted = sum(lora_bytes(one.spec, self.hardware.dtype) for one in lacking)
        self._make_room(wanted, [*in_use, model], parts_in_use, compiled_in_use)
        model.adapters.make_room(keep={*worn_now, *(one.name for one in worn)})
        for one in lacking:
            model.adapters.load(one)

    def part(
        self,
        spec: ModelSpec,
        *,
        in_use: Collection[LatentModel],
        parts_in_use: Collection[ModelSpec] = (),
        compiled_in_use: Collection[Compiled] = (),
    ) -> Any:
        """The loaded network of a part, where needed in place of whatever is not in use.

        Raises EngineFailed (`part_unavailable`, `part_refused`) where it cannot be loaded.
        """
        stamp, held = stamp_of(spec), self._parts.get(spec.slug)
        if held is None or held[0] != stamp:
            self._parts.pop(spec.slug, None)
            self._make_room(weights_bytes(spec, self.hardware.dtype), in_use, parts_in_use, compiled_in_use)
            held = self._parts[spec.slug] = (stamp, load_part(spec, self.hardware))
        self._parts.move_to_end(spec.slug)
        return held[1]

    def preview_decoder(self, family: Family) -> torch.nn.Module | None:
        """What decodes previews of that family; None where there is none, or none that may be loaded."""
        if family not in self._preview_decoders:
            folder = None if self.models_dir is None else self.models_dir / PREVIEW_DECODERS[family]
            self._preview_decoders[family] = None if folder is None else load_preview_decoder(folder, self.hardware)
        return self._preview_decoders[family]

    def reserve(self, byte_count: int, *, compiled_in_use: Collection[Compiled]) -> bool:
        """For what is about to be compiled, where needed in place of what is compiled and not in use.

        False where even that would be too little; then nothing is put away.
        """
        wanted = self.used_bytes + self.reserved_bytes + byte_count - self.budget_bytes
        if wanted > sum(found.byte_count for _, _, found in self._idle_compiled(compiled_in_use)):
            return False
        while wanted > 0:
            wanted -= self._put_compiled_away(compiled_in_use)
        self.reserved_bytes += byte_count
        return True

    def _make_room(
        self,
        wanted: int,
        in_use: Collection[LatentModel],
        parts_in_use: Collection[ModelSpec],
        compiled_in_use: Collection[Compiled],
    ) -> None:
        """For so many bytes, as far as that goes."""
        while self.used_bytes + wanted > self.budget_bytes:
            if not self.put_away(in_use=in_use, parts_in_use=parts_in_use, compiled_in_use=compiled_in_use):
                return

    def _idle_compiled(self, in_use: Collection[Compiled]) -> list[tuple[LatentModel, Any, Compiled]]:
        """The least used first, each with its model and its key there."""
        idle = [
            (model, key, found)
            for model in self._models.values()
            for key, found in model.networks.items()
            if not any(found is one for one in in_use)
        ]
        return sorted(idle, key=lambda one: one[2].used)

    def _put_compiled_away(self, in_use: Collection[Compiled]) -> int:
        """How many bytes are free because of it, 0 where there was none."""
        for model, key, found in self._idle_compiled(in_use):
            del model.networks[key]
            if model.compiled is found:
                model.compiled = None
            return found.byte_count
        return 0

    def _idle_parts(self, parts_in_use: Collection[ModelSpec]) -> list[str]:
        used = {part.slug for part in parts_in_use}
        return [slug for slug in self._parts if slug not in used]

    def put_away(
        self,
        *,
        in_use: Collection[LatentModel],
        parts_in_use: Collection[ModelSpec] = (),
        compiled_in_use: Collection[Compiled] = (),
    ) -> bool:
        """Forget the least used of what is compiled and not in use, else such a part, else such a model: what is soon
        there again goes first. False where there is none."""
        if self._idle_compiled(compiled_in_use):
            self._put_compiled_away(compiled_in_use)
            return True
        slug = next(iter(self._idle_parts(parts_in_use)), None)
        if slug is not None:
            del self._parts[slug]
        else:
            slug = next((slug for slug, model in self._models.items() if not any(model is one for one in in_use)), None)
            if slug is None:
                return False
            del self._models[slug]
        gc.collect()  # the parts of a pipeline know each other
        self.hardware.empty_cache()
        logger.info("Put %s away", slug)
        return True


def bytes_of(network: torch.nn.Module) -> int:
    """Of all its weights."""
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))


def stamp_of(spec: ModelSpec) -> int:
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
        headers = [header_of(path) for path in weight_files(spec.path)]
    except (OSError, ModelRefused):
        return 0
    return dtype.itemsize * sum(math.prod(tensor["shape"]) for header in headers for tensor in header.values())


def weight_files(path: Path) -> list[Path]:
    """Those that `load` reads."""
    if path.is_file():
        return [path]
    if not (path / INDEX).is_file():
        return sorted(path.rglob(f"*{WEIGHTS}"))
    files = []
    for part in {*PARTS, *(part for parts in OTHER_PARTS.values() for part in parts)}:
        variant = variant_in(path / part)
        files += [file for file in (path / part).glob(f"*{WEIGHTS}") if (variant or "") == flavour_of(file.name)]
    return files


def load(spec: ModelSpec, hardware: Hardware) -> Any:
    """Read a model's files, which are checked first, into the device's memory. Returns the family's `LatentModel`.

    Raises EngineFailed: `model_unavailable` where they are not there or damaged, `model_refused` by the check.
    """
    if spec.path is None or not spec.path.exists():
        raise EngineFailed(how_to_get(spec.slug, spec.label), code="model_unavailable")
    check_model(spec.path, spec.family)
    hardware = precise_enough(hardware, spec.family)
    pipeline_class, family = FAMILIES[spec.family]
    read = _from_file if spec.path.is_file() else _from_folder
    try:
        pipeline = read(pipeline_class, spec.path, hardware.dtype, spec.family)
    except (OSError, ValueError, RuntimeError, KeyError, SingleFileComponentError) as error:
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
    return family(pipeline, hardware, spec)


def precise_enough(hardware: Hardware, family: Family) -> Hardware:
    """The hardware as models of the family are to use it."""
    if hardware.dtype == torch.float16 and family in WANTS_BFLOAT16:
        return replace(hardware, dtype=torch.bfloat16)
    return hardware


def parts_of(family: Family) -> dict[str, type[Any]]:
    """What holds weights in a model of the family, and its class."""
    return {**PARTS, **OTHER_PARTS.get(family, {})}


def load_preview_decoder(folder: Path, hardware: Hardware) -> torch.nn.Module | None:
    """The decoder half of an AutoencoderTiny: [n, 4, h, w], latents -> [n, 3, 8h, 8w], -1 to 1. None without a folder.

    One that is refused or broken is a warning in the log: previews are not worth a picture.
    """
    if not folder.is_dir():
        return None
    try:
        check_preview_decoder(folder)
        whole = diffusers.AutoencoderTiny.from_pretrained(
            folder,
            variant=variant_in(folder),
            use_safetensors=True,
            local_files_only=True,
            torch_dtype=hardware.dtype,
        )
    except (ModelRefused, OSError, ValueError, RuntimeError, KeyError) as error:
        logger.warning("Previews do without %s: %s", folder.name, error)
        return None
    decoder: torch.nn.Module = whole.decoder.eval().to(hardware.device)
    return decoder


def _from_folder(pipeline_class: type[Any], folder: Path, dtype: torch.dtype, family: Family) -> Any:
    parts = dict(LEFT_OUT[family])
    for name, kind in parts_of(family).items():
        if not (folder / name).is_dir():
            continue
        wanted = {"dtype": dtype} if issubclass(kind, transformers.PreTrainedModel) else {"torch_dtype": dtype}
        parts[name] = kind.from_pretrained(
            folder / name, variant=variant_in(folder / name), use_safetensors=True, local_files_only=True, **wanted
        ).eval()
    return pipeline_class.from_pretrained(folder, local_files_only=True, **parts)


def _from_file(pipeline_class: type[Any], path: Path, dtype: torch.dtype, family: Family) -> Any:
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
        pipeline = pipeline_class.from_single_file(str(path), unet=unet, **where, **LEFT_OUT[family])
    except NotImplementedError as error:  # torch's way to say that nothing was read into a tensor
        raise ValueError(lacking(path)) from error
    if any(is_empty(getattr(pipeline, name, None)) for name in PARTS):
        raise ValueError(lacking(path))
    if VELOCITY_MARK in header:
        pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    return pipeline


def lacking(path: Path) -> str:
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
