"""A request of ModelsLab's API -> `InpaintRequest`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from django.utils import timezone
from rest_framework.request import Request

from inpainting import families
from inpainting.api.compat.modelslab.body import MAX_STEPS, RANGES, InpaintForm
from inpainting.api.compat.modelslab.views import TEMPORARY
from inpainting.api.dialect import build_scaled_request, origin_of
from inpainting.api.images import ImageRole, SentImage, read_image
from inpainting.api.media.links import ending_key
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import Kind
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, LoraUse, PaintSettings
from inpainting.core.settings_table import ALGORITHM_SPELLINGS, MAX_PROMPT_CHARACTERS
from inpainting.core.validation import abbreviate, check_range
from inpainting.families.declaration import ModelFamily
from inpainting.generations.submit import Submission

T = TypeVar("T")
ENHANCEMENTS = ("highly detailed", "sharp focus", "natural lighting", "high quality")
"""Words that `enhance_prompt` adds to a prompt."""
RETURNED_FIELDS = ("model_id", "track_id", "clip_skip", "enhance_prompt", "base64", "temp")
"""Fields that later responses contain or depend on."""
FIELD_NAME = re.compile(r"[A-Za-z]\w{0,39}", re.ASCII)
MAX_LISTED_FIELDS = 20


def read_request(
    sent: Mapping[str, Any], request: Request, *, fetch_until: float | None
) -> tuple[InpaintRequest, Submission]:
    """Read and check the fields, then the images.

    sent: the body without empty fields and without the key.

    Raises InvalidRequest.
    """
    form = InpaintForm.read({"num_inference_steps": sent["steps"], **sent} if "steps" in sent else sent)
    catalog, reading = Catalog(), FormTranslation(form.sent(), sent)
    settings = reading.settings(catalog)
    values = reading.values
    read = partial(read_image, request=request, fetch_until=fetch_until)
    inpaint_request, notes = reading.images(settings, read)
    return inpaint_request, Submission(
        warnings=(*reading.warnings, *notes),
        webhook_url=values.get("webhook", ""),
        webhook_field="webhook",
        expires_at=timezone.now() + TEMPORARY if values["temp"] else None,
        sent_fields=tuple(sent),
        ignored_fields=tuple(reading.ignored),
        service_data={
            "origin": origin_of(request),
            "ending_key": ending_key(request),
            **{name: values.get(name) for name in RETURNED_FIELDS},
        },
        catalog=catalog,
    )


class FormTranslation:
    """The request of validated values: its settings and images, with warnings and ignored fields."""

    def __init__(self, values: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
        self.values, self.sent = values, sent
        known = {*InpaintForm.model_fields, "steps"}
        unknown = [name for name in sent if name not in known and FIELD_NAME.fullmatch(name)]
        self.ignored = unknown[:MAX_LISTED_FIELDS]
        self.warnings: list[str] = []

    def settings(self, catalog: Catalog) -> PaintSettings:
        """Return the settings. Raises InvalidRequest for a model, LoRA, VAE or IP-Adapter that is unknown or not
        installed."""
        values = self.values
        name = values["model_id"]
        slug = find_named("Model", name, "model_id", partial(catalog.closest_installed, name))
        self.ignored += ["model_id"] * (slug is None)
        row = catalog.default() if slug is None else catalog.find_row(slug)
        family = None if row is None else families.get(row.family)
        algorithm = values.get("algorithm_type")
        return PaintSettings(
            prompt=enhance(values["prompt"]) if values["enhance_prompt"] else values["prompt"],
            negative_prompt=values["negative_prompt"],
            num_images=values["samples"],
            seed=values["seed"],
            steps=self.steps(),
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

    def steps(self) -> int:
        steps: int = self.values["num_inference_steps"]
        names = [name for name in ("num_inference_steps", "steps") if name in self.sent]
        if steps > MAX_STEPS and names:
            self.warnings.append(f"{names[0]} was {abbreviate(steps)}; {MAX_STEPS} was used.")
        self.ignored += names[1:]
        return min(steps, MAX_STEPS)

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
            check_range("lora_strength", weight, *RANGES["lora_strength"])
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
        self, settings: PaintSettings, read: Callable[[SentImage, ImageRole], DecodedImage]
    ) -> tuple[InpaintRequest, tuple[str, ...]]:
        """Return the request with its images, scaled to width x height, and warnings about them."""
        names = ("init_image", "mask_image", *(("ip_adapter_image",) if settings.ip_adapter else ()))
        roles = {name: "mask" if name == "mask_image" else "image" for name in names}
        source, mask, *references = [
            read(SentImage(name, self.values[name]), ImageRole(code_prefix=role, error_prefix=f"Invalid {name}"))
            for name, role in roles.items()
        ]
        size = Size(self.values["width"], self.values["height"])
        return build_scaled_request(source, mask, settings, size, dict(zip(names[2:], references, strict=True)))


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
