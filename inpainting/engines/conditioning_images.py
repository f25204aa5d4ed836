"""The conditioning images of a request: those that its plan does not read, those that are computed from its image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from inpainting import families
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.specs import COMPUTED_CONTROLS, ControlImageKind, ModelSpec
from inpainting.core.adapter_uses import ADAPTER_LISTS, CONTROLS, REFERENCES, AdapterList
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.engines.base import Plan, SettingsPlan
from inpainting.keepalive import run_in_thread
from inpainting.preprocessors import control_image

EXPECTED_IMAGES = {
    ControlImageKind.DEPTH: "a depth map",
    ControlImageKind.SCRIBBLE: "a drawing",
    ControlImageKind.OPENPOSE: "a skeleton as OpenPose draws it",
    ControlImageKind.LINEART: "a line drawing, white on black",
    ControlImageKind.SOFTEDGE: "an image of soft edges, white on black",
    ControlImageKind.NORMAL: "a map of surface normals",
    ControlImageKind.SEGMENT: "a map of segments in the colours of ADE20K",
}
"""The control images that a request must send, unless a preprocessor computes them; those of other controls are taken
from the source image."""


def ignored_images(plan: SettingsPlan, sent: Collection[str]) -> dict[str, str]:
    """Return the names of the conditioning images that the plan does not read, each with the reason.

    sent: the names of those that the request has.
    Raises InvalidRequest where one is read and was not sent: `control_image_missing`, `ip_adapter_image_missing`.
    """
    reasons: dict[str, str] = {}
    for adapters in ADAPTER_LISTS:
        if adapters.name in plan.ignored or not adapters.uses(plan.settings):
            reason = reason_of_no_image(adapters, plan)
            reasons |= dict.fromkeys(adapters.images, reason)
        elif adapters is CONTROLS:
            reasons |= ignored_control_images(plan, sent)
        else:
            reasons |= ignored_image_prompts(adapters, plan, sent)
    return reasons | ignored_references(plan)


def compute_images(plan: Plan, keepalive: Callable[[], None]) -> tuple[dict[str, CanonicalImage], list[str]]:
    """The missing control images of a plan by their names, at the size of its image; and a note about each.

    keepalive: called meanwhile, see `run_in_thread`.
    Raises EngineFailed, see `control_image`.
    """
    wanted = images_to_compute(plan, plan.images)
    images = {
        specs: run_in_thread(partial(control_image, specs, plan.request.image), keepalive)
        for specs in dict.fromkeys(wanted.values())
    }
    notes = [
        f"{name} was not sent: {' and '.join(spec.label for spec in specs)} computed it from the image."
        for name, specs in wanted.items()
    ]
    return {name: images[specs] for name, specs in wanted.items()}, notes


def images_to_compute(plan: SettingsPlan, sent: Collection[str]) -> dict[str, tuple[ModelSpec, ...]]:
    """Return the names of the control images that were not sent and that a preprocessor computes, each with its
    models."""
    kinds = applied_kinds(plan)
    return {
        CONTROLS.images[number]: plan.preprocessors[kind]
        for number, kind in kinds.items()
        if kind in plan.preprocessors and CONTROLS.images[number] not in sent and not shares_image(number, kinds, sent)
    }


def applied_kinds(plan: SettingsPlan) -> dict[int, ControlImageKind]:
    """Return the kinds of the control images by the number of their ControlNet, from 0, without those of strength 0."""
    uses = plan.settings.control_uses
    return {number: kind for number, kind in enumerate(plan.controls) if uses[number].strength}


def shares_image(number: int, kinds: Mapping[int, ControlImageKind], sent: Collection[str]) -> bool:
    """Return whether a ControlNet without an image of its own reads control_image: one that was sent, unless another
    needs it for another kind, or else one that is computed for the same kind."""
    if number == 0:
        return False
    if CONTROLS.image not in sent:
        return kinds[number] == kinds.get(0)
    others = {kinds[other] for other in kinds if other != number and needs_shared_image(other, kinds, sent)}
    return others <= {kinds[number]}


def reason_of_no_image(adapters: AdapterList, plan: SettingsPlan) -> str:
    """Return why none of the images of these adapters is read."""
    if not adapters.uses(plan.settings):
        return f"the request names no {adapters.name}"
    without = "a control" if adapters is CONTROLS else "an IP-Adapter"
    return f"{plan.engine.name} paints without {without}"


def find_extra_images(adapters: AdapterList, count: int) -> dict[str, str]:
    """Return the images of entries that a list of `count` does not have, each with the reason."""
    return {
        name: f"the request names {count} {adapters.noun}{'s' * (count > 1)}, and it is that of number {number}"
        for number, name in enumerate(adapters.images, 1)
        if number > count
    }


def ignored_control_images(plan: SettingsPlan, sent: Collection[str]) -> dict[str, str]:
    """Return the control images that no ControlNet reads, each with the reason. See `ignored_images`."""
    uses, kinds = plan.settings.control_uses, applied_kinds(plan)
    available = {*sent, *images_to_compute(plan, sent)}
    check_control_images(plan, available)
    read = {control_image_of(number, kinds, available) for number in kinds}
    computed = [uses[number].slug for number, kind in kinds.items() if kind in COMPUTED_CONTROLS]
    reasons = find_extra_images(CONTROLS, len(uses))
    for name, use in zip(CONTROLS.images, uses, strict=False):
        if name in read or name not in sent:
            continue
        if not use.strength:
            reasons[name] = f"the strength of {use.slug} is 0"
        else:
            slugs = " and ".join(dict.fromkeys(computed)) if name == CONTROLS.image else use.slug
            reasons[name] = f"the input of {slugs} is computed from the image"
    return reasons


def check_control_images(plan: SettingsPlan, sent: Collection[str]) -> None:
    """Check that every ControlNet has the control image that it needs, and that those which share one agree about it.

    Raises InvalidRequest: `field_invalid`, `control_image_missing`.
    """
    uses, kinds = plan.settings.control_uses, applied_kinds(plan)
    sharing = {kinds[number]: uses[number] for number in kinds if needs_shared_image(number, kinds, sent)}
    if len(sharing) > 1:
        own = " and ".join(CONTROLS.images[1 : len(uses)])
        raise InvalidRequest(
            f"{' and '.join(use.slug for use in sharing.values())} need control images of different kinds "
            f"({', '.join(sharing)}). control_image is that of the first; send the others as {own}.",
            field="controls",
        )
    for kind, use in sharing.items():
        if CONTROLS.image not in sent:
            own = CONTROLS.images[uses.index(use)]
            either = own if own == CONTROLS.image else f"{own} or {CONTROLS.image}"
            raise InvalidRequest(
                f"The ControlNet {use.slug} is guided by {EXPECTED_IMAGES[kind]}: send it as {either}"
                f"{preprocessor_hint(kind)}.",
                code="control_image_missing",
                field=own,
            )


def preprocessor_hint(kind: ControlImageKind) -> str:
    """Return the end of a sentence that names what computes control images of that kind; "" where there is nothing."""
    family = next((spec.family for spec in SHIPPED_TOOLS if families.get(spec.family).computes == kind), None)
    if family is None:
        return ""
    names = (family, *families.get(family).needs)
    specs = [next(spec for spec in SHIPPED_TOOLS if spec.family == name) for name in names]
    verb = "computes" if len(specs) == 1 else "compute"
    commands = " && ".join(f"manage.py pull_model {spec.slug}" for spec in specs)
    return f", or install {' and '.join(spec.label for spec in specs)}, which {verb} it: {commands}"


def needs_shared_image(number: int, kinds: Mapping[int, ControlImageKind], sent: Collection[str]) -> bool:
    """Return whether a ControlNet cannot be applied without control_image. See `control_image_of`."""
    has_own = number > 0 and CONTROLS.images[number] in sent
    return kinds[number] in EXPECTED_IMAGES and not has_own


def control_image_of(number: int, kinds: Mapping[int, ControlImageKind], sent: Collection[str]) -> str | None:
    """Return the name of the control image that a ControlNet reads; None where its input is computed.

    number: in the list of ControlNets, from 0.
    kinds: number -> the kind of its control image, of all that are applied.
    sent: the names of the images that the request has.
    A ControlNet after the first reads control_image where it has no image of its own; a tile ControlNet reads it only
    where no other needs it.
    """
    if kinds[number] in COMPUTED_CONTROLS:
        return None
    own = CONTROLS.images[number]
    if number > 0 and own in sent:
        return own
    is_tile = kinds[number] is ControlImageKind.TILE
    if is_tile and any(needs_shared_image(other, kinds, sent) for other in kinds):
        return None
    return CONTROLS.image if CONTROLS.image in sent else None


def ignored_image_prompts(adapters: AdapterList, plan: SettingsPlan, sent: Collection[str]) -> dict[str, str]:
    """Return the images of no adapter of a list whose entries need one each, with the reason. See `ignored_images`."""
    uses = adapters.uses(plan.settings)
    for name, use in zip(adapters.images, uses, strict=False):
        if name not in sent:
            raise InvalidRequest(
                f"The {adapters.noun} {use.slug} needs an {adapters.image_label.lower()}: send it as {name}.",
                code=f"{adapters.image}_missing",
                field=name,
            )
    return find_extra_images(adapters, len(uses))


def ignored_references(plan: SettingsPlan) -> dict[str, str]:
    """Return the reference images that the model does not take, each with the reason."""
    if plan.model is None:
        return dict.fromkeys(REFERENCES.images, f"{plan.engine.name} paints without reference images")
    family = families.get(plan.model.family)
    count = family.max_reference_images
    images = f"{count} reference image{'s' * (count > 1)} at most" if count else "no reference images"
    reason = f"{family.label} models take {images}"
    return dict.fromkeys(REFERENCES.images[count:], reason)
