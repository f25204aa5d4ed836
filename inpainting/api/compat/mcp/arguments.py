"""The arguments of the tools. Their JSON Schema is all that an agent reads of them, so each says what it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, WithJsonSchema

from inpainting.api.fields import Fields, ImageText, Length, Number, Range
from inpainting.api.json_schema import DocumentSchema
from inpainting.api.setting_types import with_settings
from inpainting.core.outpainting import OUTPAINT_ROWS
from inpainting.core.setting import Setting
from inpainting.core.settings_table import find_setting
from inpainting.core.upscaling import DEFAULT_SCALE, SCALES
from inpainting.segmenters.base import MAX_POINTS, MAX_WORDS_CHARACTERS

GROWN_BY = 4
"""Pixels by which a mask that was selected for the request grows, so that nothing of the object's rim is left."""


def rows_of(*names: str) -> list[Setting]:
    """Return rows of the table of settings, without aliases: an argument has one name."""
    return [replace(find_setting(name), aliases=()) for name in names]


PROMPT_ROWS = rows_of("prompt")
MODEL_ROWS = rows_of("negative_prompt", "strength", "steps", "guidance_scale", "model")
MASK_ROWS = [
    replace(row, default_text=f"0 for mask, {GROWN_BY} for words, points and box") if row.name == "mask_grow" else row
    for row in rows_of("mask_grow", "include_shadow")
]
RESULT_ROWS = rows_of("num_images", "seed", "output_format")
ROWS = [*PROMPT_ROWS, *MODEL_ROWS, *MASK_ROWS, *RESULT_ROWS]
ImageArgument = Annotated[ImageText, WithJsonSchema({"type": "string"})]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]


class Arguments(Fields):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ImageArguments(Arguments):
    image: ImageArgument = Field(
        description="The image: an http or https URL; a link that a tool of this server gave, such as upload or the "
        "result of another call; or, for small images only, base64 or a data URL."
    )


class SelectionArguments(ImageArguments):
    """Where an object is. What is sent goes together, but words go with nothing else."""

    words: Annotated[str, Length(MAX_WORDS_CHARACTERS)] | None = Field(
        None, description="The object in words, such as “the red car”; several are separated by dots. Needs a model."
    )
    points: Annotated[list[Pair], Field(max_length=MAX_POINTS)] | None = Field(
        None, description="Points on the object, each [x, y] in pixels of the image from its top left corner."
    )
    points_beside: Annotated[list[Pair], Field(max_length=MAX_POINTS)] | None = Field(
        None, description="Points that do not belong to the object."
    )
    box: Annotated[list[Number], Field(min_length=4, max_length=4)] | None = Field(
        None, description="A box around the object: [left, top, right, bottom] in pixels."
    )
    segmenter: Annotated[str, Length(60)] | None = Field(
        None, description="The name of the segmenter. By default the server chooses one that reads what is sent."
    )


class MaskArguments(SelectionArguments):
    mask: ImageArgument | None = Field(
        None,
        description="In place of words, points and a box: an image in which white is repainted and black is kept, such "
        "as the mask that the tool select gave.",
    )


@with_settings([*MASK_ROWS, *RESULT_ROWS])
class EraseArguments(MaskArguments):
    pass


@with_settings([*PROMPT_ROWS, *MODEL_ROWS, *MASK_ROWS, *RESULT_ROWS], required=["prompt"])
class FillArguments(MaskArguments):
    pass


@with_settings([*OUTPAINT_ROWS, *PROMPT_ROWS, *MODEL_ROWS, *RESULT_ROWS])
class ExtendArguments(ImageArguments):
    pass


class UpscaleArguments(ImageArguments):
    scale: Annotated[Number, Range(*SCALES)] = Field(DEFAULT_SCALE, description="How many times larger it becomes.")
    model: Annotated[str, Length(200)] | None = Field(
        None, description="The upscaler: lanczos, or an installed one. By default the first installed one, or lanczos."
    )


class PlanArguments(Arguments):
    tool: Literal["erase", "fill", "extend", "upscale"] = Field(description="The tool that would be called.")
    arguments: dict[str, Any] = Field(description="What that tool would get.")


class IdArguments(Arguments):
    id: UUID = Field(description="The id that erase, fill, extend or upscale gave.")


class NoArguments(Arguments):
    pass


ARGUMENTS: dict[str, type[Arguments]] = {
    "erase": EraseArguments,
    "fill": FillArguments,
    "extend": ExtendArguments,
    "upscale": UpscaleArguments,
    "select": SelectionArguments,
    "describe": ImageArguments,
    "plan": PlanArguments,
    "upload": NoArguments,
    "result": IdArguments,
    "cancel": IdArguments,
}
"""The arguments of each tool by its name."""


def schema_of(tool: str) -> dict[str, Any]:
    schema = ARGUMENTS[tool].model_json_schema(schema_generator=DocumentSchema)
    return {name: schema[name] for name in ("type", "properties", "required", "additionalProperties") if name in schema}
