"""The settings of a `GenerateBody`: prompts with styles, model and adapters by name, sampling."""

from __future__ import annotations

from typing import Any

from inpainting import families
from inpainting.api.compat.fooocus.body import GenerateBody, Performance
from inpainting.api.compat.fooocus.styles import STYLES, apply_styles
from inpainting.api.compat.notes import Notes
from inpainting.api.compat.samplers import SAMPLERS, SDE
from inpainting.api.dialect import closest_model
from inpainting.api.errors import MAX_QUOTED_CHARACTERS
from inpainting.catalog.lookup import Catalog, spellings
from inpainting.catalog.rows.inference_model import InferenceModel
from inpainting.catalog.specs import Kind, LoraKind
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import LoraUse, PaintSettings
from inpainting.core.settings_table import MAX_LORAS, MAX_SEED, RANGES
from inpainting.families.declaration import MAX_GUIDANCE_SCALE

NONE = ("", "None")
DEFAULT_VAE = "Default (model)"
STEPS = {
    Performance.QUALITY: 60,
    Performance.SPEED: 30,
    Performance.EXTREME_SPEED: 8,
    Performance.LIGHTNING: 4,
    Performance.HYPER_SD: 4,
}
FAST_LORAS = {
    Performance.EXTREME_SPEED: LoraKind.LCM,
    Performance.LIGHTNING: LoraKind.LIGHTNING,
    Performance.HYPER_SD: LoraKind.HYPER,
}
SDE_SAMPLER = "dpmpp_2m_sde"
KARRAS = {"karras": True, "normal": False}


def read_settings(body: GenerateBody, catalog: Catalog, notes: Notes) -> PaintSettings:
    """Return the settings that do not depend on images. Raises InvalidRequest, `model_not_found`, for an unknown
    model."""
    model = find_model(body, catalog, notes)
    row = catalog.chosen_row(model)
    prompt = "\n".join(filter(None, [body.inpaint_additional_prompt, body.prompt]))
    prompt, negative_prompt = apply_styles(prompt, body.negative_prompt, body.style_selections)
    if unknown := [name for name in body.style_selections if name not in STYLES]:
        notes.ignore("style_selections", f"not known here: {', '.join(unknown)[:MAX_QUOTED_CHARACTERS]}.")
    if body.image_seed == 0 or body.image_seed > MAX_SEED:
        notes.ignore("image_seed", f"a seed is between 1 and {MAX_SEED}; a random one was drawn.")
    steps = body.overwrite_step if body.overwrite_step > 0 else STEPS[body.performance_selection]
    safety: dict[str, Any] = {"safety_checker": True, "safety_checker_type": "black"} if body.black_out_nsfw else {}
    return PaintSettings(
        prompt=prompt,
        negative_prompt=negative_prompt,
        num_images=int(notes.clamp("image_number", body.image_number, RANGES["num_images"][1])),
        seed=body.image_seed if 0 < body.image_seed <= MAX_SEED else 0,
        steps=int(notes.clamp("overwrite_step", steps, RANGES["steps"][1])),
        output_format=body.output_format.value,
        model=model,
        loras=find_loras(body, catalog, row, notes),
        vae=find_vae(body, catalog, notes),
        **sampling(body, row, notes),
        **safety,
    )


def find_model(body: GenerateBody, catalog: Catalog, notes: Notes) -> str | None:
    if "base_model_name" not in body.model_fields_set or body.base_model_name in NONE:
        return None
    field = "base_model_name"
    model = closest_model(catalog, body.base_model_name, service="fooocus", field=field, warnings=notes.warnings)
    if model is None:
        notes.ignored.append(field)
    return model


def find_loras(body: GenerateBody, catalog: Catalog, model: InferenceModel | None, notes: Notes) -> tuple[LoraUse, ...]:
    """Return the installed LoRAs among those sent, by slug or file name, and the one of the performance for that
    model."""
    found: dict[str, float] = {}
    kind = FAST_LORAS.get(body.performance_selection)
    family = families.lora_family(model.family) if model else ""
    fast = [row.slug for row in catalog.loras if (row.family, row.kind) == (family, kind)]
    if fast:
        found[fast[0]] = 1.0
    elif kind:
        reason = f"no LoRA of the kind {kind} is installed for the model; only its number of steps was used."
        notes.ignore("performance_selection", reason)
    for sent in body.loras:
        if not sent.enabled or sent.model_name in NONE or not sent.weight:
            continue
        names = spellings(sent.model_name)
        slug = next((row.slug for row in catalog.loras if row.slug in names), None)
        if slug is None or len(found) == MAX_LORAS:
            notes.ignore("loras", f"{sent.model_name} is {'not installed' if slug is None else 'one too many'}.")
        else:
            found[slug] = sent.weight
    return tuple(LoraUse(slug, weight) for slug, weight in found.items())


def find_vae(body: GenerateBody, catalog: Catalog, notes: Notes) -> str | None:
    if body.vae_name in (*NONE, DEFAULT_VAE):
        return None
    try:
        return catalog.find_adapter(body.vae_name, Kind.VAE, "vae").slug
    except InvalidRequest as error:
        notes.ignore("vae_name", error.message)
        return None


def sampling(body: GenerateBody, model: InferenceModel | None, notes: Notes) -> dict[str, Any]:
    """Return the sampling settings of the fields that were sent; those that were not are the model's."""
    family = families.get(model.family) if model else None
    found: dict[str, Any] = {}
    if "guidance_scale" in body.model_fields_set:
        highest = family.max_guidance_scale if family else MAX_GUIDANCE_SCALE
        found["guidance_scale"] = notes.clamp("guidance_scale", body.guidance_scale, highest)
    if "clip_skip" in body.model_fields_set:
        layer = int(notes.clamp("clip_skip", body.clip_skip, RANGES["clip_skip"][1]))
        found["clip_skip"] = family.clip_skip_of_layer(layer) if family else layer
    if "sampler_name" in body.model_fields_set:
        name = body.sampler_name.removesuffix("_gpu")
        scheduler = SAMPLERS.get("dpmpp_2m" if name == SDE_SAMPLER else name)
        if scheduler is None or (family and scheduler not in family.schedulers):
            notes.ignore("sampler_name", f"the model cannot use {body.sampler_name}.")
        else:
            found["scheduler"] = scheduler
            if name == SDE_SAMPLER:
                found["algorithm_type"] = SDE
    if "scheduler_name" in body.model_fields_set:
        if body.scheduler_name in KARRAS:
            found["use_karras_sigmas"] = KARRAS[body.scheduler_name]
        else:
            notes.ignore("scheduler_name", f"{body.scheduler_name} is not known here.")
    return found
