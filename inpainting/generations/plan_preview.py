"""The plan of a settings form before any image is sent, and the choices that the form offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings as site

from inpainting.catalog import families
from inpainting.catalog.families import DIFFUSION, ModelFamily
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ADAPTER_SETTINGS, Kind
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.core.settings_table import PUBLIC_NAMES, RANGES, SETTINGS
from inpainting.engines import plan as plans
from inpainting.engines.base import SettingsPlan
from inpainting.engines.registry import AUTO

ANY_PROMPT = "a photo"
CHOSEN_FIRST = frozenset({"model", "preset", "control", "ip_adapter"})
"""Settings without a default of their own, on which the defaults of others depend."""


@dataclass(frozen=True, slots=True)
class FormOffer:
    """The choices of a settings form. With the engine `auto`, those that apply once there is a prompt.

    defaults: setting -> the value used where the form sends none. limits: setting -> the lowest and the highest value,
    where the model narrows them. choices: setting -> the names that the model takes. adapters: setting -> the slugs of
    the installed ones that fit the model. hint: a sentence on what `auto` does.
    """

    plan: SettingsPlan
    defaults: Mapping[str, Any]
    limits: Mapping[str, tuple[float, float]]
    choices: Mapping[str, tuple[str, ...]]
    adapters: Mapping[str, tuple[str, ...]]
    reads_prompt_weights: bool
    hint: str


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """The plan of the present settings, and the choices that the form offers.

    problems: setting -> why it was left out of the plan: it does not fit the others.
    """

    plan: SettingsPlan
    offer: FormOffer
    problems: Mapping[str, str]


def preview(requested: PaintSettings, engine: str = AUTO, models: Mapping[str, str] | None = None) -> PlanPreview:
    """models: engine -> the model to use if that engine is chosen and the settings name none.

    Raises InvalidRequest for an unknown engine, and for one that is not installed.
    """
    return _Preview(engine, models or {}, Catalog()).make(requested)


@dataclass(frozen=True, slots=True)
class _Preview:
    engine: str
    models: Mapping[str, str]
    catalog: Catalog

    def make(self, requested: PaintSettings) -> PlanPreview:
        plan, problems = self.plan(requested)
        with_prompt = plan
        if self.engine == AUTO and not requested.prompt:
            with_prompt, more = self.plan(replace(requested, prompt=ANY_PROMPT))
            problems |= more
        return PlanPreview(plan, self.offer(with_prompt), problems)

    def plan(self, requested: PaintSettings) -> tuple[SettingsPlan, dict[str, str]]:
        """Plan without the settings that contradict others: a form needs a plan while it is still being filled in."""
        problems: dict[str, str] = {}
        while True:
            try:
                choice = plans.choose(self.engine, requested, self.catalog)
                model = requested.model or self.models.get(choice.engine.name)
                plan = plans.plan_settings(
                    replace(requested, model=model),
                    choice.engine.name,  # by name: the form's model for an engine must not choose the engine
                    catalog=self.catalog,
                    safety_checker=site.SAFETY_CHECKER,
                )
                return replace(plan, reason=choice.reason), problems
            except InvalidRequest as error:
                default = next((row.default for row in SETTINGS if row.name == error.field), None)
                if error.field is None or getattr(requested, error.field, default) == default:
                    raise
                problems[error.field] = error.message
                without: dict[str, Any] = {error.field: default}
                requested = replace(requested, **without)

    def offer(self, plan: SettingsPlan) -> FormOffer:
        family = None if plan.model is None else families.get(plan.model.family)
        is_diffusion = family is not None and family.engine == DIFFUSION
        return FormOffer(
            plan=plan,
            defaults=self.defaults(plan.requested),
            limits={"guidance_scale": (RANGES["guidance_scale"][0], family.max_guidance_scale)} if family else {},
            choices=self.choices(family) if family and is_diffusion else {"preset": ()},
            adapters=self.adapters(family.name if family and is_diffusion else None),
            reads_prompt_weights=family is not None and family.reads_prompt_weights,
            hint=self.hint(plan),
        )

    def defaults(self, requested: PaintSettings) -> dict[str, Any]:
        """The defaults that depend on the model: the values resolved when none of these settings is requested."""
        open_rows = [row for row in SETTINGS if row.default is None and row.name not in CHOSEN_FIRST]
        cleared: dict[str, Any] = {row.name: None for row in open_rows}
        plan, _ = self.plan(replace(requested, **cleared))
        native = {} if plan.model is None else {"width": plan.model.width, "height": plan.model.height}
        resolved = {row.name: getattr(plan.settings, row.name) for row in open_rows}
        return native | {name: value for name, value in resolved.items() if value is not None}

    def choices(self, family: ModelFamily) -> dict[str, tuple[str, ...]]:
        has_draft = family.lora is not None and not self.catalog.draft_adapters(family.name).missing(family.name)
        return {"scheduler": family.schedulers, "preset": ("draft",) if has_draft else ()}

    def adapters(self, family: str | None) -> dict[str, tuple[str, ...]]:
        """The slugs of the installed adapters of the family, by the setting that names them."""
        fitting = [row for row in self.catalog.adapters if row.family == family]
        kinds = {**ADAPTER_SETTINGS, "embeddings": Kind.EMBEDDING}
        named = {name: tuple(row.slug for row in fitting if row.kind == kind) for name, kind in kinds.items()}
        return {**named, "loras": tuple(row.slug for row in self.catalog.loras if row.family == family)}

    def hint(self, with_prompt: SettingsPlan) -> str:
        """A sentence on how a prompt changes the choice of `auto`; "" if it does not."""
        if self.engine != AUTO or with_prompt.model is None:
            return ""
        without = plans.choose(AUTO, PaintSettings(), self.catalog).engine
        if without is with_prompt.engine:
            return ""
        return (
            f"Without a prompt {without.label} closes the gap from the photo itself; with one, "
            f"{with_prompt.model.label} paints what it says."
        )


def to_values(preview: PlanPreview) -> dict[str, Any]:
    """The preview under the public names of the settings, for the API and for the editor's first view."""
    plan, offer = preview.plan, preview.offer
    return {
        "status": "success",
        "engine": plan.engine.name,
        "engine_label": plan.engine.label,
        "engine_reason": plan.reason,
        "model": plan.settings.model,
        "resolved": _public(plan.settings.to_dict()),
        "ignored": _public(plan.ignored),
        "warnings": list(plan.warnings),
        "problems": _public(preview.problems),
        "form": {
            "engine": offer.plan.engine.name,
            "ignored": _public(offer.plan.ignored),
            "defaults": _public(offer.defaults),
            "limits": _public({name: list(limits) for name, limits in offer.limits.items()}),
            "choices": _public({name: list(names) for name, names in offer.choices.items()}),
            "adapters": _public({name: list(slugs) for name, slugs in offer.adapters.items()}),
            "reads_prompt_weights": offer.reads_prompt_weights,
            "hint": offer.hint,
        },
    }


def _public(values: Mapping[str, Any]) -> dict[str, Any]:
    return {PUBLIC_NAMES.get(name, name): value for name, value in values.items()}
