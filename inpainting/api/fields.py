"""The fields of the native API: their names, types and ranges, and what becomes of a value outside its range."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inpainting.catalog.rows.inference_model import InferenceModel, resolve_model
from inpainting.catalog.specs import USUAL_MOST_GUIDANCE, Family, most_guidance
from inpainting.core.errors import InvalidRequest
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import LoraUse, PaintSettings
from inpainting.core.settings_table import (
    ALL_SCHEDULERS,
    LORA_WEIGHTS,
    MAX_EMBEDDINGS,
    MAX_LORAS,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    PRESETS,
    RANGES,
    SAFETY_TYPES,
)
from inpainting.core.validation import MAX_SLUG_CHARACTERS, SLUG, abbreviate, check_range
from inpainting.engines import registry
from inpainting.engines.diffusion.engine import PARTS
from inpainting.models.webhooks import MAX_URL_CHARACTERS

PUBLIC_NAMES = {"strength": "denoising_strength"}
"""Settings whose name in this API differs from the house's."""
HOUSE_NAMES = {public: house for house, public in PUBLIC_NAMES.items()}
ALIASES = {"cfg_scale": "guidance_scale", "batch_size": "num_images"}
LEGACY = {"sampler_name": "scheduler", "model_name": "model"}
"""Fields that other services' clients choose those settings by."""
SAMPLERS = {
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "dpm_2": "KDPM2DiscreteScheduler",
    "dpm_2_ancestral": "KDPM2AncestralDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_sde": "DPMSolverSinglestepScheduler",
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "deis": "DEISMultistepScheduler",
    "ipndm": "IPNDMScheduler",
    "lcm": "LCMScheduler",
    "uni_pc": "UniPCMultistepScheduler",
}
"""ComfyUI's names, which the published front end sends as `sampler_name`."""
ALGORITHM_SPELLINGS = {"dpmsolver+++": "dpmsolver++"}
"""Another service's names of `algorithm_type`."""
RANDOM = 0
FULL = "full"
"""The preset that is none: what running a draft again asks for."""


def public_names(names: Iterable[str]) -> list[str]:
    """Names of settings as this API has them, in order."""
    return sorted(PUBLIC_NAMES.get(name, name) for name in names)


class Whole(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or (isinstance(data, float) and not data.is_integer()):
            self.fail("invalid")
        return int(in_range(self, super().to_internal_value(data)))


class Number(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool):
            self.fail("invalid")
        try:
            value = super().to_internal_value(data)
        except OverflowError:
            self.fail("invalid")
        if not math.isfinite(value):
            self.fail("invalid")
        return float(in_range(self, value))


LEAST_GUIDANCE, MOST_GUIDANCE = RANGES["guidance_scale"]


@extend_schema_field({"type": "number", "format": "double", "minimum": LEAST_GUIDANCE, "maximum": MOST_GUIDANCE})
class Guidance(Number):
    """How much is too much is known when the model is."""


def in_range(field: Whole | Number, value: float) -> float:
    """A value between the field's `min_value` and `max_value`; outside, it is clamped with a warning, or refused."""
    lowest = -math.inf if field.min_value is None else field.min_value
    highest = math.inf if field.max_value is None else field.max_value
    if not field.context.get("clamp"):
        check_range(str(field.field_name), value, lowest, highest)
        return value
    nearest = min(max(value, lowest), highest)
    if nearest != value:
        field.context["warnings"].append(f"{field.field_name} was {abbreviate(value)}; {nearest} was used.")
    return nearest


class Seed(Whole):
    """0 or less is random, drawn when it is accepted; where numbers are clamped, so is what is no number."""

    def to_internal_value(self, data: Any) -> int:
        try:
            return max(super().to_internal_value(data), RANDOM)
        except serializers.ValidationError:
            if not self.context.get("clamp"):
                raise
            return RANDOM


class Text(serializers.CharField):
    """Text as it is: numbers are none, nothing is cut off, and what is too long is refused with its length."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None and len(data) > self.max_length:
            raise InvalidRequest(
                f"{self.field_name} has {len(data)} characters; at most {self.max_length} are allowed.",
                code="field_out_of_range",
                field=self.field_name,
                limit=self.max_length,
                actual=len(data),
            )
        return str(super().to_internal_value(data))


def whole(house_name: str, **kwargs: Any) -> Whole:
    lowest, highest = RANGES[house_name]
    return Whole(min_value=int(lowest), max_value=int(highest), required=False, **kwargs)


def number(house_name: str, **kwargs: Any) -> Number:
    lowest, highest = RANGES[house_name]
    return Number(min_value=lowest, max_value=highest, required=False, **kwargs)


def words(**kwargs: Any) -> Text:
    return Text(allow_blank=True, trim_whitespace=False, max_length=MAX_PROMPT_CHARACTERS, **kwargs)


SLUG_SCHEMA = {"type": "string", "maxLength": MAX_SLUG_CHARACTERS, "pattern": SLUG.replace("\\Z", "$")}
"""`$` is the end of a text in the schema's dialect of patterns, where there is no `\\Z`."""
LORAS_SCHEMA = {
    "type": "array",
    "maxItems": MAX_LORAS,
    "items": {
        "type": "object",
        "required": ["slug"],
        "additionalProperties": False,
        "properties": {
            "slug": SLUG_SCHEMA,
            "weight": {"type": "number", "minimum": LORA_WEIGHTS[0], "maximum": LORA_WEIGHTS[1], "default": 1},
        },
    },
}


@extend_schema_field(LORAS_SCHEMA)
class Loras(serializers.Field):
    """A list of objects of a slug and a weight; in forms the same as JSON text."""

    def to_internal_value(self, data: Any) -> tuple[LoraUse, ...]:
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError) as error:
                raise InvalidRequest(f"{self.field_name} is no JSON.", field=self.field_name) from error
        if not isinstance(data, list):
            raise InvalidRequest(f"{self.field_name} must be a list.", field=self.field_name)
        return tuple(self.use(entry, f"{self.field_name}[{index}]") for index, entry in enumerate(data))

    def use(self, entry: object, place: str) -> LoraUse:
        if not isinstance(entry, dict) or not {"slug"} <= entry.keys() <= {"slug", "weight"}:
            raise InvalidRequest(f"{place} must be an object of a slug and a weight.", field=self.field_name)
        slug, weight = entry["slug"], entry.get("weight", 1.0)
        if not isinstance(slug, str):
            raise InvalidRequest(f"{place}.slug must be a text.", field=self.field_name)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(in_float(weight)):
            raise InvalidRequest(f"{place}.weight must be a number.", field=self.field_name)
        lowest, highest = LORA_WEIGHTS
        nearest = min(max(float(weight), lowest), highest)
        if nearest != weight and self.context.get("clamp"):
            self.context["warnings"].append(f"{place}.weight was {abbreviate(weight)}; {nearest} was used.")
            weight = nearest
        return LoraUse(slug, float(weight))


@extend_schema_field({"type": "array", "maxItems": MAX_EMBEDDINGS, "uniqueItems": True, "items": SLUG_SCHEMA})
class Slugs(serializers.Field):
    """A list of names; in forms the same as JSON text, or the field once for each."""

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        if isinstance(data, str) and not data.lstrip().startswith("["):
            data = [data]
        elif isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError) as error:
                raise InvalidRequest(f"{self.field_name} is no JSON.", field=self.field_name) from error
        if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
            raise InvalidRequest(f"{self.field_name} must be a list of texts.", field=self.field_name)
        return tuple(data)


class PartName(Text):
    """The name of a part; null, or in forms nothing, is none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "allow_null": True, "max_length": 200, **kwargs})

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation(None if data == "" else data)


def in_float(number: float) -> float:
    """A whole number too long for a float is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


class ChangesForm(serializers.Serializer):
    """Every setting; what is not sent is not there."""

    prompt = words(required=False, help_text="What should appear in the repainted area.")
    negative_prompt = words(required=False, help_text="What should not appear.")
    denoising_strength = number("strength", help_text="0 keeps what was there, 1 invents freely.")
    seed = Seed(max_value=MAX_SEED, required=False, help_text="0 or less: a random one, which the metadata names.")
    num_images = whole("num_images", help_text="Results to paint. Alias: batch_size.")
    steps = whole("steps", help_text="Steps of denoising; the engine's own number unless sent.")
    guidance_scale = Guidance(
        min_value=LEAST_GUIDANCE,
        required=False,
        help_text=f"How closely the prompt is followed; most models take up to {USUAL_MOST_GUIDANCE:g}. "
        "Alias: cfg_scale.",
    )
    guidance_start = number("guidance_start", help_text="The share of the steps from which guidance is applied.")
    guidance_end = number("guidance_end", help_text="The share of the steps up to which it is; after start.")
    scheduler = Text(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text=f"One of {', '.join(ALL_SCHEDULERS)}; others fall back.",
    )
    sampler_name = Text(
        required=False, allow_blank=True, max_length=200, help_text=f"One of {', '.join(SAMPLERS)}; others fall back."
    )
    clip_skip = whole("clip_skip", help_text="Which layer of the text encoder is read, from its end; 1 is the last.")
    use_karras_sigmas = serializers.BooleanField(
        required=False, allow_null=True, help_text="Noise levels spaced as by Karras et al. 2022, where it can."
    )
    algorithm_type = serializers.ChoiceField(
        ("none", "dpmsolver++", "dpmsolver+++", "sde-dpmsolver++"),
        required=False,
        help_text="Of the DPM solvers; changes nothing for others.",
    )
    width = whole("width", help_text="Pixels at which the engine works; the result keeps the picture's size.")
    height = whole("height", help_text="See width.")
    only_masked_padding = whole("only_masked_padding", help_text="Pixels that the engine sees around the mask.")
    mask_grow = whole("mask_grow", help_text="Pixels by which the mask grows; negative shrinks it.")
    mask_blur = whole("mask_blur", help_text="Pixels of the fade inward from the mask's edge.")
    loras = Loras(
        required=False,
        help_text="LoRAs from /api/models and their weights, for models of their family; in forms as JSON text.",
    )
    preset = serializers.ChoiceField(
        (FULL, *PRESETS),
        required=False,
        help_text="draft: a few LCM steps and a tiny VAE, rough and fast; steps and such that are sent beside it count "
        "more. full: none, as where nothing is sent.",
    )
    step_down = serializers.BooleanField(
        required=False,
        help_text="Where the device's memory is too small, a smaller engine may paint; the metadata says so.",
    )
    safety_checker = serializers.BooleanField(
        required=False,
        allow_null=True,
        help_text="Look at the result before anybody sees it, and hide what is found. True turns it on; false does not "
        "turn it off where the site has it on, which a warning says. No previews are sent meanwhile.",
    )
    safety_checker_type = serializers.ChoiceField(
        SAFETY_TYPES,
        required=False,
        help_text="How what is found is hidden: what was painted is blurred, pixelated, made black, or grey with a "
        "sentence. Unless sent, the site's, else sensitive_content_text; one that hides less than the site's is not "
        "used, which a warning says.",
    )
    embeddings = Slugs(
        required=False,
        help_text="Embeddings from /api/models: <slug> in the prompts stands for one; in forms as JSON text, or the "
        "field once for each.",
    )
    vae = PartName(help_text="A VAE from /api/models in place of the model's own, for models of its family.")
    control = PartName(
        help_text="A ControlNet from /api/models, which guides the painting by control_image or by the picture itself."
    )
    control_strength = number("control_strength", help_text="How strongly it guides; 1 unless sent.")
    control_start = number("control_start", help_text="From which share of the steps on it guides; 0 is the first.")
    control_end = number("control_end", help_text="Until which share of the steps it guides; 1 is the last.")
    ip_adapter = PartName(
        help_text="An IP-Adapter from /api/models, by which ip_adapter_image is a prompt in pictures."
    )
    ip_adapter_scale = number("ip_adapter_scale", help_text="How strongly ip_adapter_image is heard; 1 unless sent.")
    engine = Text(required=False, max_length=60, help_text="A name from /api/engines/, or auto.")
    model = Text(
        required=False, max_length=200, help_text="An id from /api/models, or auto; an unknown one is refused."
    )
    model_name = Text(
        required=False, allow_blank=True, max_length=200, help_text="Like model, but an unknown one falls back."
    )
    webhook_url = Text(
        required=False,
        allow_blank=True,
        max_length=MAX_URL_CHARACTERS,
        help_text="Told when it has ended: an http or https URL of a public address. Running again inherits none.",
    )


class Img2ImgForm(ChangesForm):
    prompt = words(help_text="What should appear in the repainted area.")
    mask_polarity = serializers.ChoiceField(
        [polarity.value for polarity in MaskPolarity],
        default=MaskPolarity.BLACK_REPAINTS.value,
        help_text="Which part of the mask is repainted.",
    )


def checked(
    form: type[serializers.Serializer], fields: Mapping[str, Any], *, clamp: bool
) -> tuple[dict[str, Any], list[str]]:
    """The form's values under their own names, and warnings about what was clamped or fell back.

    Raises DRF's ValidationError, or InvalidRequest with the limit where a value is outside its range.
    """
    named = {ALIASES[name]: value for name, value in fields.items() if name in ALIASES} | dict(fields)
    warnings: list[str] = []
    serializer = form(data=named, context={"clamp": clamp, "warnings": warnings})
    serializer.is_valid(raise_exception=True)
    values = fall_back(dict(serializer.validated_data), warnings)
    asked = values.get("guidance_scale", 0.0)
    if clamp and asked > USUAL_MOST_GUIDANCE:
        values["guidance_scale"] = nearest = min(asked, taken_guidance(values.get("model")))
        if nearest != asked:
            warnings.append(f"guidance_scale was {asked}; {nearest} was used.")
    return values, warnings


def fall_back(values: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Names of other services' samplers and models -> ours, or None, the engine's own choice, with a warning.

    Parts must be known and installed, whoever paints: raises InvalidRequest otherwise.
    """
    scheduler, sampler = values.pop("scheduler", None), values.pop("sampler_name", None)
    known = [name for name in (scheduler, sampler) if name in ALL_SCHEDULERS]
    chosen = known[0] if known else SAMPLERS.get(sampler or "")
    if (scheduler, sampler) != (None, None):
        values["scheduler"] = chosen
    for name, value in (("scheduler", scheduler), ("sampler_name", sampler)):
        if value and value not in ALL_SCHEDULERS and value not in SAMPLERS:
            warnings.append(f"{name} “{value}” is not known here; {chosen or 'the engine’s own'} was used.")
    if values.get("algorithm_type") in ALGORITHM_SPELLINGS:
        values["algorithm_type"] = ALGORITHM_SPELLINGS[values["algorithm_type"]]
    for name, kind in PARTS.items():
        if name in values:
            values[name] = InferenceModel.find_part(values[name], kind, field=name).slug if values[name] else None
    model, legacy = values.pop("model", None), values.pop("model_name", None)
    if (model, legacy) != (None, None):
        values["model"] = chosen_model(model, legacy, warnings)
    return values


def chosen_model(name: str | None, legacy: str | None, warnings: list[str]) -> str | None:
    """The slug of the model that is meant; None: the engine's own.

    `model` must be known and installed: raises InvalidRequest otherwise. Where `model_name` is not, which other
    services' clients fill by themselves, the engine's own is used with a warning.
    """
    try:
        model = resolve_model(name) or resolve_model(legacy)
        if model is None:
            return None
        model.check_installed()
    except InvalidRequest:
        if name not in (None, "", registry.AUTO):
            raise
        warnings.append(f"The model “{legacy}” is not installed; the engine's own was used.")
        return None
    asked = name if name not in (None, "", registry.AUTO) else legacy
    if asked not in model.names:
        warnings.append(f"The model “{asked}” is not known here; {model.label} was used.")
    return model.slug


def settings_from(values: Mapping[str, Any], start: Mapping[str, Any] = MappingProxyType({})) -> PaintSettings:
    """The values of a form as settings, on top of others by their house names.

    Raises InvalidRequest for more guidance than the model takes.
    """
    named = {HOUSE_NAMES.get(name, name): value for name, value in values.items()}
    named = {name: value for name, value in named.items() if name in PaintSettings.__dataclass_fields__}
    if named.get("preset") == FULL:
        named["preset"] = None
    asked = named.get("guidance_scale") or 0.0
    if asked > USUAL_MOST_GUIDANCE:
        model = named.get("model", start.get("model"))
        check_range("guidance_scale", asked, LEAST_GUIDANCE, taken_guidance(model))
    kept = {name: value for name, value in start.items() if name not in named}
    return replace(PaintSettings.from_dict(kept), **named)


def without(settings: Mapping[str, Any], empty: Collection[str]) -> dict[str, Any]:
    """Settings by their house names, without those whose fields were sent as nothing: they are taken back."""
    taken_back = {(ALIASES | LEGACY | HOUSE_NAMES).get(name, name) for name in empty}
    return {name: value for name, value in settings.items() if name not in taken_back}


def taken_guidance(model: str | None) -> float:
    """The highest guidance that the model of that slug takes, or the one that is used where none is named."""
    row = resolve_model(model) or InferenceModel.preferred()
    return USUAL_MOST_GUIDANCE if row is None else most_guidance(Family(row.family))
