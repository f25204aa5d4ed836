"""A request of ModelsLab's API -> `InpaintRequest`: to paint, or to enlarge."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from django.conf import settings as site
from django.utils import timezone
from rest_framework.request import Request

from inpainting import families
from inpainting.api.compat.modelslab.backgrounds import without_background
from inpainting.api.compat.modelslab.body import (
    FORMS,
    LORA_STRENGTHS,
    NAME,
    BackgroundForm,
    OutpaintForm,
    PaintForm,
    RequestForm,
    SuperResolutionForm,
    check_between,
)
from inpainting.api.compat.modelslab.views import TEMPORARY
from inpainting.api.dialect import (
    blank_request,
    build_scaled_request,
    build_service_request,
    closest_model,
    enlarging_request,
    origin_of,
)
from inpainting.api.images import URL, ImageRole, SentImage, read_image
from inpainting.api.media.links import ending_key
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Kind
from inpainting.core.adapter_uses import MAX_PROMPT_CHARACTERS
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.outpainting import Outpaint
from inpainting.core.request import InpaintRequest, LoraUse, PaintSettings
from inpainting.core.settings_table import ALGORITHM_SPELLINGS
from inpainting.core.upscaling import Upscale
from inpainting.core.validation import abbreviate
from inpainting.engines import registry
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.upscaling import UPSCALE, find_upscaler
from inpainting.families.declaration import ModelFamily
from inpainting.generations.submit import Submission
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS
from inpainting.planning import planner

T = TypeVar("T")
ENHANCEMENTS = ("highly detailed", "sharp focus", "natural lighting", "high quality")
"""Words that `enhance_prompt` adds to a prompt."""
ANY_UPSCALER = "ultra_resolution"
REFERENCE = "ip_adapter_image"
IMAGES = ("init_image", "image", "mask_image", REFERENCE)
RETURNED_LINKS = ("init_image", "mask_image")
RETURNED_FIELDS = ("model_id", "track_id", "clip_skip", "enhance_prompt", "base64", "temp")
"""Fields that later responses contain or depend on."""
FIELD_NAME = re.compile(r"[A-Za-z]\w{0,39}", re.ASCII)
MAX_LISTED_FIELDS = 20


def read_request(
    route: str, sent: Mapping[str, Any], request: Request, *, fetch_until: float | None
) -> tuple[InpaintRequest, Submission]:
    """Read and check the fields, then the images.

    route: of FORMS. sent: the body without empty fields and without the key.

    Raises InvalidRequest.
    """
    sent, choices = with_one_image(sent)
    form = FORMS[route].read({"num_inference_steps": sent["steps"], **sent} if "steps" in sent else sent)
    catalog, reading = Catalog(), FormTranslation(form, sent, request)
    settings = reading.settings(catalog)
    values = reading.values
    read = partial(read_image, request=request, fetch_until=fetch_until)
    inpaint_request, notes = reading.images(settings, read, catalog)
    return inpaint_request, Submission(
        engine=registry.AUTO if inpaint_request.enlarged_to is None else UPSCALE.name,
        warnings=(*choices, *reading.warnings, *notes),
        webhook_url=values.get("webhook", ""),
        webhook_field="webhook",
        expires_at=timezone.now() + TEMPORARY if values["temp"] else None,
        sent_fields=tuple(sent),
        ignored_fields=tuple(reading.ignored),
        service_data={
            "origin": origin_of(request),
            "ending_key": ending_key(request),
            **{name: values.get(name) for name in RETURNED_FIELDS},
            **{name: link_in(sent.get(name)) for name in RETURNED_LINKS},
        },
        catalog=catalog,
    )


def with_one_image(sent: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Return the body with one image in `init_image`, which may be a list, as in version 7; and warnings."""
    images = sent.get("init_image")
    if not isinstance(images, list) or not images:
        return sent, []
    warnings = [f"init_image has {len(images)} images; the first was used."] if len(images) > 1 else []
    return {**sent, "init_image": images[0]}, warnings


class FormTranslation:
    """The request of validated values: its settings and images, with warnings and ignored fields."""

    def __init__(self, form: RequestForm, sent: Mapping[str, Any], request: Request) -> None:
        self.form, self.values, self.sent, self.request = form, form.sent(), sent, request
        known = {*type(form).model_fields, *(["steps"] if isinstance(form, PaintForm) else [])}
        unknown = [name for name in sent if name not in known and FIELD_NAME.fullmatch(name)]
        self.ignored = unknown[:MAX_LISTED_FIELDS]
        self.warnings: list[str] = []

    def settings(self, catalog: Catalog) -> PaintSettings:
        """Return the settings. Raises InvalidRequest for a model, LoRA, VAE or IP-Adapter that is unknown or not
        installed."""
        if isinstance(self.form, PaintForm):
            return self.paint_settings(catalog, max_steps=self.form.max_steps)
        if isinstance(self.form, SuperResolutionForm):
            self.ignored += ["face_enhance"] if self.form.face_enhance else []
            return PaintSettings(model=self.upscaler(catalog))
        return PaintSettings()

    def paint_settings(self, catalog: Catalog, *, max_steps: int) -> PaintSettings:
        values, slug = self.values, self.model(catalog)
        row = catalog.chosen_row(slug)
        family = None if row is None else families.get(row.family)
        algorithm = values.get("algorithm_type")
        return PaintSettings(
            prompt=enhance(values["prompt"]) if values["enhance_prompt"] else values["prompt"],
            negative_prompt=values["negative_prompt"],
            num_images=values["samples"],
            seed=values["seed"],
            steps=self.steps(max_steps),
            guidance_scale=values["guidance_scale"],
            strength=values.get("strength"),
            scheduler=self.scheduler(family),
            use_karras_sigmas=values["use_karras_sigmas"],
            algorithm_type=None if algorithm is None else ALGORITHM_SPELLINGS.get(algorithm, algorithm),
            clip_skip=values["clip_skip"] if family is None else family.clip_skip_of_layer(values["clip_skip"]),
            model=slug,
            loras=self.loras(catalog),
            vae=self.vae(catalog),
            safety_checker=values.get("safety_checker"),
            safety_checker_type=values.get("safety_checker_type"),
            **self.ip_adapter(catalog),
        )

    def model(self, catalog: Catalog) -> str | None:
        """Return the slug of the model that `model_id` stands for; None for the server's choice."""
        if "model_id" not in self.values:
            return None
        name = self.values["model_id"]
        find = partial(closest_model, catalog, name, service=NAME, field="model_id", warnings=self.warnings)
        slug = find_named("Model", name, "model_id", find)
        self.ignored += ["model_id"] * (slug is None)
        return slug

    def upscaler(self, catalog: Catalog) -> str | None:
        """Return the name of the upscaler that `model_id` stands for; None for the server's choice, also where it is
        not installed."""
        name = self.values.get("model_id", ANY_UPSCALER)
        if name == ANY_UPSCALER:
            return None
        try:
            return find_named("Model", name, "model_id", partial(find_upscaler, name, catalog))
        except InvalidRequest as error:
            if error.code != "model_unavailable" and NAME not in site.COMPAT_ANY_MODEL:
                raise
            self.ignored.append("model_id")
            return None

    def steps(self, highest: int) -> int:
        steps: int = self.values["num_inference_steps"]
        names = [name for name in ("num_inference_steps", "steps") if name in self.sent]
        if steps > highest and names:
            self.warnings.append(f"{names[0]} was {abbreviate(steps)}; {highest} was used.")
        self.ignored += names[1:]
        return min(steps, highest)

    def scheduler(self, family: ModelFamily | None) -> str | None:
        name: str | None = self.values.get("scheduler")
        if name is None or family is None or name in family.schedulers:
            return name
        self.ignored.append("scheduler")
        self.warnings.append(f"Models of the family {family.name} do not support {name}; the model's own was used.")
        return None

    def loras(self, catalog: Catalog) -> tuple[LoraUse, ...]:
        names, strengths = split(self.values.get("lora_model")), split(self.values.get("lora_strength"))
        if len(strengths) == 1:
            strengths *= len(names)
        uses = []
        for index, name in enumerate(names):
            spec = find_named("LoRA", name, "lora_model", partial(catalog.find_lora, name))
            try:
                weight = float(strengths[index]) if index < len(strengths) else 1.0
            except ValueError as error:
                message = "lora_strength must be numbers, separated by commas"
                raise InvalidRequest(message, field="lora_strength") from error
            check_between("lora_strength", weight, *LORA_STRENGTHS)
            uses.append(LoraUse(spec.slug, weight))
        return tuple(uses)

    def vae(self, catalog: Catalog) -> str | None:
        names = split(self.values.get("vae"))
        finds = [partial(catalog.find_adapter, name, Kind.VAE, "vae") for name in names]
        slugs = [find_named("VAE", name, "vae", find).slug for name, find in zip(names, finds, strict=True)]
        if len(slugs) > 1:
            self.warnings.append(f"A model has one VAE; {names[0]} was used.")
        return slugs[0] if slugs else None

    def ip_adapter(self, catalog: Catalog) -> dict[str, Any]:
        name = self.values.get("ip_adapter_id")
        if name is None:
            self.ignored += [field for field in ("ip_adapter_image", "ip_adapter_scale") if field in self.values]
            return {}
        find = partial(catalog.find_adapter, name, Kind.IP_ADAPTER, "ip_adapter_id")
        spec = find_named("IP-Adapter", name, "ip_adapter_id", find)
        if "ip_adapter_image" not in self.values:
            raise InvalidRequest("ip_adapter_image is required", code="field_missing", field="ip_adapter_image")
        return {"ip_adapter": spec.slug, "ip_adapter_scale": self.values.get("ip_adapter_scale")}

    def images(
        self, settings: PaintSettings, read: Callable[[SentImage, ImageRole], DecodedImage], catalog: Catalog
    ) -> tuple[InpaintRequest, tuple[str, ...]]:
        """Return the request with its images, and warnings about them."""
        names = [name for name in IMAGES if name in self.values and (name != REFERENCE or settings.ip_adapter)]
        found = {name: read(SentImage(name, self.values[name]), role_of(name)) for name in names}
        references = {name: found[name] for name in names if name == REFERENCE}
        source = found.get("init_image") or found.get("image")
        if source is None:
            return self.text_request(settings, references)
        if isinstance(self.form, SuperResolutionForm):
            upscaler = PaintSettings(model=settings.model)
            enlarged = enlarging_request(source.image, Upscale(scale=self.form.scale), upscaler)
            return enlarged, tuple(source.warnings)
        if isinstance(self.form, BackgroundForm):
            return without_background(self.form, source, settings, self.request)
        if isinstance(self.form, OutpaintForm):
            return self.outpaint_request(source, self.with_overlap(settings, source.image.size, catalog), references)
        own = source.image.size
        size = Size(self.values.get("width", own.width), self.values.get("height", own.height))
        return build_scaled_request(source, found.get("mask_image"), settings, size, references)

    def text_request(
        self, settings: PaintSettings, references: Mapping[str, DecodedImage]
    ) -> tuple[InpaintRequest, tuple[str, ...]]:
        size = Size(self.values["width"], self.values["height"])
        return blank_request(size, settings, references)

    def outpaint_request(
        self, source: DecodedImage, settings: PaintSettings, references: Mapping[str, DecodedImage]
    ) -> tuple[InpaintRequest, tuple[str, ...]]:
        """Return the request for a canvas of width x height with the image in its middle."""
        return build_service_request(source, None, settings, references, self.canvas, may_be_unchanged=True)

    @property
    def canvas(self) -> Outpaint:
        return Outpaint(size="{width}x{height}".format(**self.values))

    def with_overlap(self, settings: PaintSettings, image: Size, catalog: Catalog) -> PaintSettings:
        """Return the settings by which what is painted reaches into the image and fades in there.

        For diffusion alone: other engines continue what is kept, and are better the more of it there is.
        """
        wanted = self.values["overlap_width"]
        if planner(catalog).choose(requested=settings).engine is not DIFFUSION:
            self.ignored += ["overlap_width"] * ("overlap_width" in self.sent)
            return settings
        overlap = min(wanted, self.canvas.placement(image).box.size.shorter // 4)
        if overlap < wanted:
            note = f"overlap_width was {wanted}; {overlap} was used, a quarter of the image's shorter side."
            self.warnings.append(note)
        return replace(settings, mask_grow=overlap, mask_blur=overlap)


def role_of(name: str) -> ImageRole:
    return ImageRole(code_prefix="mask" if name == "mask_image" else "image", error_prefix=f"Invalid {name}")


def link_in(value: Any) -> str:
    """Return the link to an image that was sent; empty for an image in base64."""
    is_link = isinstance(value, str) and len(value) <= MAX_URL_CHARACTERS and URL.match(value.strip())
    return value.strip() if is_link else ""


def split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def enhance(prompt: str) -> str:
    """Return the prompt with those of ENHANCEMENTS that it lacks; an empty one stays empty."""
    words = [words for words in ENHANCEMENTS if words not in prompt.lower()]
    longer = ", ".join([prompt.rstrip(" ,."), *words])
    return longer if prompt.strip() and len(longer) <= MAX_PROMPT_CHARACTERS else prompt


def find_named(what: str, name: str, field: str, find: Callable[[], T]) -> T:
    """Return the result of `find`. Raises its InvalidRequest with a message of this service."""
    try:
        return find()
    except InvalidRequest as error:
        raise InvalidRequest(f"{what} not found: {name[:200]}", code=error.code, field=field) from error
