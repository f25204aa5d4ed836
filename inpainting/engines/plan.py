"""Everything that is decided before painting: engine, model, resolved settings, mask, window, and why.

`Planner.plan_settings` decides what needs no images, `plan_images` the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import numpy as np

from inpainting import families
from inpainting.catalog.inspection.formats.diffusers_folder import takes_guidance
from inpainting.catalog.shipped import no_model_message
from inpainting.core import masks
from inpainting.core.adapter_uses import INSERT
from inpainting.core.codecs.formats import check_fits, describe_losses, with_quality
from inpainting.core.errors import InvalidRequest, ModelRequired
from inpainting.core.geometry import Box, Placement, Size, Window, WindowRule, context_box, plan_window
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.metadata import NO_METADATA
from inpainting.core.moderation import policy
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import Sentence, plural_sentence, sentence
from inpainting.core.settings_table import DEFAULT_STRENGTH, auto_reason, find_ignored
from inpainting.core.shadows import find_shadow
from inpainting.engines import registry
from inpainting.engines.base import EngineDeclaration, ModelCatalog, Plan, Resolution, SettingsPlan
from inpainting.engines.conditioning_images import ignored_images, masks_outside
from inpainting.engines.diffusion.declaration import DIFFUSION
from inpainting.engines.erase.declaration import ERASE
from inpainting.engines.inserting import CLONE, REFERENCE, as_reference, place_insert, plan_insert
from inpainting.engines.moderation import find_safety_checker
from inpainting.engines.passes import plan_passes
from inpainting.engines.quick_fill.declaration import QUICK_FILL
from inpainting.engines.surroundings import NOTHING_KEPT, is_trained_to_fill, surroundings_notes
from inpainting.engines.tiles import plan_tiles
from inpainting.engines.upscaling import UPSCALE, find_model, reason_for


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The chosen engine, and the reason as a sentence for people."""

    engine: EngineDeclaration
    reason: str


CONTEXT_SETTINGS = ("only_masked_padding", "context_factor")
DETAIL_CHOICE = EngineChoice(
    DIFFUSION, sentence("The request asks for a larger image, with detail that a diffusion model adds.")
)


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the requests of a site."""

    catalog: ModelCatalog  # one for each request, which reads it once
    safety_checker: str  # the site's policy, see `core.moderation.policy`
    max_megapixels: float | None = None  # the limit on what a new request repaints, see `SettingsPlan`
    requires_diffusion: bool = False  # other services' requests are painted by a diffusion model alone

    def plan(self, request: InpaintRequest, engine: str = registry.AUTO, *, seed: int = 0) -> Plan:
        """Plan a request with its images. Raises what `plan_settings` and `plan_images` raise.

        Where nothing is to be painted (see `nothing_to_paint`) the engine is quick-fill, which loads no model.
        """
        return self._plan(request, request.settings, engine, seed)

    def plan_of_service(self, request: InpaintRequest, engine: str = registry.AUTO, *, seed: int = 0) -> Plan:
        """Plan the request of another service's client, which cannot read why something else was painted.

        The default quality of lossy copies does not depend on the source. Where nothing is kept, or everywhere if
        `requires_diffusion`, diffusion is the engine, and no other one takes its place; enlarging paints nothing.
        Raises ModelRequired where diffusion has no model then, and what `plan` raises.
        """
        settings = with_quality(request.settings, NO_METADATA)
        needs_diffusion = request.mask.any() if self.requires_diffusion else request.mask.all()
        if needs_diffusion and request.enlarged_to is None:
            if not (DIFFUSION.is_installed and self.catalog.has_installed(DIFFUSION.name)):
                raise ModelRequired(no_model_message())
            engine, settings = DIFFUSION.name, replace(settings, step_down=False)
        return self._plan(request, settings, engine, seed)

    def _plan(self, request: InpaintRequest, settings: PaintSettings, engine: str, seed: int) -> Plan:
        if request.enlarged_to is not None:
            engine = engine_to_enlarge(engine, request.upscaler)
        elif engine == UPSCALE.name:
            registry.find(engine)
        inserts = INSERT.image in request.conditioning_images
        plan = self.plan_settings(settings, engine, seed=seed, inserts=inserts, upscaler=request.upscaler)
        if why := nothing_to_paint(request.placement, request.mask):
            plan = self._plan_without_model(plan, EngineChoice(QUICK_FILL, why))
        return plan_images(request, plan)

    def plan_settings(
        self,
        requested: PaintSettings,
        engine: str = registry.AUTO,
        *,
        seed: int = 0,
        inserts: bool = False,
        upscaler: str = "",
    ) -> SettingsPlan:
        """Choose the engine, apply the safety checker's policy and fill in every default.

        engine: its name, or "auto" for the best one.
        seed: used where the settings have none.
        inserts: whether the request has an image to insert, for "auto".
        upscaler: the name of what enlarges the image before it is painted, "" for nothing.
        Raises InvalidRequest for an unknown engine, for a model, LoRA, adapter or upscaler that is unknown, not
        installed or of another family, for settings that the model does not support, and where the safety checker is on
        and unavailable.
        """
        choice = DETAIL_CHOICE if upscaler else self.choose(engine, requested, inserts=inserts)
        settings, warnings = policy.resolve(replace(requested, seed=requested.seed or seed), self.safety_checker)
        if settings.safety_checker:
            find_safety_checker(self.catalog)
        plan = make_settings_plan(self.resolve(choice.engine, settings), choice, requested, warnings)
        upscaler_model = find_model(upscaler, self.catalog) if upscaler else None
        return replace(plan, max_megapixels=self.max_megapixels, upscaler_model=upscaler_model)

    def plan_stored(self, request: InpaintRequest, engine: str, window: Window | None = None) -> Plan:
        """Plan a stored request, whose settings were resolved and whose window was planned when it was accepted.

        A preset is not applied again, since its LoRA and VAE are among the stored settings.
        window: None where none was stored.
        Raises InvalidRequest where the engine, the model, a LoRA, an adapter or the upscaler is gone.
        """
        declaration, settings = registry.declaration(engine), request.settings
        resolution = self.resolve(declaration, replace(settings, preset=None))
        resolution = replace(resolution, settings=replace(resolution.settings, preset=settings.preset))
        plan = make_settings_plan(resolution, EngineChoice(declaration, ""), settings)
        if request.upscaler:
            plan = replace(plan, upscaler_model=find_model(request.upscaler, self.catalog))
        return plan_images(request, plan, window)

    def step_down(self, plan: Plan) -> Plan | None:
        """Return the plan with a less demanding engine, after device memory ran out; None if none can paint the
        request.

        Diffusion falls back to the engine that `auto` takes without a prompt; the other engines have no fallback, and
        none but diffusion adds detail to what is enlarged.
        """
        if plan.engine.name != DIFFUSION.name or plan.request.upscaler:
            return None
        why = sentence("The device's memory was too small for the model, so the gap was closed from the image itself")
        choice = self._choose_without_prompt(why, inserts=INSERT.image in plan.request.conditioning_images)
        try:
            return plan_images(plan.request, self._plan_without_model(plan, choice))
        except InvalidRequest:
            return None

    def _plan_without_model(self, plan: SettingsPlan, choice: EngineChoice) -> SettingsPlan:
        """Return the same settings for another engine."""
        resolution = self.resolve(choice.engine, replace(plan.settings, model=None, insert_mode=None))
        return make_settings_plan(resolution, choice, plan.requested, plan.warnings)

    def choose(
        self, engine: str = registry.AUTO, requested: PaintSettings | None = None, *, inserts: bool = False
    ) -> EngineChoice:
        """Return the engine of that name; for "auto" the best one. Raises InvalidRequest, `engine_not_found`.

        "auto" takes the engine of the requested model; else diffusion if a model is installed and a prompt or another
        setting needs it; else, as diffusion does worse without a prompt, erase if the family of its default model
        `is_chosen_by_auto`; else quick-fill. An image to insert is cloned by quick-fill, unless diffusion is chosen.
        requested: None if the settings are not known yet.
        inserts: whether the request has such an image.
        """
        if engine == UPSCALE.name:
            return EngineChoice(UPSCALE, reason_for(requested.model if requested else None, self.catalog))
        if engine != registry.AUTO:
            return EngineChoice(registry.find(engine).declaration, sentence("The request names this engine."))
        settings = requested or PaintSettings()
        if settings.model and self.catalog.find_family(settings.model) in families.names(engine=ERASE.name):
            return EngineChoice(ERASE, sentence("The request names the model {model}.", model=settings.model))
        if inserts and settings.insert_mode == CLONE:
            return EngineChoice(QUICK_FILL, sentence("The request has an image to clone."))
        why = Sentence(auto_reason(settings))
        if inserts and settings.insert_mode and not why:
            why = sentence("An image is to be inserted by a model")
        if (why or requested is None) and DIFFUSION.is_installed and self.catalog.has_installed(DIFFUSION.name):
            return EngineChoice(DIFFUSION, sentence("{why}, and a diffusion model is installed.", why=why))
        return self._choose_without_prompt(
            sentence(
                "{why}, but no diffusion model is installed, so the masked area is filled from the rest of the image",
                why=why,
            )
            if why
            else sentence("There is no prompt, so the masked area is filled from the rest of the image"),
            inserts=inserts,
        )

    def _choose_without_prompt(self, why: Sentence, *, inserts: bool = False) -> EngineChoice:
        """Return the best engine that needs no prompt.

        why: the beginning of the reason.
        inserts: whether an image is to be inserted.
        """
        if inserts:
            return EngineChoice(QUICK_FILL, sentence("{why}; quick-fill clones the image to insert.", why=why))
        if not (ERASE.is_installed and self.catalog.has_installed(ERASE.name)):
            return EngineChoice(QUICK_FILL, sentence("{why}; no model for erasing is installed.", why=why))
        family = families.get(self.catalog.find(None, ERASE.name).family)
        if not family.is_chosen_by_auto:
            reason = sentence(
                "{why}; {label}, which is installed, invents objects more often.", why=why, label=family.label
            )
            return EngineChoice(QUICK_FILL, reason)
        return EngineChoice(ERASE, sentence("{why}.", why=why))

    def resolve(self, engine: EngineDeclaration, settings: PaintSettings) -> Resolution:
        """Return the settings with the engine's defaults. Raises InvalidRequest, also where its library is not
        installed."""
        engine.check_installed()
        resolution = engine.resolve(settings, self.catalog)
        if resolution.settings.strength is not None:
            return resolution
        return replace(resolution, settings=replace(resolution.settings, strength=DEFAULT_STRENGTH))


def plan_images(request: InpaintRequest, plan: SettingsPlan, window: Window | None = None) -> Plan:
    """Return the whole plan of a request whose settings are planned. The request's own settings are not read.

    window: as it was planned before; None to plan it.
    Raises InvalidRequest: `mask_empty`; `mask_required` and `mask_full` where the engine needs something that is kept;
    `too_much_to_paint` above `plan.max_megapixels`; `control_image_missing`, `ip_adapter_image_missing`,
    `region_mask_missing`, `insert_mode_unfit`, `insert_outside`; `field_invalid` for an image that the output format
    cannot hold.
    """
    plan = replace(plan, settings=with_quality(plan.settings, request.image.metadata))
    plan = plan_insert(plan, request.conditioning_images)
    size = request.enlarged_to or request.image.size
    if request.enlarged_to is not None:
        check_enlargement(size, plan)
        if not request.upscaler:
            return plan_enlargement(request, size, plan)
    marked, about_shadow = with_shadow(request, plan.settings)
    mask = masks.grown_mask(masks.scale_mask(marked, size), plan.settings)
    check_fits(size, plan.settings.output_format)
    lost = (*describe_losses(request.image, plan.settings.output_format), *metadata_notes(request.image, plan.settings))
    if why := nothing_to_paint(request.placement, mask):
        return Plan(
            **_fields_of(plan) | {"warnings": (*plan.warnings, why, *lost)},
            request=replace(request, settings=plan.settings),
            mask=mask,
            window=Window(Box.whole(size), size),
        )
    if plan.engine.needs_surroundings and not request.has_mask:
        raise InvalidRequest(
            sentence(
                "No mask file provided. Without a mask the whole image is repainted, "
                "which only a diffusion model can do."
            ),
            code="mask_required",
            field="mask",
        )
    check_amount(mask, plan)
    if plan.engine.needs_surroundings and mask.all():
        raise InvalidRequest(
            sentence(
                "The mask covers the whole image, and {name} paints from what is kept. If "
                "the mask is meant the other way round, invert it.",
                name=plan.engine.name,
            ),
            code="mask_full",
            field="mask",
        )
    images = request.conditioning_images
    ignored = masks_outside(images, mask) | ignored_images(plan, images)
    notes = [
        sentence("{name} was not read: {why}.", name=name, why=why) for name, why in ignored.items() if name in images
    ]
    images = {name: image for name, image in images.items() if name not in ignored}
    if plan.settings.insert_mode == REFERENCE and INSERT.image in images:
        images = as_reference(images)
    elif INSERT.image in images:
        plan = replace(plan, settings=place_insert(plan.settings, images[INSERT.image], mask))
    window = window or find_window(
        mask, plan.window_rule, is_outpainting=request.placement is not None, is_tiled=plan.is_tiled
    )
    is_sent = request.placement is None and request.has_mask
    about_mask = (*masks.check(mask), *about_shadow) if is_sent else about_shadow
    about_mask = (*about_mask, *window_notes(mask, window, plan))
    if mask.all():
        plan = replace(plan, ignored={"lanpaint_steps": NOTHING_KEPT, **plan.ignored})
    else:
        about_mask = (*about_mask, *surroundings_notes(plan))
    return Plan(
        **_fields_of(plan) | {"warnings": (*plan.warnings, *about_mask, *notes, *lost)},
        images=images,
        request=replace(request, settings=plan.settings),
        mask=mask,
        window=window,
    )


def plan_enlargement(request: InpaintRequest, size: Size, plan: SettingsPlan) -> Plan:
    """Return the whole plan of an upscaling: its window is the image, and its work size that of the result."""
    lost = (*describe_losses(request.image, plan.settings.output_format), *metadata_notes(request.image, plan.settings))
    return Plan(
        **_fields_of(plan) | {"warnings": (*plan.warnings, *lost)},
        request=replace(request, settings=plan.settings),
        mask=request.mask,
        window=Window(Box.whole(request.image.size), size),
    )


def check_enlargement(size: Size, plan: SettingsPlan) -> None:
    """Raise InvalidRequest for a result of that size: `too_much_to_paint` above `plan.max_megapixels`; `field_invalid`
    for one that the output format cannot hold."""
    check_fits(size, plan.settings.output_format)
    if plan.max_megapixels is not None and size.area > plan.max_megapixels * 1e6:
        raise InvalidRequest(
            sentence(
                "The result would have {value:.4g} megapixels; at most {max_megapixels:g} are allowed.",
                value=size.area / 1e6,
                max_megapixels=plan.max_megapixels,
            ),
            code="too_much_to_paint",
            field="scale",
            limit=plan.max_megapixels,
            actual=math.ceil(size.area / 1e4) / 100,
        )


def engine_to_enlarge(engine: str, upscaler: str) -> str:
    """Return the name of the engine for a request to enlarge an image; with an upscaler, of what then paints it.

    Raises InvalidRequest where the request names another one.
    """
    name = DIFFUSION.name if upscaler else UPSCALE.name
    if engine not in (registry.AUTO, name):
        raise InvalidRequest(
            sentence(
                "An image is enlarged, which the engine {engine} cannot do; leave out the engine.", engine=engine[:60]
            ),
            field="engine",
        )
    return name


def find_window(mask: Mask, rule: WindowRule, *, is_outpainting: bool, is_tiled: bool = False) -> Window:
    """Return the window of a mask that marks something; of an outpainting with its passes, or with the tiles.

    Raises InvalidRequest for too many tiles.
    """
    if is_tiled:
        tiles = plan_tiles(mask, rule)
        box = reduce(Box.union, tiles)
        return Window(box, box.size, tiles)
    height, width = mask.shape
    window = plan_window(masks.nonempty_bounds(mask), Size(width, height), rule)
    passes = plan_passes(mask, window, rule) if is_outpainting else ()
    return replace(window, work=window.box.size, passes=passes) if passes else window


def window_notes(mask: Mask, window: Window, plan: SettingsPlan) -> Iterator[str]:
    """Yield sentences for people about a window that is painted in passes, or that is not as the settings ask."""
    rule = plan.window_rule
    if plan.is_tiled:
        yield plural_sentence(
            "The area is painted in {count} tile.",
            "The area is painted in {count} tiles.",
            count=len(window.passes),
        )
        return
    if window.passes:
        yield sentence("The border is painted in {passes} passes of the model.", passes=len(window.passes))
    if rule.exact is not None and rule.keeps_ratio and window.work != rule.exact:
        yield sentence(
            "The image is too small for the shape of {shape}, so the model paints at {work}.",
            shape=rule.exact,
            work=window.work,
        )
    sent = {name: getattr(plan.settings, name) for name in CONTEXT_SETTINGS if name not in plan.ignored}
    asked = [f"{name}={value:g}" for name, value in sent.items() if value is not None]
    if asked and max(window.scale) >= rule.max_upscaling:
        height, width = mask.shape
        context = context_box(masks.nonempty_bounds(mask), Size(width, height), rule).size
        if window.box.size.shorter > context.longer:
            yield sentence(
                "The model sees more of the image than {asked} asks for, since a masked area is scaled up at most "
                "{times:g} times (max_upscaling).",
                asked=", ".join(asked),
                times=rule.max_upscaling,
            )


def with_shadow(request: InpaintRequest, settings: PaintSettings) -> tuple[Mask, tuple[str, ...]]:
    """Return the mask with the shadows and mirror images of what it marks, where the settings ask for them.

    Where none is added, a sentence for people comes with it.
    """
    if not settings.include_shadow:
        return request.mask, ()
    if request.placement is not None:
        return request.mask, (
            sentence("include_shadow was not read: no shadow is looked for where an image is outpainted."),
        )
    shadow = find_shadow(request.image, request.mask)
    if not (shadow & ~request.mask).any():
        return request.mask, (
            sentence("No shadow or mirror image of what is marked was found, so the mask is as it was sent."),
        )
    return np.maximum(request.mask, shadow), ()


def metadata_notes(image: CanonicalImage, settings: PaintSettings) -> tuple[str, ...]:
    """Return sentences for people where metadata is to be kept and the image has none of it, or its Content Credentials
    are left out."""
    choice, notes = settings.keep_metadata, []
    if choice is None:
        return ()
    kept = image.metadata.select(choice)
    if image.metadata.credentials != kept.credentials:
        notes.append(
            sentence(
                "The image's Content Credentials may say where it was taken, so only keep_metadata=all_with_gps keeps "
                "them."
            )
        )
    if kept.is_empty:
        notes.append(sentence("The image has no metadata that keep_metadata={choice} would keep.", choice=choice))
    return tuple(notes)


def nothing_to_paint(placement: Placement | None, mask: Mask) -> str:
    """Return a sentence for people where an outpainting's source image covers the canvas and the mask is empty, else
    ""."""
    if placement is None or mask.any():
        return ""
    if not placement.is_scaled:
        return sentence("Nothing is painted: the image covers the whole result.")
    return sentence(
        "Nothing is painted: the image, scaled from {source} to {canvas}, covers the whole result.",
        source=placement.source,
        canvas=placement.canvas,
    )


def check_amount(mask: Mask, plan: SettingsPlan) -> None:
    """Raise InvalidRequest, `too_much_to_paint`, if the pixels to repaint, in all images together, exceed the limit."""
    count = plan.settings.num_images
    pixels = count * int(np.count_nonzero(mask))
    if plan.max_megapixels is not None and pixels > plan.max_megapixels * 1e6:
        actual = math.ceil(pixels / 1e4) / 100
        raise InvalidRequest(
            plural_sentence(
                "{actual:g} megapixels are to be repainted; at most {most:g} are allowed. Mark less, send a smaller "
                "image or request fewer images.",
                "{actual:g} megapixels are to be repainted in {count} images; at most {most:g} are allowed. Mark less, "
                "send a smaller image or request fewer images.",
                count=count,
                actual=actual,
                most=plan.max_megapixels,
            ),
            code="too_much_to_paint",
            field="mask",
            limit=plan.max_megapixels,
            actual=actual,
        )


def make_settings_plan(
    resolution: Resolution, choice: EngineChoice, requested: PaintSettings, warnings: tuple[str, ...] = ()
) -> SettingsPlan:
    """Return the plan of resolved settings."""
    return SettingsPlan(
        **_fields_of(resolution),
        engine=choice.engine,
        reason=choice.reason,
        requested=requested,
        ignored=find_ignored_settings(choice.engine, resolution),
        warnings=warnings,
    )


def find_ignored_settings(engine: EngineDeclaration, resolution: Resolution) -> dict[str, str]:
    """Return the settings without effect, each with the reason: the engine, the model family or another setting ignores
    it."""
    reasons = find_ignored(resolution.settings)
    if (model := resolution.model) is not None:
        family = families.get(model.family)
        ignored = family.ignored_settings | (frozenset() if family.caches_blocks else {"cache"})
        reasons |= dict.fromkeys(sorted(ignored), sentence("{label} models do not read it.", label=family.label))
        if model.path is not None and not takes_guidance(model.path, model.family):
            reasons["guidance_scale"] = sentence(
                "The transformer of {label} was distilled without a guidance scale.", label=model.label
            )
        if resolution.settings.regions:
            reasons.setdefault("cache", sentence("The cache holds for one prompt, and the request has regions."))
        if is_trained_to_fill(model):
            reasons["lanpaint_steps"] = sentence("{label} was trained to fill a mask.", label=model.label)
    return reasons | dict.fromkeys(
        sorted(engine.ignored_settings), sentence("{label} does not read it.", label=Sentence(engine.label))
    )


def _fields_of(instance: Resolution) -> dict[str, Any]:
    """Return field name -> value, to build a more specific plan from."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}
