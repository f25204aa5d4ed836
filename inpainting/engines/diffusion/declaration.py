"""The diffusion engine's declaration, and its resolution of settings: model defaults, presets, LoRAs, adapters.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from inpainting import families
from inpainting.catalog.specs import (
    ADAPTER_LABELS,
    FEW_STEPS,
    ControlImageKind,
    FewSteps,
    Kind,
    LoraKind,
    LoraSpec,
    ModelSpec,
    check_scheduler,
)
from inpainting.core.adapter_uses import ADAPTER_LISTS, AdapterUse, Region
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size, WindowRule
from inpainting.core.request import ControlUse, LoraUse, PaintSettings
from inpainting.core.sentences import every, mark, sentence
from inpainting.core.setting import DIFFUSION as NAME
from inpainting.core.settings_table import FLOW_SCHEDULERS, MAX_LORAS, RANGES, settings_ignored_by
from inpainting.core.validation import check_range
from inpainting.engines.base import EngineDeclaration, ModelCatalog, Queue, Resolution
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

CONTEXT, MIN_CONTEXT = 0.5, 32
MAX_UPSCALING = 4.0
"""Of small masks, where a request has no `max_upscaling`: beyond, the surroundings are too blurred to follow."""

Adapter = TypeVar("Adapter", LoraSpec, ModelSpec)


def resolve(settings: PaintSettings, catalog: ModelCatalog) -> Resolution:
    """Fill in the model's defaults where the settings have none, and look up the adapters.

    Raises InvalidRequest if the model, a LoRA or an adapter is not installed or is of another family, if the preset is
    unavailable, and for a scheduler or guidance scale that models of the family do not support.
    """
    model = catalog.find(settings.model, NAME)
    check_supported(settings, model)
    settings = apply_preset(settings, model, catalog)

    def find_adapter(name: str, kind: Kind, field: str) -> ModelSpec:
        adapter = catalog.find_adapter(name, kind, field)
        owner = families.image_prompt_family(model.family) if kind is Kind.IP_ADAPTER else model.family
        return check_family(adapter, ADAPTER_LABELS[kind], model, owner, code="adapter_unfit", field=field)

    loras = find_loras(settings, model, catalog)
    vae = None if settings.vae is None else find_adapter(settings.vae, Kind.VAE, "vae")

    lists: dict[str, Any] = {}
    named: list[ModelSpec] = []
    fills_hole = False
    for adapters in ADAPTER_LISTS:
        named_by = adapters.setting if getattr(settings, adapters.setting) else adapters.name
        listed = [(use, find_adapter(use.slug, Kind(adapters.kind), named_by)) for use in adapters.uses(settings)]
        uses = tuple(resolved_use(use, spec) for use, spec in listed)
        lists |= {adapters.setting: uses, **adapters.first_settings(uses)}
        named += [spec for _, spec in listed]
        fills_hole |= any(is_inpainting(use, spec) for use, (_, spec) in zip(uses, listed, strict=True))
    embeddings = tuple(find_adapter(name, Kind.EMBEDDING, "embeddings") for name in settings.embeddings)
    sampling = sampling_defaults(settings, model, loras)
    settings = replace(
        settings,
        model=model.slug,
        vae=None if vae is None else vae.slug,
        **lists,
        embeddings=tuple(embedding.slug for embedding in embeddings),
        strength=1.0 if fills_hole and settings.strength is None else model.strength_of(settings),
        max_upscaling=MAX_UPSCALING if settings.max_upscaling is None else settings.max_upscaling,
        steps=sampling.steps if settings.steps is None else settings.steps,
        guidance_scale=first_given(settings.guidance_scale, sampling.guidance_scale, model.guidance_scale),
        scheduler=settings.scheduler or sampling.scheduler,
    )
    resolution = Resolution(
        settings=settings,
        window_rule=window_rule(settings, model),
        model=model,
        loras=loras,
        adapters=tuple({spec.slug: spec for spec in (*named, *([] if vae is None else [vae]))}.values()),
        embeddings=embeddings,
    )
    preprocessors = {kind: catalog.find_preprocessor(kind) for kind in resolution.controls}
    return replace(resolution, preprocessors={kind: specs for kind, specs in preprocessors.items() if specs})


def find_loras(settings: PaintSettings, model: ModelSpec, catalog: ModelCatalog) -> tuple[LoraSpec, ...]:
    """Return the LoRAs of the request and of its regions. Raises InvalidRequest for one that does not fit the model."""
    family = families.lora_family(model.family)
    of_request = {use.slug for use in settings.loras}
    found = []
    for slug in settings.lora_slugs:
        field = "loras" if slug in of_request else Region.SETTING
        if families.get(model.family).lora is None:
            raise InvalidRequest(
                sentence("{label} takes no {adapter}.", label=model.label, adapter="LoRA"),
                code="lora_unfit",
                field=field,
                actual=slug,
            )
        lora = catalog.find_lora(slug, field)
        found.append(check_family(lora, "LoRA", model, family, code="lora_unfit", field=field))
    return tuple(found)


def first_given(*values: float | None) -> float | None:
    """Return the first that is not None."""
    return next((value for value in values if value is not None), None)


def resolved_use(use: AdapterUse, adapter: ModelSpec) -> AdapterUse:
    """The use with the adapter's slug and, for a ControlNet-Union, its type. Raises InvalidRequest for the type of
    another ControlNet."""
    if not isinstance(use, ControlUse):
        return replace(use, slug=adapter.slug)
    if adapter.control is ControlImageKind.UNION:
        return replace(use, slug=adapter.slug, type=use.type or ControlImageKind.CANNY.value)
    if use.type not in (None, adapter.control):
        raise InvalidRequest(
            sentence(
                "The ControlNet {slug} was trained on one kind of control image, {control}; only a Union has others.",
                slug=adapter.slug,
                control=adapter.control,
            ),
            code="adapter_unfit",
            field="control_type",
            actual=use.type,
        )
    return replace(use, slug=adapter.slug)


def is_inpainting(use: AdapterUse, adapter: ModelSpec) -> bool:
    """Return whether a ControlNet is applied for which the masked area is hidden, so that nothing of it can be kept."""
    kinds = (adapter.control, use.type) if isinstance(use, ControlUse) and use.strength else ()
    return ControlImageKind.INPAINT in kinds


def sampling_defaults(settings: PaintSettings, model: ModelSpec, loras: Sequence[LoraSpec]) -> ModelSpec | FewSteps:
    """Default steps, guidance scale and scheduler: those of the first active LoRA of the request that has any, else the
    model's. A region's LoRAs have no say: all of an image takes the same steps."""
    few_steps = {lora.slug: lora.few_steps for lora in loras}
    active = (few_steps[use.slug] for use in settings.loras if use.weight)
    return next((found for found in active if found), model)


def apply_preset(settings: PaintSettings, model: ModelSpec, catalog: ModelCatalog) -> PaintSettings:
    """Add the adapters of the preset `draft`: an LCM LoRA, which sets steps, guidance and scheduler, and a tiny VAE.

    Raises InvalidRequest, `preset_unavailable`, if one of them is not installed.
    """
    if settings.preset is None:
        return settings
    if FEW_STEPS[LoraKind.LCM].scheduler not in families.get(model.family).schedulers:
        raise InvalidRequest(
            sentence("Models of the family {family} have no drafts.", family=model.family),
            code="preset_unavailable",
            field="preset",
        )
    preset = catalog.preset_adapters(model.family)
    if preset.lora is None or preset.vae is None:
        missing = every(preset.missing(model.family))
        raise InvalidRequest(
            sentence(
                "The preset draft needs, for models of the family {family}: {missing}.",
                family=model.family,
                missing=missing,
            ),
            code="preset_unavailable",
            field="preset",
        )
    weight = next((use.weight for use in settings.loras if use.slug == preset.lora and use.weight), 1.0)
    others = [use for use in settings.loras if use.slug != preset.lora]
    count = len({*settings.lora_slugs} - {preset.lora})
    if count >= MAX_LORAS:
        raise InvalidRequest(
            sentence(
                "A draft uses the LoRA {lora}; beside it at most {most} are allowed.",
                lora=preset.lora,
                most=MAX_LORAS - 1,
            ),
            code="field_out_of_range",
            field="loras",
            limit=MAX_LORAS - 1,
            actual=count,
        )
    return replace(settings, loras=(LoraUse(preset.lora, weight), *others), vae=settings.vae or preset.vae)


def check_family(adapter: Adapter, label: str, model: ModelSpec, family: str, *, code: str, field: str) -> Adapter:
    """Return the adapter. Raises InvalidRequest with that code unless it is for `family`, which the model takes."""
    if adapter.family != family:
        raise InvalidRequest(
            sentence(
                "The {label} {slug} is for models of the family {family}; {label_2} is of {family_2}.",
                label=label,
                slug=adapter.slug,
                family=adapter.family,
                label_2=model.label,
                family_2=model.family,
            ),
            code=code,
            field=field,
            actual=adapter.slug,
        )
    return adapter


def check_supported(settings: PaintSettings, model: ModelSpec) -> None:
    """Check the guidance scale and the scheduler against the model's family.

    Raises InvalidRequest for a scale above its maximum, and (`scheduler_unfit`) for a flow-matching scheduler with a
    model of another kind. Any other unsupported scheduler is replaced later by the nearest supported one.
    """
    if settings.guidance_scale is not None:
        highest = families.get(model.family).max_guidance_scale
        check_range("guidance_scale", settings.guidance_scale, RANGES["guidance_scale"][0], highest)
    if settings.scheduler in FLOW_SCHEDULERS:
        check_scheduler(settings.scheduler, model.family)


def window_rule(settings: PaintSettings, model: ModelSpec) -> WindowRule:
    """Return the rule for windows as large as the training images, in few sizes, because those of equal size share a
    batch. Small masks are scaled up, so that the model paints them with the detail of a whole image."""
    context, min_context = CONTEXT, MIN_CONTEXT
    if settings.only_masked_padding is not None or settings.context_factor is not None:
        # As of `context_from_mask_extend_factor` of ComfyUI-Inpaint-CropAndStitch.
        context, min_context = ((settings.context_factor or 1.0) - 1) / 2, settings.only_masked_padding or 0
    rule = WindowRule(context, min_context, max_upscaling=settings.max_upscaling or MAX_UPSCALING)
    cell = VAE_SCALE_FACTOR * families.get(model.family).latent_patch
    if settings.width is not None or settings.height is not None:
        sides = (settings.width or model.width, settings.height or model.height)
        exact = Size(*(round_to_cells(side, cell) for side in sides))
        return replace(rule, multiple=cell, exact=exact, keeps_ratio=True)
    native = min(model.width, model.height)
    # Small models still paint well at 1.5 times their training size; large ones are slow enough without.
    max_side = native if native >= 1024 else native * 3 // 2
    multiple = round_to_cells(native // 4, cell)
    return replace(rule, min_side=native, max_side=max_side, multiple=multiple)


def round_to_cells(pixels: int, cell: int) -> int:
    """The nearest multiple of `cell` pixels, at least one."""
    return max(1, round(pixels / cell)) * cell


DIFFUSION = EngineDeclaration(
    name=NAME,
    label=mark("Diffusion"),
    model_label=mark("Model"),
    queue=Queue.GPU,
    ignored_settings=settings_ignored_by(NAME),
    needs_surroundings=False,
    resolve=resolve,
    library="torch",
)
