"""What the editor lets people choose from: engines, models, and the settings with their limits."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from inpainting.catalog import families
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import (
    COMPUTED_CONTROLS,
    DraftAdapters,
)
from inpainting.core.errors import InvalidRequest
from inpainting.core.moderation.policy import OFF, STRICTNESS, USUAL_TYPE
from inpainting.core.settings_table import (
    ALGORITHM_TYPES,
    ALL_SCHEDULERS,
    LORA_WEIGHTS,
    RANGES,
    SAFETY_TYPES,
    public_names,
)
from inpainting.engines import registry
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.erase.declaration import ERASE
from inpainting.models import InferenceModel, Lora
from inpainting.moderation import find_safety_checker

HIDDEN_SENTENCE = (
    "Hidden by the safety checker: it found something in what was painted that may not be for everybody. "
    "The rest of the photo is as it was."
)
SAFETY_LABELS = {
    "blur": "Blur what it finds",
    "pixelate": "Pixelate what it finds",
    "black": "Black instead",
    "sensitive_content_text": "Grey with a sentence instead",
}


def choices() -> dict[str, Any]:
    """For the editor's form. Without torch no model is offered: none could be run."""
    catalog, is_installed = Catalog(), DIFFUSION.is_installed
    ready = catalog.installed() if is_installed else []
    drafts = {family: draft_of(family, catalog) for family in {model.family for model in ready}}
    models = [{**described(model), "draft": drafts[model.family]} for model in ready]
    erasers = [named(model) for model in catalog.installed(ERASE.name)] if ERASE.is_installed else []
    missing = {DIFFUSION.name: not models, ERASE.name: not erasers}
    return {
        "engines": [
            {
                "name": engine.name,
                "label": engine.label,
                "ignores": public_names(engine.ignored_settings),
                "missing": missing.get(engine.name, False),
            }
            for engine in (one.declaration for one in registry.engines().values())
        ],
        "models": models,
        "erasers": erasers,
        "loras": [offered(lora) for lora in catalog.loras] if models else [],
        "parts": [part_of(part) for part in catalog.adapters] if models else [],
        "lora_weights": {"lowest": number_of(LORA_WEIGHTS[0]), "highest": number_of(LORA_WEIGHTS[1])},
        "diffusion_installed": is_installed,
        "algorithm_types": ALGORITHM_TYPES,
        "safety": safety_choices(),
        "hidden_sentence": HIDDEN_SENTENCE,
        "schedulers": [{"name": name, "label": name.removesuffix("Scheduler")} for name in ALL_SCHEDULERS],
        "ranges": {
            name: {"lowest": number_of(low), "highest": number_of(high)} for name, (low, high) in RANGES.items()
        },
    }


def safety_choices() -> dict[str, Any] | None:
    """What may be chosen of the safety checker, the site's own way first; None where there is none to choose of.

    turned_on: which of the types a request meant that turned it on and said no more; "" is the site's own way.
    """
    try:
        find_safety_checker()
    except InvalidRequest:
        return None
    site = settings.SAFETY_CHECKER
    least = STRICTNESS.get(site, 0)
    stricter = [name for name in SAFETY_TYPES if name != site and STRICTNESS[name] >= least]
    return {
        "usual": SAFETY_LABELS.get(site, "Off"),
        "turned_on": USUAL_TYPE if site == OFF else "",
        "types": [{"name": name, "label": SAFETY_LABELS[name]} for name in stricter],
    }


def described(model: InferenceModel) -> dict[str, Any]:
    """A model by the names of the API's fields: what it uses where a request says nothing, and what it takes."""
    family = families.get(model.family)
    return {
        **named(model),
        "family": model.family,
        "most_guidance": family.max_guidance_scale,
        "schedulers": family.schedulers,
        "ignores": public_names(family.ignored_settings),
        "reads_prompt_weights": family.reads_prompt_weights,
        **model.defaults,
    }


def draft_of(family: str, catalog: Catalog) -> dict[str, Any] | None:
    """What models of the family use for a draft, by the names of the settings; None where they have none."""
    draft = catalog.draft_adapters(family) if families.get(family).lora is not None else DraftAdapters()
    few = None if draft.lora is None or draft.vae is None else catalog.find_lora(draft.lora).few_steps
    return None if few is None else few.defaults


def named(model: InferenceModel) -> dict[str, Any]:
    return {"slug": model.slug, "label": model.label}


def offered(lora: Lora) -> dict[str, Any]:
    """A LoRA, for models of its family; where it is for few steps, what it uses instead of the model's own."""
    few = lora.spec.few_steps
    usual = {} if few is None else few.defaults
    return {"slug": lora.slug, "label": lora.label, "family": lora.family, "trigger": lora.trigger, "usual": usual}


def part_of(part: InferenceModel) -> dict[str, Any]:
    """A VAE, an embedding, a ControlNet or an IP-Adapter, for models of its family."""
    return {
        "slug": part.slug,
        "label": part.label,
        "family": part.family,
        "kind": part.kind,
        "control": part.control,
        "is_computed": part.control in COMPUTED_CONTROLS,
    }


def number_of(limit: float) -> str:
    """As HTML wants it: a full stop, no separators, no exponent."""
    return str(int(limit)) if limit == int(limit) else str(limit)
