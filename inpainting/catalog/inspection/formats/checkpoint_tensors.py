"""The tensors of a checkpoint in the original layout: which are read, which repeat others, which make it unusable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inpainting.catalog.inspection.files import ModelRefused, quote
from inpainting.core.sentences import sentence
from inpainting.families.layouts import DiffusersLayout

VELOCITY, ZERO_SNR = "v_pred", "ztsnr"
"""Tensors of any content, as ComfyUI and trainers write them: the model predicts velocity (Salimans and Ho 2022, arXiv
2202.00512); its noise schedule ends in pure noise (Lin et al. 2023, arXiv 2305.08891)."""
WEIGHT, SCALES = ".weight", (".scale_weight", ".weight_scale")
"""ComfyUI's scaled fp8: `NAME.weight` times one of these, one number or one for each row, is the weight."""
FLOAT8 = ("F8_E4M3", "F8_E5M2")
FLOATS = ("F64", "F32", "F16", "BF16", *FLOAT8)
REPEATED = re.compile(
    # Averaged weights, and the buffers of the noise schedule, which the scheduler's configuration gives.
    r"model_ema\.|(alphas_cumprod(_prev)?|betas|denoiser\.(log_)?sigmas|global_step|logvar|lvlb_weights"
    r"|(posterior|sqrt|log_one_minus)_\w+|scale_factor)\Z"
    # Of training alone.
    r"|first_stage_model\.loss\.|(.*\.)?(logit_scale|position_ids)\Z"
    # Of computing in fp8: its mark, and the scales of activations.
    r"|(.*\.)?scaled_fp8\Z|.*\.(comfy_quant|scale_input|input_scale)\Z"
    # A mark that the configuration holds too, as `zero_cond_t`.
    r"|(.*\.)?__index_timestep_zero__\Z"
)
"""Beginnings of the names of tensors without which the same model is loaded."""


def check_tensors(header: Mapping[str, Any], layout: DiffusersLayout, file: str) -> None:
    """Refuse tensors that mark another kind of model, and numbers that cannot be read exactly. Raises ModelRefused."""
    for name in header:
        if reason := layout.refusal(name):
            raise ModelRefused(sentence("{file} holds {name}, {reason}", file=file, name=quote(name), reason=reason))
    for name, tensor in header.items():
        if is_weight(name, layout) and tensor["dtype"] not in FLOATS:
            raise quantised(file, name, tensor["dtype"])
    check_scales(header, file)


def check_scales(header: Mapping[str, Any], file: str) -> None:
    """Refuse scales of other numbers than fp8, and of another shape than ComfyUI's. Raises ModelRefused."""
    for name, scale in scaled_weights(header).items():
        weight, shape = header.get(name), header[scale]["shape"]
        rows = [weight["shape"][0], *[1] * (len(weight["shape"]) - 1)] if weight and weight["shape"] else []
        if weight is None or weight["dtype"] not in FLOAT8 or shape not in ([], [1], rows):
            raise ModelRefused(
                sentence(
                    "{file} is quantised: {scale} is no scale of fp8 numbers that is supported.",
                    file=file,
                    scale=quote(scale),
                )
            )


def check_numbers(header: Mapping[str, Any], file: str, *, may_be_scaled: bool = False) -> None:
    """Refuse quantised weights in a file of diffusers' or transformers' layout. Raises ModelRefused.

    may_be_scaled: whether scaled fp8 is accepted.
    """
    for name, tensor in header.items():
        is_scale = name.endswith(SCALES) and not may_be_scaled
        if is_scale or (name.endswith(WEIGHT) and tensor["dtype"] not in FLOATS):
            raise quantised(file, name, tensor["dtype"])
    check_scales(header, file)


def quantised(file: str, name: str, type: str) -> ModelRefused:
    """Return the error for a weight of numbers that are not computed with. type: as in the header of the file."""
    return ModelRefused(
        sentence("{file} is quantised: {name} holds {type} numbers.", file=file, name=quote(name), type=type)
    )


def scaled_weights(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each scaled weight and that of its scale."""
    return {name.removesuffix(end) + WEIGHT: name for name in header for end in SCALES if name.endswith(end)}


def ignored_tensors(header: Mapping[str, Any], layout: DiffusersLayout) -> list[str]:
    """Return the tensors that loading passes over and that may matter."""
    read = {VELOCITY, ZERO_SNR} if VELOCITY in header else set()
    return [name for name in header if name not in read and not is_weight(name, layout) and not is_extra(name)]


def is_weight(name: str, layout: DiffusersLayout) -> bool:
    return name.startswith(tuple(layout.checkpoint_parts)) and not is_extra(name)


def is_extra(name: str) -> bool:
    """Whether the tensor is no weight of its own: one of `REPEATED`, or the scale of a weight."""
    return REPEATED.match(name) is not None or name.endswith(SCALES)
