"""The plan of a settings form before any image is sent, and the choices that the form offers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inpainting import families
from inpainting.catalog.lookup import Catalog
from inpainting.catalog.specs import ADAPTER_SETTINGS, Kind
from inpainting.core.adapter_uses import INSERT
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size, plan_window
from inpainting.core.request import PaintSettings
from inpainting.core.sentences import sentence
from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import INSERT_MODES, INSERT_SETTINGS, RANGES, SETTINGS
from inpainting.engines.base import SettingsPlan
from inpainting.engines.inserting import CLONE, START, modes_of, plan_insert
from inpainting.engines.registry import AUTO
from inpainting.engines.surroundings import surroundings_notes
from inpainting.families.declaration import ModelFamily
from inpainting.generations.description import with_public_names
from inpainting.planning import planner
from inpainting.translation import translated

ANY_PROMPT = "a photo"
CHOSEN_FIRST = frozenset({"model", "preset", "control", "ip_adapter"})
"""Settings without a default of their own, on which the defaults of others depend."""


@dataclass(frozen=True, slots=True)
class Marked:
    """The bounds of a mask, and the size of its image. Raises InvalidRequest unless the box lies in the image."""

    box: Box
    image: Size

    def __post_init__(self) -> None:
        if not Box.whole(self.image).contains(self.box):
            raise InvalidRequest(
                sentence(
                    "{mask_box} extends beyond the image of {size}.", mask_box=self.box.to_list(), size=self.image
                ),
                field="mask_box",
            )


def describe_plan(
    requested: PaintSettings,
    catalog: Catalog,
    engine: str = AUTO,
    models: Mapping[str, str] | None = None,
    marked: Marked | None = None,
    sent: Collection[str] = (),
) -> dict[str, Any]:
    """The plan of the present settings, and the choices of their form, under the public names of the settings.

    models: engine -> the model to use if that engine is chosen and the settings name none.
    marked: what will be marked, for the window.
    sent: the names of the conditioning images that will be sent.
    Raises InvalidRequest for an unknown engine, and for one that is not installed.
    """
    return _FormPlan(engine, models or {}, catalog, sent).make(requested, marked)


@dataclass(frozen=True, slots=True)
class _FormPlan:
    engine: str
    models: Mapping[str, str]
    catalog: Catalog
    sent: Collection[str]

    def make(self, requested: PaintSettings, marked: Marked | None) -> dict[str, Any]:
        plan, problems = self.plan(requested)
        with_prompt = plan
        if self.engine == AUTO and not requested.prompt:
            with_prompt, more = self.plan(replace(requested, prompt=ANY_PROMPT))
            problems |= more
        return {
            "status": "success",
            "engine": plan.engine.name,
            "engine_label": translated(plan.engine.label),
            "engine_reason": translated(plan.reason),
            "model": plan.settings.model,
            "resolved": with_public_names(plan.settings.to_dict()),
            "ignored": with_public_names(in_language(plan.ignored)),
            "warnings": [translated(text) for text in (*plan.warnings, *surroundings_notes(plan))],
            "problems": with_public_names(in_language(problems)),
            **self.window(plan, marked),
            "form": self.form(with_prompt, plan),
        }

    def plan(self, requested: PaintSettings) -> tuple[SettingsPlan, dict[str, str]]:
        """Plan without the settings that contradict others: a form needs a plan while it is still being filled in.

        Returns the plan, and why settings were left out of it, by their names.
        """
        problems: dict[str, str] = {}
        site = planner(self.catalog)
        while True:
            try:
                choice = site.choose(self.engine, requested, inserts=self.inserts)
                model = requested.model or self.models.get(choice.engine.name)
                # By name: the form's model for an engine must not choose the engine.
                plan = site.plan_settings(replace(requested, model=model), choice.engine.name)
                plan = replace(plan, reason=choice.reason)
                return plan_insert(plan, self.sent) if self.inserts else plan, problems
            except InvalidRequest as error:
                default = next((row.default for row in SETTINGS if row.name == error.field), None)
                if error.field is None or getattr(requested, error.field, default) == default:
                    raise
                problems[error.field] = error.message
                without: dict[str, Any] = {error.field: default}
                requested = replace(requested, **without)

    def window(self, plan: SettingsPlan, marked: Marked | None) -> dict[str, Any]:
        """The part of the image that the engine would get, and the size at which it would work."""
        if marked is None:
            return {"window": None, "work_size": None, "scale": None}
        whole, grown = Box.whole(marked.image), marked.box
        if plan.settings.mask_grow > 0:
            grown = marked.box.expanded(plan.settings.mask_grow).clipped(whole)
        return plan_window(grown, marked.image, plan.window_rule).to_answer()

    @property
    def inserts(self) -> bool:
        return INSERT.image in self.sent

    def form(self, plan: SettingsPlan, present: SettingsPlan) -> dict[str, Any]:
        """The choices of the form. With the engine `auto`, those that apply once there is a prompt.

        present: the plan without one, which says what is done with an image to insert.
        """
        family = None if plan.model is None else families.get(plan.model.family)
        is_diffusion = family is not None and family.engine == DIFFUSION
        limits = {"guidance_scale": [RANGES["guidance_scale"][0], family.max_guidance_scale]} if family else {}
        return {
            "engine": plan.engine.name,
            "ignored": with_public_names(in_language(self.ignored(plan, present))),
            "defaults": with_public_names(self.defaults(plan.requested, present.requested)),
            "limits": limits,
            "choices": {
                **(self.choices(family) if family and is_diffusion else {"preset": []}),
                **self.insert_choices(present),
            },
            "adapters": self.adapters(family.name if family and is_diffusion else None),
            "edits": family is not None and family.edits,
            "reference_images": 0 if family is None else family.max_reference_images,
            "reads_prompt_weights": family is not None and family.reads_prompt_weights,
            "hint": self.hint(plan),
        }

    def ignored(self, plan: SettingsPlan, present: SettingsPlan) -> dict[str, str]:
        """Why settings have no effect. The mode of an insert can be changed wherever the engine reads it."""
        ignored = {name: reason for name, reason in plan.ignored.items() if name not in INSERT_SETTINGS}
        ignored |= {name: reason for name, reason in present.ignored.items() if name in INSERT_SETTINGS}
        if "insert_mode" not in present.engine.ignored_settings:
            ignored.pop("insert_mode", None)
        return ignored

    def insert_choices(self, present: SettingsPlan) -> dict[str, list[str]]:
        """The modes of an insert; with the engine `auto` those of every engine that it can take."""
        if not self.inserts or "insert_mode" in present.engine.ignored_settings:
            return {}
        modes = set(modes_of(present, self.sent))
        if self.engine == AUTO:
            by_model, _ = self.plan(replace(present.requested, insert_mode=START))
            modes |= {CLONE, *modes_of(by_model, self.sent)}
        return {"insert_mode": [mode for mode in INSERT_MODES if mode in modes]}

    def defaults(self, requested: PaintSettings, present: PaintSettings) -> dict[str, Any]:
        """The defaults that depend on the model: the values resolved when none of these settings is requested.

        present: the settings of which that of `insert_mode` is resolved.
        """
        open_rows = [row for row in SETTINGS if row.default is None and row.name not in CHOSEN_FIRST]
        cleared: dict[str, Any] = {row.name: None for row in open_rows}
        plan, _ = self.plan(replace(requested, **cleared))
        native = {} if plan.model is None else {"width": plan.model.width, "height": plan.model.height}
        resolved = {row.name: getattr(plan.settings, row.name) for row in open_rows}
        if self.inserts:
            resolved["insert_mode"] = self.plan(replace(present, insert_mode=None))[0].settings.insert_mode
        return native | {name: value for name, value in resolved.items() if value is not None}

    def choices(self, family: ModelFamily) -> dict[str, list[str]]:
        has_preset = family.lora is not None and not self.catalog.preset_adapters(family.name).missing(family.name)
        return {"scheduler": list(family.schedulers), "preset": ["draft"] if has_preset else []}

    def adapters(self, family: str | None) -> dict[str, list[str]]:
        """The slugs of the installed adapters of the family, by the setting that names them."""
        owners = {} if family is None else {Kind.IP_ADAPTER.value: families.image_prompt_family(family)}
        compatible = [row for row in self.catalog.adapters if row.family == owners.get(row.kind, family)]
        kinds = {**ADAPTER_SETTINGS, "embeddings": Kind.EMBEDDING}
        named = {name: [row.slug for row in compatible if row.kind == kind] for name, kind in kinds.items()}
        lora_family = None if family is None else families.lora_family(family)
        return {**named, "loras": [row.slug for row in self.catalog.loras if row.family == lora_family]}

    def hint(self, with_prompt: SettingsPlan) -> str:
        """A sentence on how a prompt changes the choice of `auto`; "" if it does not."""
        if self.engine != AUTO or with_prompt.model is None or self.inserts:
            return ""
        without = planner(self.catalog).choose(AUTO, PaintSettings()).engine
        if without is with_prompt.engine:
            return ""
        return translated(
            sentence(
                "Without a prompt {engine} closes the gap from the photo itself; with one, "
                "{model} paints what it says.",
                engine=translated(without.label),
                model=with_prompt.model.label,
            )
        )


def in_language(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: translated(text) for name, text in texts.items()}
