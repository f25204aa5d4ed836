"""Everything that is decided before painting: engine, model, resolved settings, mask, window, and why.

`plan_settings` decides what needs no pictures, `plan_pictures` the rest.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from inpainting.catalog import families
from inpainting.catalog.specs import ModelSpec
from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import plan_window
from inpainting.core.moderation import policy
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines import registry
from inpainting.engines.base import Engine, Plan, SettingsPlan
from inpainting.engines.conditioning_images import unread_images
from inpainting.engines.registry import Choice
from inpainting.engines.safety import find_checker

CONDITIONING_IMAGES = ("control_image", "ip_adapter_image")
"""Further pictures of a request, by their names in `InpaintRequest`."""


def plan_settings(
    requested: PaintSettings, engine: str = registry.AUTO, *, safety_checker: str, seed: int = 0
) -> SettingsPlan:
    """Choose the engine, apply the safety checker's policy and fill in every default.

    engine: its name, or "auto" for the best one. safety_checker: the site's policy, see `core.moderation.policy`.
    seed: used where the settings have none.
    Raises InvalidRequest for an unknown engine, for a model, LoRA or adapter that is unknown, not installed or of
    another family, for settings that the model does not support, and where the safety checker is on and unavailable.
    """
    choice = registry.choose(engine, requested)
    settings, warnings = policy.resolve(replace(requested, seed=requested.seed or seed), safety_checker)
    if settings.safety_checker:
        find_checker()
    settings = choice.engine.settled(settings)
    return replace(restored(settings, choice), requested=requested, warnings=warnings)


def plan_stored(settings: PaintSettings, engine: str) -> SettingsPlan:
    """The plan of settings that were resolved before, as they are stored: none of them is decided again."""
    return restored(settings, Choice(registry.find(engine), ""))


def step_down(plan: Plan) -> Plan | None:
    """The plan with the next smaller engine, where the device's memory is too small; None where none can paint it."""
    choice = registry.below(plan.engine.name)
    if choice is None:
        return None
    try:
        settings = choice.engine.settled(replace(plan.settings, model=None))
        return plan_pictures(plan.request, restored(settings, choice))
    except InvalidRequest:
        return None


def restored(settings: PaintSettings, choice: Choice) -> SettingsPlan:
    """The plan of resolved settings."""
    engine = choice.engine
    model = registry.models.find(settings.model, engine.name) if families.of_engine(engine.name) else None
    return SettingsPlan(
        engine=engine,
        reason=choice.why,
        requested=settings,
        settings=settings,
        model=model,
        control=engine.looks_at(settings),
        ignored=ignored(engine, settings, model),
    )


def ignored(engine: Engine, settings: PaintSettings, model: ModelSpec | None) -> dict[str, str]:
    """The settings that change nothing, each with the reason."""
    reasons = dict.fromkeys(sorted(engine.ignored(settings)), "Other settings make it idle.")
    if model:
        reasons |= dict.fromkeys(
            sorted(families.get(model.family).ignored_settings), f"Models of the family {model.family} do not read it."
        )
    return reasons | dict.fromkeys(sorted(engine.ignores), f"{registry.label(engine.name)} does not read it.")


def plan_pictures(request: InpaintRequest, plan: SettingsPlan) -> Plan:
    """The whole plan of a request whose settings are planned.

    Raises InvalidRequest: `mask_empty`; `mask_full` where the engine needs something that is kept;
    `control_image_missing`, `ip_adapter_image_missing`.
    """
    request = replace(request, settings=plan.settings)
    mask = masks.effective_mask(request.mask, plan.settings)
    bounds = masks.nonempty_bounds(mask)
    if plan.engine.needs_surroundings and mask.all():
        raise InvalidRequest(
            f"The mask covers the whole picture, and {plan.engine.name} paints from what is kept. "
            "If the mask is meant the other way round, invert it or choose another mask_polarity.",
            code="mask_full",
            field="mask",
        )
    images = {name: getattr(request, name) for name in CONDITIONING_IMAGES if getattr(request, name) is not None}
    unread = unread_images(plan, images)
    notes = (f"{name} was not read: {why}." for name, why in unread.items() if name in images)
    planned: dict[str, Any] = {field.name: getattr(plan, field.name) for field in fields(SettingsPlan)}
    return Plan(
        **{**planned, "warnings": (*plan.warnings, *masks.check(mask), *notes)},
        **{name: image for name, image in images.items() if name not in unread},
        request=request,
        mask=mask,
        window=plan_window(bounds, request.image.size, plan.engine.window(plan.settings)),
    )
