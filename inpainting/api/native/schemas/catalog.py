"""Answers about engines, models and usage."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from inpainting import families
from inpainting.api.native.schemas.base import Answer, Constant
from inpainting.catalog.specs import ADAPTER_LABELS, ControlImageKind
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.core.settings_table import public_names
from inpainting.engines.base import EngineDeclaration
from inpainting.models import InferenceModel, Lora, Status


class EngineDocument(Answer):
    # Context: `planner`.
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    is_default = serializers.BooleanField()
    accepts_prompt = serializers.BooleanField()
    ignores = serializers.ListField(child=serializers.CharField())
    unavailable = serializers.CharField(
        allow_null=True, help_text="The requirement that is missing; null: it can be used."
    )

    def get_is_default(self, engine: EngineDeclaration) -> bool:
        return bool(engine == self.context["planner"].choose().engine)

    def get_accepts_prompt(self, engine: EngineDeclaration) -> bool:
        return "prompt" not in engine.ignored_settings

    def get_ignores(self, engine: EngineDeclaration) -> list[str]:
        return public_names(engine.ignored_settings)

    def get_unavailable(self, engine: EngineDeclaration) -> str | None:
        try:
            self.context["planner"].resolve(engine, PaintSettings())
        except InvalidRequest as error:
            return error.message
        return None


class EnginesDocument(Answer):
    status = Constant("success")
    engines = EngineDocument(many=True)


class FewStepsDocument(Answer):
    steps = serializers.IntegerField()
    guidance_scale = serializers.FloatField()
    scheduler = serializers.CharField()


class ModelDefaultsDocument(FewStepsDocument):
    width = serializers.IntegerField()
    height = serializers.IntegerField()


class ModelDocument(Answer):
    id = serializers.CharField(source="slug")
    name = serializers.CharField(source="label")
    filename = serializers.CharField(
        source="slug", help_text="The id again, for clients that send it back as model_name."
    )
    family = serializers.ChoiceField(families.generating())
    installed = serializers.BooleanField(
        source="is_installed", help_text="Whether it can be used now; an administrator can download the others."
    )
    licence = serializers.CharField()
    aliases = serializers.ListField(child=serializers.CharField())
    defaults = ModelDefaultsDocument()


class LoraDocument(Answer):
    slug = serializers.CharField(help_text="Its name in `loras`.")
    name = serializers.CharField(source="label")
    family = serializers.ChoiceField(families.families_with_loras(), help_text="Of the models that it fits.")
    kind = serializers.ChoiceField(["style", "lcm", "lightning", "hyper"])
    trigger = serializers.CharField(help_text="Words that the prompt must contain.")
    licence = serializers.CharField()
    defaults = FewStepsDocument(
        allow_null=True, help_text="Used instead of the model's own, with LoRAs for few steps; null for others."
    )

    def get_defaults(self, lora: Lora) -> dict[str, Any] | None:
        few_steps = lora.spec.few_steps
        return None if few_steps is None else few_steps.defaults


class AdapterDocument(Answer):
    slug = serializers.CharField(help_text="Its name in a request's settings.")
    name = serializers.CharField(source="label")
    kind = serializers.ChoiceField([kind.value for kind in ADAPTER_LABELS])
    family = serializers.ChoiceField(families.generating(), help_text="Of the models that it fits.")
    control = serializers.ChoiceField(
        [control.value for control in ControlImageKind],
        allow_null=True,
        help_text="The kind of image that conditions a ControlNet.",
    )
    licence = serializers.CharField()

    def get_control(self, adapter: InferenceModel) -> str | None:
        return adapter.control or None


class ModelsDocument(Answer):
    status = Constant("success")
    models = ModelDocument(many=True)
    loras = LoraDocument(many=True)
    adapters = AdapterDocument(many=True)


class CountsDocument(Answer):
    def get_fields(self) -> dict[str, serializers.Field]:
        return {name: serializers.IntegerField() for name in (*Status.values, "total")}


class LimitsDocument(Answer):
    waiting = serializers.IntegerField(allow_null=True)
    per_minute = serializers.IntegerField(allow_null=True)
    per_day = serializers.IntegerField(allow_null=True)
    megapixels_per_day = serializers.IntegerField(allow_null=True)
    stored_megabytes = serializers.IntegerField(allow_null=True)


class SpentDocument(Answer):
    per_minute = serializers.IntegerField(help_text="Generations accepted in the last minute.")
    per_day = serializers.IntegerField(help_text="Generations accepted in the last 24 hours.")
    megapixels_per_day = serializers.IntegerField(help_text="Of their source images, rounded up.")


class UsageDocument(Answer):
    status = Constant("success")
    generations = CountsDocument()
    stored_bytes = serializers.IntegerField()
    spent = SpentDocument()
    limits = LimitsDocument()
