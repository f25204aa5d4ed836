"""The layers of Chroma's transformer by the names of its publisher's code, and LoRAs of models with the same names.

They are those of FLUX.1, of which it lacks the modulations, and one network in their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inpainting.catalog.inspection.lora_layers import Shape
from inpainting.families.flux import lora_names
from inpainting.families.flux.declaration import LORAS
from inpainting.families.flux.other_loras import CHROMA
from inpainting.families.flux.other_loras import other_model as other_than_flux_1

SIDES = {"1": "in", "2": "out"}
MODULATIONS = r"(img|txt)_mod[._]|modulation[._]lin|norm(1|1_context)?[._]linear|(vector|guidance)_in|time_text_embed"
"""Layers of FLUX.1 that Chroma lacks, in both namings."""


def original_name(path: str, transformer: Any) -> tuple[str, int] | None:
    """Return (name in the original, part of its outputs) for a layer's path in diffusers; None if it has none."""
    if found := re.fullmatch(r"(distilled_guidance_layer\.layers\.\d+)\.linear_([12])", path):
        return f"{found[1]}.{SIDES[found[2]]}_layer", 0
    return lora_names.original_name(path, transformer)


def other_model(layers: Mapping[str, Mapping[str, Shape]], base_models: str) -> str:
    """Return the name of the other model that a LoRA is for, as `LoraSupport.other_model` describes."""
    if other := other_than_flux_1(layers, base_models):
        return "" if other == CHROMA else other
    is_flux_1 = any(re.search(MODULATIONS, path) for path in layers) or re.search(LORAS.base_models, base_models)
    return "FLUX.1" if is_flux_1 else ""
