"""The models and plug-ins that IOPaint's clients switch between, and which of them a caller has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework.request import Request

from inpainting import families
from inpainting.api.compat.callers_options import read_options, update_options
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Kind
from inpainting.core.setting import DIFFUSION, ERASE, QUICK_FILL
from inpainting.engines.registry import AUTO
from inpainting.families.declaration import UPSCALING
from inpainting.segmenters import registry
from inpainting.segmenters.base import Hint
from inpainting.upscalers.registry import upscalers

NAME = "iopaint"
FEATURES = ("strength", "outpainting", "lcm_lora", "controlnet", "brushnet", "powerpaint_v2")
MODEL, CLICKS, BACKGROUND, ENLARGE = "model", "InteractiveSeg", "RemoveBG", "RealESRGAN"
"""What can be chosen: the model that paints, and the model of each plug-in. The app knows plug-ins by these names."""
MODEL_TYPES = {"sd": "diffusers_sd_inpaint", "sdxl": "diffusers_sdxl_inpaint"}


def choose(request: Request, what: str, name: str) -> None:
    """Keep a choice: of one API key, or of all pages of an account."""
    update_options(request, NAME, {what: name})


def chosen(request: Request, what: str, names: Sequence[str]) -> str:
    """Return the choice; the first of the names where there is none, or one that is no longer among them."""
    name = str(read_options(request, NAME).get(what))
    return name if name in names else names[0]


def painting_models(catalog: Catalog) -> dict[str, InferenceModel | None]:
    """Return the models that paint by their names, the server's choice first. quick-fill has no row either."""
    erasing, diffusion = ({row.slug: row for row in catalog.installed(engine)} for engine in (ERASE, DIFFUSION))
    return {AUTO: None, **erasing, QUICK_FILL: None, **diffusion}


def chosen_model(request: Request, catalog: Catalog) -> tuple[str, InferenceModel | None]:
    models = painting_models(catalog)
    name = chosen(request, MODEL, list(models))
    return name, models[name]


def is_diffusion(row: InferenceModel | None) -> bool:
    return row is not None and families.get(row.family).engine == DIFFUSION


def model_info(name: str, row: InferenceModel | None, catalog: Catalog) -> dict[str, Any]:
    """Return what clients read of a model that paints."""
    info = {
        "name": name,
        "path": name,
        "model_type": "inpaint",
        "is_single_file_diffusers": False,
        "need_prompt": False,
        "controlnets": list[str](),
        "brushnets": list[str](),
        **{f"support_{feature}": False for feature in FEATURES},
    }
    if row is None or not is_diffusion(row):
        return info
    adapters = [each for each in catalog.adapters if (each.family, each.kind) == (row.family, Kind.CONTROLNET)]
    return {
        **info,
        "model_type": MODEL_TYPES.get(row.family, "diffusers_other"),
        "need_prompt": True,
        "controlnets": [adapter.slug for adapter in adapters],
        "support_strength": True,
        "support_outpainting": True,
        "support_lcm_lora": catalog.preset_adapters(row.family).lora is not None,
        "support_controlnet": bool(adapters),
    }


def plugin_models(plugin: str, catalog: Catalog) -> list[str]:
    """Return the names of the models of a plug-in, the default one first: an installed one before one without a
    model."""
    if plugin == ENLARGE:
        return [*catalog.installed_tools(UPSCALING), *upscalers()]
    hints = frozenset({Hint.POINTS} if plugin == CLICKS else ())
    return [segmenter.name for segmenter in registry.fitting(hints, catalog)]


def chosen_for(request: Request, plugin: str, catalog: Catalog) -> str:
    return chosen(request, plugin, plugin_models(plugin, catalog))
