"""The image to insert: how a plan reads it, where it lies, and how it gets into what an engine paints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from inpainting import families
from inpainting.core import inserting
from inpainting.core.adapter_uses import INSERT, REFERENCES
from inpainting.core.conditioning_images import prepare_whole_image
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.inserting import InsertPlacement
from inpainting.core.masks import nonempty_bounds
from inpainting.core.sentences import Sentence, sentence
from inpainting.core.setting import DIFFUSION
from inpainting.core.settings_table import FROM_NOISE, INSERT_SETTINGS, PaintSettings
from inpainting.engines.base import Plan, SettingsPlan

CLONE, START, REFERENCE = "clone", "start", "reference"
PLACE = INSERT_SETTINGS - {"insert_mode"}
AnyPlan = TypeVar("AnyPlan", bound=SettingsPlan)


def plan_insert(plan: AnyPlan, sent: Collection[str]) -> AnyPlan:
    """Return the plan with `insert_mode` resolved; where no image is inserted, with its settings ignored.

    sent: the names of the conditioning images that the request has.
    Raises InvalidRequest, `insert_mode_unfit`, for a mode that the engine or the model does not have.
    """
    if INSERT.image not in sent:
        reason = sentence("It has no effect unless {name} is sent.", name=INSERT.image)
        return replace(plan, ignored={**dict.fromkeys(sorted(INSERT_SETTINGS), reason), **plan.ignored})
    if "insert_mode" in plan.ignored:
        return plan  # with the engine's own reason
    modes = modes_of(plan, sent)
    mode = plan.settings.insert_mode or modes[0]
    if mode not in modes:
        raise InvalidRequest(refusal(mode, modes, plan), code="insert_mode_unfit", field="insert_mode")
    plan = replace(plan, settings=replace(plan.settings, insert_mode=mode))
    if mode == REFERENCE:
        reason = sentence("A reference image is not placed.")
        return replace(plan, ignored={**dict.fromkeys(sorted(PLACE), reason), **plan.ignored})
    if is_hidden(plan):
        return replace(plan, ignored={**dict.fromkeys(sorted(INSERT_SETTINGS), FROM_NOISE.reason), **plan.ignored})
    return plan


def modes_of(plan: SettingsPlan, sent: Collection[str]) -> tuple[str, ...]:
    """Return the modes of the engine or model, its default first."""
    if plan.engine.name != DIFFUSION:
        return (CLONE,)
    count = families.get(plan.required_model.family).max_reference_images
    return (START,) if set(REFERENCES.images[:count]) <= set(sent) else (REFERENCE, START)


def refusal(mode: str, modes: tuple[str, ...], plan: SettingsPlan) -> str:
    """Return the message for a mode that the engine or the model does not have."""
    if plan.model is None:
        name = sentence("The engine {engine}", engine=plan.engine.name)
    elif mode == REFERENCE and families.get(plan.model.family).max_reference_images:
        name = sentence("{label} with all its reference images", label=plan.model.label)
    else:
        name = Sentence(plan.model.label)
    return sentence(
        "{name} cannot insert an image with insert_mode={mode}; possible: {modes}.",
        name=name,
        mode=mode,
        modes=", ".join(modes),
    )


def is_hidden(plan: SettingsPlan) -> bool:
    """Return whether noise hides the image that the model starts from, and the model sees it in no other way."""
    if plan.settings.insert_mode != START or "strength" in plan.ignored or plan.settings.strength != 1.0:
        return False
    return not families.get(plan.required_model.family).edits


def ignored_inserts(plan: SettingsPlan) -> dict[str, str]:
    """Return the image to insert where the plan does not read it, with the reason. See `ignored_images`."""
    if "insert_mode" in plan.engine.ignored_settings:
        return {INSERT.image: sentence("{engine} paints without an image to insert", engine=plan.engine.name)}
    if is_hidden(plan):
        return {INSERT.image: sentence("at a denoising strength of 1 nothing of it would be kept")}
    return {}


def place_insert(settings: PaintSettings, insert: CanonicalImage, mask: Mask) -> PaintSettings:
    """Return the settings with the place of an insert resolved.

    Raises InvalidRequest, `insert_outside`, where it covers nothing of the mask, which marks something.
    """
    marked = nonempty_bounds(mask)
    placement = InsertPlacement.of(settings, insert, marked)
    if not placement.meets(insert.size, mask):
        raise InvalidRequest(
            sentence(
                "{name} lies at {box} and covers nothing of the mask at {marked} (left, top, right, bottom).",
                name=INSERT.image,
                box=placement.box(insert.size).to_list(),
                marked=marked.to_list(),
            ),
            code="insert_outside",
            field="insert_x",
        )
    return replace(
        settings,
        insert_x=placement.x,
        insert_y=placement.y,
        insert_width=placement.width,
        insert_rotation=placement.rotation,
    )


def as_reference(images: Mapping[str, CanonicalImage]) -> dict[str, CanonicalImage]:
    """Return conditioning images with the image to insert as one more reference image."""
    others = {name: image for name, image in images.items() if name != INSERT.image}
    name = next(name for name in REFERENCES.images if name not in others)
    return {**others, name: prepare_whole_image(images[INSERT.image])}


def insert_box(plan: Plan) -> list[int] | None:
    """Return left, top, right and bottom of the image to insert; None where none is placed."""
    insert = plan.images.get(INSERT.image)
    return None if insert is None else placement_of(plan.settings).box(insert.size).to_list()


def placement_of(settings: PaintSettings) -> InsertPlacement:
    """Return the placement of resolved settings."""
    values = settings.insert_x, settings.insert_y, settings.insert_width, settings.insert_rotation
    return InsertPlacement(*(value or 0.0 for value in values))


def drawn_insert(plan: Plan) -> CanonicalImage:
    """Return the image to insert as it lies in the plan's window, at `window.work`."""
    return inserting.draw(plan.images[INSERT.image], placement_of(plan.settings), plan.window.box, plan.window.work)


def has_placed_insert(settings: Mapping[str, Any], ignored: Collection[str]) -> bool:
    """Return whether an image was placed in the one with these resolved settings.

    ignored: the names of those without effect.
    """
    return settings.get("insert_mode") in (CLONE, START) and "insert_mode" not in ignored


def clones(plan: Plan) -> bool:
    """Return whether an image is cloned into what the engine paints."""
    return plan.settings.insert_mode == CLONE and INSERT.image in plan.images


def starts_from_insert(plan: Plan) -> bool:
    """Return whether the model starts from the image to insert."""
    return plan.settings.insert_mode == START and INSERT.image in plan.images
