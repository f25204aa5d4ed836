"""Answers about engines, models and usage."""

from __future__ import annotations

from typing import Self

from pydantic import AliasPath, Field

from inpainting.api.fields import extended_by
from inpainting.api.native.schemas.base import Answer, Success, TextOrNull
from inpainting.catalog.specs import Kind, LoraKind
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.core.settings_table import public_names
from inpainting.engines.base import EngineDeclaration
from inpainting.engines.plan import Planner
from inpainting.models import Status


class EngineDocument(Answer):
    name: str
    label: str
    is_default: bool
    accepts_prompt: bool
    ignores: list[str]
    unavailable: str | None = Field(description="The requirement that is missing; null: it can be used.")

    @classmethod
    def of(cls, engine: EngineDeclaration, planner: Planner) -> Self:
        unavailable = None
        try:
            planner.resolve(engine, PaintSettings())
        except InvalidRequest as error:
            unavailable = error.message
        return cls(
            name=engine.name,
            label=engine.label,
            is_default=engine == planner.choose().engine,
            accepts_prompt="prompt" not in engine.ignored_settings,
            ignores=public_names(engine.ignored_settings),
            unavailable=unavailable,
        )


class EnginesDocument(Success):
    engines: list[EngineDocument]


class FewStepsDocument(Answer):
    steps: int
    guidance_scale: float | None = Field(description="null: the model's own.")
    scheduler: str


class ModelDefaultsDocument(Answer):
    steps: int
    guidance_scale: float
    scheduler: str
    width: int
    height: int


class ModelDocument(Answer):
    id: str = Field(validation_alias="slug")
    name: str = Field(validation_alias="label")
    filename: str = Field(
        validation_alias="slug", description="The id again, for clients that send it back as model_name."
    )
    family: str
    installed: bool = Field(
        validation_alias="is_installed",
        description="Whether it can be used now; an administrator can download the others.",
    )
    licence: str
    aliases: list[str]
    defaults: ModelDefaultsDocument


class LoraDocument(Answer):
    slug: str = Field(description="Its name in `loras`.")
    name: str = Field(validation_alias="label")
    family: str = Field(description="Of the models that it fits.")
    kind: LoraKind
    trigger: str = Field(description="Words that the prompt must contain.")
    licence: str
    defaults: FewStepsDocument | None = Field(
        validation_alias=AliasPath("spec", "few_steps"),
        description="Used instead of the model's own, with LoRAs for few steps; null for others.",
    )


class AdapterDocument(Answer):
    slug: str = Field(description="Its name in a request's settings.")
    name: str = Field(validation_alias="label")
    kind: Kind
    family: str = Field(description="Of the models that it fits.")
    control: TextOrNull = Field(description="The kind of image that conditions a ControlNet.")
    licence: str


class ModelsDocument(Success):
    models: list[ModelDocument]
    loras: list[LoraDocument]
    adapters: list[AdapterDocument]


@extended_by(dict.fromkeys((*Status.values, "total"), (int, ...)))
class CountsDocument(Answer):
    pass


class LimitsDocument(Answer):
    waiting: int | None
    per_minute: int | None
    per_day: int | None
    megapixels_per_day: int | None
    stored_megabytes: int | None


class SpentDocument(Answer):
    per_minute: int = Field(description="Generations accepted in the last minute.")
    per_day: int = Field(description="Generations accepted in the last 24 hours.")
    megapixels_per_day: int = Field(description="Of their source images, rounded up.")


class UsageDocument(Success):
    generations: CountsDocument
    stored_bytes: int
    spent: SpentDocument
    limits: LimitsDocument
