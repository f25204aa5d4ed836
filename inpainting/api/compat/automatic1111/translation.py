"""A request of AUTOMATIC1111's API -> `InpaintRequest`: img2img with or without a mask, or txt2img."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rest_framework.request import Request

from inpainting import families
from inpainting.api.compat import fastapi
from inpainting.api.compat.automatic1111.body import (
    ControlUnit,
    ImageBody,
    OptionsBody,
    ResizeMode,
    TextBody,
    read_body,
)
from inpainting.api.compat.automatic1111.options import (
    OVERRIDDEN_MODEL,
    UNSET,
    check_options,
    find_model,
    find_vae,
    options_of,
)
from inpainting.api.compat.automatic1111.prompts import read_prompts
from inpainting.api.compat.automatic1111.shapes import fit, mask_of
from inpainting.api.compat.callers_options import key_prefix
from inpainting.api.compat.notes import Notes
from inpainting.api.compat.samplers import SIGMAS, WEB_UI_SAMPLERS, find_sampler, find_scheduler
from inpainting.api.dialect import MAX_IGNORED_FIELDS, blank_request, build_service_request, shown_name
from inpainting.api.images import NAMED_MASK, read_field
from inpainting.catalog.lookup import Catalog, first_found
from inpainting.catalog.specs import Kind
from inpainting.core import masks
from inpainting.core.adapter_uses import CONTROLS, ControlUse
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import Mask, Pixels
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.resizing import resize
from inpainting.core.settings_table import RANGES
from inpainting.generations.submit import Submission

FILLS = ("fill", "original", "noise", "nothing")
"""`masked_content` by the numbers of inpainting_fill."""
CONTROLNET = "alwayson_scripts.controlnet"
WHOLE_IMAGE = int(RANGES["only_masked_padding"][1])
SETTINGS_BY_FIELD = {
    **{name: name for name in ("prompt", "negative_prompt", "seed", "steps", "mask_blur", "width", "height")},
    "prompt.lora": "loras",
    "prompt.embedding": "embeddings",
    "cfg_scale": "guidance_scale",
    "sampler_name": "scheduler",
    "sampler_index": "scheduler",
    "scheduler": "use_karras_sigmas",
    "batch_size": "num_images",
    "n_iter": "num_images",
    "denoising_strength": "strength",
    "inpainting_fill": "masked_content",
    "inpaint_full_res": "only_masked_padding",
    "inpaint_full_res_padding": "only_masked_padding",
    "mask_blur_x": "mask_blur",
    "mask_blur_y": "mask_blur",
    "override_settings.sd_model_checkpoint": "model",
    "override_settings.sd_vae": "vae",
    "override_settings.CLIP_stop_at_last_layers": "clip_skip",
    CONTROLNET: "controls",
    f"{CONTROLNET}.image": "control_image",
}
NOT_KEPT = {"init_images", "mask", "alwayson_scripts", "override_settings"}
"""The fields that a response does not repeat, since they may be large."""


class PaintReading:
    """One request: its settings and images, with what had no effect."""

    def __init__(self, request: Request) -> None:
        self.request, self.catalog = request, Catalog()
        self.is_image = request.path.rstrip("/").endswith("/img2img")
        self.body: TextBody = read_body(ImageBody if self.is_image else TextBody, request)
        self.sent = set(self.body.model_fields_set & SETTINGS_BY_FIELD.keys())
        self.notes = Notes([shown_name(name) for name in self.body.fields_without_effect()])
        self.options = self.read_options()
        row = self.catalog.chosen_row(self.model)
        self.family = None if row is None else families.get(row.family)
        self.units = self.read_units()

    def read(self) -> tuple[InpaintRequest, Submission]:
        """Return the request, and what is stored with it. Raises InvalidRequest and what `read_image` raises."""
        body = self.body
        refuse_scripts(body)
        settings = self.settings()
        if isinstance(body, ImageBody):
            inpaint_request = self.image_request(body, settings)
        else:
            inpaint_request, notes = blank_request(body.size, settings, self.control_images())
            self.notes.warnings.extend(notes)
        # They have an effect on the size of the result, where they are no setting of the engine.
        if not body.paints_masked_area_alone:
            self.sent -= {"width", "height", "inpaint_full_res", "inpaint_full_res_padding"}
        return inpaint_request, Submission(
            warnings=tuple(self.notes.warnings),
            sent_fields=tuple(self.sent),
            ignored_fields=tuple(dict.fromkeys(self.notes.ignored))[:MAX_IGNORED_FIELDS],
            service_data={
                "caller": key_prefix(self.request),
                "parameters": body.model_dump(mode="json", include=type(body).model_fields.keys() - NOT_KEPT),
            },
            catalog=self.catalog,
        )

    def read_options(self) -> OptionsBody:
        """Return the options of the key, with those of the request in their place, and find the model."""
        sent = {name: value for name, value in self.body.override_settings.items() if value is not None}
        known = sent.keys() & OptionsBody.model_fields.keys()
        self.sent |= {f"override_settings.{name}" for name in known}
        self.notes.ignored.extend([f"override_settings.{shown_name(name)}" for name in sent if name not in known])
        stored = options_of(self.request, self.catalog)
        options = stored.model_copy(update=check_options(sent).model_dump(include=known))
        self.model = find_model(options.sd_model_checkpoint, self.catalog, self.notes.warnings)
        if self.model is None and options.sd_model_checkpoint not in UNSET:
            self.notes.ignored.append(OVERRIDDEN_MODEL)
        return options

    def settings(self) -> PaintSettings:
        """Return the settings; those that were not sent, apart from the strength and the mask's, are the model's."""
        body, family, sent = self.body, self.family, self.body.model_fields_set
        prompts = read_prompts(body.prompt, body.negative_prompt, self.catalog)
        if prompts.warnings:
            self.notes.ignored.append("prompt.lora")
        self.notes.warnings.extend(prompts.warnings)
        self.sent |= {f"prompt.{name}" for name, uses in prompts.uses.items() if uses}
        count = body.batch_size * body.n_iter
        if count > RANGES["num_images"][1]:
            raise InvalidRequest(
                f"batch_size x n_iter is {count}; at most {RANGES['num_images'][1]} images are painted at a time.",
                code="field_out_of_range",
                field="n_iter",
            )
        found: dict[str, Any] = {"steps": body.steps} if "steps" in sent else {}
        if "cfg_scale" in sent:
            highest = family.max_guidance_scale if family else body.cfg_scale
            found["guidance_scale"] = self.notes.clamp("cfg_scale", body.cfg_scale, highest)
        if body.seed == 0:
            self.notes.ignore("seed", "0 stands for a random one here, which was drawn.")
        layer = self.options.CLIP_stop_at_last_layers
        if layer != 1:
            found["clip_skip"] = family.clip_skip_of_layer(layer) if family else layer
        return PaintSettings(
            prompt=prompts.prompt,
            negative_prompt=prompts.negative_prompt,
            loras=prompts.uses["lora"],
            embeddings=prompts.uses["embedding"],
            **found,
            **self.sampling(),
            num_images=count,
            seed=max(body.seed, 0),
            model=self.model,
            vae=find_vae(self.options.sd_vae, self.catalog),
            controls=tuple(use for use, _ in self.units),
            **{side: getattr(body, side) for side in ("width", "height") if self.uses_side(side)},
        )

    def uses_side(self, side: str) -> bool:
        """Whether the width or the height counts: it may be the model's own where the result has the image's size."""
        return not self.body.paints_masked_area_alone or side in self.body.model_fields_set

    def sampling(self) -> dict[str, Any]:
        """Return the settings of the sampler and the scheduler that were sent. Raises InvalidRequest for a sampler that
        is not listed."""
        body, found = self.body, dict[str, str | None]()
        sent = body.sampler_name or (body.sampler_index if "sampler_index" in body.model_fields_set else "")
        label = ""
        if sent:
            name, label = find_sampler(sent)
            found = WEB_UI_SAMPLERS[name].settings
            if self.family and found["scheduler"] not in self.family.schedulers:
                field = "sampler_name" if body.sampler_name else "sampler_index"
                self.notes.ignore(
                    field, f"models of the family {self.family.name} do not run {name}; their own was used."
                )
                found = {}
        scheduler = find_scheduler(body.scheduler or label or "Automatic")
        if scheduler is None:
            self.notes.ignore("scheduler", f"{body.scheduler[:60]} does not exist here; the model's own was used.")
        return {**found, "use_karras_sigmas": SIGMAS[scheduler or "Automatic"]}

    def read_units(self) -> list[tuple[ControlUse, str]]:
        """Return the ControlNets of the request, each with its image as sent; empty without one."""
        scripts = {name.lower(): value for name, value in self.body.alwayson_scripts.items()}
        args = scripts["controlnet"].get("args") if isinstance(scripts.get("controlnet"), dict) else None
        entries = args if isinstance(args, list) else []
        sent = [fastapi.validate(ControlUnit, entry) for entry in entries if isinstance(entry, dict)]
        found = []
        for unit in filter(lambda unit: unit.enabled, sent):
            if unit.model in UNSET:
                self.notes.ignore(CONTROLNET, "a unit names no model.")
                continue
            slug = first_found(unit.model, self.find_controlnet)
            use = ControlUse(slug, strength=unit.weight, start=unit.guidance_start, end=unit.guidance_end)
            found.append((use, self.image_of(unit)))
            self.notes.ignored.extend([f"{CONTROLNET}.{shown_name(name)}" for name in unit.fields_without_effect()])
        if found:
            self.sent |= {CONTROLNET, f"{CONTROLNET}.image"}
        return found

    def find_controlnet(self, name: str) -> str:
        return self.catalog.find_adapter(name, Kind.CONTROLNET, CONTROLNET).slug

    def image_of(self, unit: ControlUnit) -> str:
        """Return the control image as sent; empty where it is computed from the source image."""
        sources = self.body.init_images[:1] if isinstance(self.body, ImageBody) else []
        if not unit.preprocesses or not unit.own_image:
            return unit.own_image
        if any(bare(unit.own_image) == bare(source) for source in sources):
            return ""
        self.notes.ignore(
            f"{CONTROLNET}.module", f"{unit.module[:60]} computes from init_images alone; the image was used."
        )
        return unit.own_image

    def control_images(self) -> dict[str, DecodedImage]:
        names = dict(zip(CONTROLS.images, (image for _, image in self.units), strict=False))
        return {name: read_field(CONTROLNET, image, self.request) for name, image in names.items() if image}

    def image_request(self, body: ImageBody, settings: PaintSettings) -> InpaintRequest:
        """Return the request for the first image; without a mask all of it is repainted."""
        if not body.init_images:
            raise InvalidRequest("Init image not found", code="init_image_missing", field="init_images")
        if len(body.init_images) > 1:
            self.notes.ignore("init_images", "only its first image was painted.")
        image = read_field("init_images", body.init_images[0], self.request)
        mask = None
        if body.mask:
            decoded = read_field("mask", body.mask, self.request, role=NAMED_MASK)
            self.notes.warnings.extend(decoded.warnings)
            note = masks.scaling_note(decoded.image.size, image.image.size)
            self.notes.warnings.extend([note] if note else [])
            mask = masks.scale_mask(mask_of(decoded.image, body), image.image.size)
        if not body.paints_masked_area_alone:
            image, mask = self.reshaped(image, mask, body)
        blurs = {body.mask_blur} if body.mask_blur is not None else {body.mask_blur_x, body.mask_blur_y}
        if len(blurs) > 1:
            self.notes.warnings.append(f"mask_blur is the same in both directions; {max(blurs)} was used.")
        padding = body.inpaint_full_res_padding if "inpaint_full_res_padding" in body.model_fields_set else None
        settings = replace(
            settings,
            strength=body.denoising_strength,
            mask_blur=max(blurs) if body.mask else 0,
            masked_content=FILLS[body.inpainting_fill] if body.mask else None,
            only_masked_padding=padding if body.paints_masked_area_alone else WHOLE_IMAGE,
        )
        grey = None if mask is None else DecodedImage.of_mask(mask)
        inpaint_request, notes = build_service_request(image, grey, settings, self.control_images())
        self.notes.warnings.extend(notes)
        return inpaint_request

    def reshaped(self, image: DecodedImage, mask: Mask | None, body: ImageBody) -> tuple[DecodedImage, Mask | None]:
        """Return the image and the mask at the size of the result."""
        if body.resize_mode is ResizeMode.LATENT:
            self.notes.ignore("resize_mode", "the image was scaled, not its latents.")

        def scale(pixels: Pixels, size: Size) -> Pixels:
            return resize(replace(image.image, pixels=pixels), size).pixels

        pixels = fit(image.image.pixels, body.size, body.resize_mode, scale)
        scaled = replace(image, image=replace(image.image, pixels=pixels))
        return scaled, None if mask is None else fit(mask, body.size, body.resize_mode, masks.scale_mask)


def bare(image: str) -> str:
    """Return the base64 of a data URL, which one client sends beside the same image without."""
    return image.partition(";base64,")[2] or image


def refuse_scripts(body: TextBody) -> None:
    """Raise InvalidRequest for the scripts of the service, none of which exists here beside that of ControlNet."""
    if body.script_name:
        raise InvalidRequest(f"Script '{body.script_name}' not found", code="script_not_found", field="script_name")
    for name in body.alwayson_scripts:
        if name.lower() != "controlnet":
            message = f"always on script {name[:100]} not found"
            raise InvalidRequest(message, code="script_not_found", field="alwayson_scripts")
