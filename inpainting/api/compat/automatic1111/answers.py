"""Generations as AUTOMATIC1111 answers them: images as base64, their parameters, and the progress of the caller's."""

from __future__ import annotations

import json
from typing import Any

from inpainting.api.compat.base64_images import base64_of, preview_as_png
from inpainting.api.compat.control import CONTROL
from inpainting.api.compat.samplers import sampler_of
from inpainting.core.codecs import replace_png_texts
from inpainting.core.codecs.formats import PNG
from inpainting.core.codecs.metadata.infotext import KEYWORD, write_infotext
from inpainting.media.results import result_bytes
from inpainting.models import GeneratedImage, Generation, Status
from inpainting.realtime.current_event import progress_event
from inpainting.realtime.events import last_preview


def painted(generation: Generation, meta: dict[str, Any]) -> dict[str, Any]:
    """Return the body of txt2img and img2img; of an interrupted generation without images.

    meta: our own field beside those of the service.
    """
    images, parameters = generation.images.all(), generation.service_data["parameters"]
    shown = [image_with_parameters(image) for image in images] if parameters["send_images"] else []
    return {"images": shown, "parameters": parameters, "info": json.dumps(info(generation)), "meta": meta}


def image_with_parameters(image: GeneratedImage) -> str:
    return base64_of(replace_png_texts(result_bytes(image, PNG), {KEYWORD: infotext(image.generation, image.index)}))


def used(generation: Generation, setting: str, field: str) -> Any:
    """Return the value of a setting that was painted with; where the engine has none, of the request's field."""
    value = generation.settings.get(setting)
    return generation.service_data["parameters"].get(field) if value is None else value


def infotext(generation: Generation, index: int) -> str:
    """Return the parameters of one result as text."""
    settings = generation.settings
    reads = {"strength": None, **settings, **dict.fromkeys(generation.ignored)}
    loras = "".join(f"<lora:{use['slug']}:{use['weight']:g}>" for use in reads["loras"] or ())
    values = {
        "Steps": used(generation, "steps", "steps"),
        "Sampler": sampler_name(generation),
        "Schedule type": "Karras" if reads["use_karras_sigmas"] else None,
        "CFG scale": used(generation, "guidance_scale", "cfg_scale"),
        "Seed": settings["seed"] + index,
        "Size": generation.result_size,
        "Model": generation.model or None,
        "VAE": reads["vae"],
        "Denoising strength": reads["strength"],
        "Clip skip": reads["clip_skip"],
        "Mask blur": settings["mask_blur"] or None,
        "Masked content": reads["masked_content"],
        "Version": f"DreamLayer, {generation.engine}",
    }
    return write_infotext(settings["prompt"] + loras, settings["negative_prompt"], values)


def sampler_name(generation: Generation) -> str:
    parameters = generation.service_data["parameters"]
    return sampler_of(generation.settings) or parameters["sampler_name"] or parameters["sampler_index"]


def info(generation: Generation) -> dict[str, Any]:
    """Return the object that `info` holds as a text."""
    settings, size, parameters = generation.settings, generation.result_size, generation.service_data["parameters"]
    count = settings["num_images"]
    seeds = [settings["seed"] + index for index in range(count)]
    return {
        "prompt": settings["prompt"],
        "all_prompts": [settings["prompt"]] * count,
        "negative_prompt": settings["negative_prompt"],
        "all_negative_prompts": [settings["negative_prompt"]] * count,
        "seed": seeds[0],
        "all_seeds": seeds,
        "subseed": -1,
        "all_subseeds": [-1] * count,
        "subseed_strength": 0,
        "width": size.width,
        "height": size.height,
        "sampler_name": sampler_name(generation),
        "cfg_scale": used(generation, "guidance_scale", "cfg_scale"),
        "steps": used(generation, "steps", "steps"),
        "batch_size": parameters["batch_size"],
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": generation.model,
        "sd_model_hash": "",
        "sd_vae_name": settings["vae"],
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": used(generation, "strength", "denoising_strength"),
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [infotext(generation, index) for index in range(count)],
        "styles": [],
        "job_timestamp": timestamp(generation),
        "clip_skip": settings["clip_skip"] or 1,
        "is_using_inpainting_conditioning": False,
    }


def enlarged(generation: Generation, meta: dict[str, Any]) -> dict[str, Any]:
    """Return the body of extra-single-image."""
    (image,) = generation.images.all()
    return {"html_info": "", "image": base64_of(result_bytes(image, PNG)), "meta": meta}


def timestamp(generation: Generation) -> str:
    return f"{generation.created_at:%Y%m%d%H%M%S}"


def progress(current: Generation | None, count: int, *, shows_image: bool) -> dict[str, Any]:
    """Return the body of progress.

    current: the generation of the caller that runs, or is the next to. count: of the caller's, which have not ended.
    """
    event = None if current is None or current.status != Status.RUNNING else progress_event(current)
    preview = None if current is None or not shows_image else last_preview(current.pk)
    control = "" if current is None else current.service_data.get(CONTROL, "")
    return {
        "progress": event["step"] / max(event["of"], 1) if event else 0.0,
        "eta_relative": (event["seconds_left"] if event else None) or 0.0,
        "state": {
            "skipped": control == "skip",
            "interrupted": control == "interrupt",
            "stopping_generation": False,
            "job": "" if current is None else str(current.pk),
            "job_count": count,
            "job_timestamp": "0" if current is None else timestamp(current),
            "job_no": 0,
            "sampling_step": event["step"] if event else 0,
            "sampling_steps": event["of"] if event else 0,
        },
        "current_image": None if preview is None else preview_as_png(preview),
        "textinfo": "Waiting in the queue" if current is not None and event is None else None,
    }
