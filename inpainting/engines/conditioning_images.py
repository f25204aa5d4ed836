"""The conditioning images of a request: those that its plan does not read, those that are computed from its image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from inpainting import families
from inpainting.catalog.shipped_tools import SHIPPED_TOOLS
from inpainting.catalog.specs import COMPUTED_CONTROLS, ControlImageKind, ModelSpec
from inpainting.core.adapter_uses import ADAPTER_LISTS, CONTROLS, REFERENCES, REGIONS, AdapterList, Region
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.sentences import Sentence, every, plural_sentence, sentence
from inpainting.engines.base import Plan, SettingsPlan
from inpainting.engines.inserting import ignored_inserts
from inpainting.keepalive import run_in_thread
from inpainting.preprocessors import control_image

EXPECTED_IMAGES = {
    ControlImageKind.DEPTH: sentence("a depth map"),
    ControlImageKind.SCRIBBLE: sentence("a drawing"),
    ControlImageKind.OPENPOSE: sentence("a skeleton as OpenPose draws it"),
    ControlImageKind.LINEART: sentence("a line drawing, white on black"),
    ControlImageKind.SOFTEDGE: sentence("an image of soft edges, white on black"),
    ControlImageKind.NORMAL: sentence("a map of surface normals"),
    ControlImageKind.SEGMENT: sentence("a map of segments in the colours of ADE20K"),
}
"""The control images that a request must send, unless a preprocessor computes them; those of other controls are taken
from the source image."""


def ignored_images(plan: SettingsPlan, sent: Collection[str]) -> dict[str, str]:
    """Return the names of the conditioning images that the plan does not read, each with the reason.

    sent: the names of those that the request has.
    Raises InvalidRequest where one is read and was not sent: `control_image_missing`, `ip_adapter_image_missing`,
    `region_mask_missing`.
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
    return reasons | ignored_references(plan) | ignored_region_masks(plan, sent) | ignored_inserts(plan)


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
    notes: list[str] = [
        sentence(
            "{name} was not sent: {models} computed it from the image.",
            name=name,
            models=every(spec.label for spec in specs),
        )
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
        return sentence("the request names no {name}", name=adapters.name)
    if adapters is CONTROLS:
        return sentence("{engine} paints without a control", engine=plan.engine.name)
    return sentence("{engine} paints without an IP-Adapter", engine=plan.engine.name)


def find_extra_images(adapters: AdapterList, count: int) -> dict[str, str]:
    """Return the images of entries that a list of `count` does not have, each with the reason."""
    return {
        name: plural_sentence(
            "the request names {count} {noun}, and it is that of number {number}",
            "the request names {count} {noun}s, and it is that of number {number}",
            count=count,
            noun=adapters.noun,
            number=number,
        )
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
            reasons[name] = sentence("the strength of {slug} is 0", slug=use.slug)
        else:
            slugs = every(dict.fromkeys(computed)) if name == CONTROLS.image else use.slug
            reasons[name] = sentence("the input of {slugs} is computed from the image", slugs=slugs)
    return reasons


def check_control_images(plan: SettingsPlan, sent: Collection[str]) -> None:
    """Check that every ControlNet has the control image that it needs, and that those which share one agree about it.

    Raises InvalidRequest: `field_invalid`, `control_image_missing`.
    """
    uses, kinds = plan.settings.control_uses, applied_kinds(plan)
    sharing = {kinds[number]: uses[number] for number in kinds if needs_shared_image(number, kinds, sent)}
    if len(sharing) > 1:
        own = every(CONTROLS.images[1 : len(uses)])
        raise InvalidRequest(
            sentence(
                "{names} need control images of different kinds ({names_2}). control_image "
                "is that of the first; send the others as {own}.",
                names=every(use.slug for use in sharing.values()),
                names_2=", ".join(sharing),
                own=own,
            ),
            field="controls",
        )
    for kind, use in sharing.items():
        if CONTROLS.image not in sent:
            own = CONTROLS.images[uses.index(use)]
            names = (
                Sentence(own) if own == CONTROLS.image else sentence("{one} or {other}", one=own, other=CONTROLS.image)
            )
            values = {"slug": use.slug, "image": EXPECTED_IMAGES[kind], "names": names}
            preprocessors = preprocessors_of(kind)
            raise InvalidRequest(
                plural_sentence(
                    "The ControlNet {slug} is guided by {image}: send it as {names}, or install {models}, which "
                    "computes it: {commands}.",
                    "The ControlNet {slug} is guided by {image}: send it as {names}, or install {models}, which "
                    "compute it: {commands}.",
                    count=len(preprocessors),
                    models=every(spec.label for spec in preprocessors),
                    commands=" && ".join(f"manage.py pull_model {spec.slug}" for spec in preprocessors),
                    **values,
                )
                if preprocessors
                else sentence("The ControlNet {slug} is guided by {image}: send it as {names}.", **values),
                code="control_image_missing",
                field=own,
            )


def preprocessors_of(kind: ControlImageKind) -> list[ModelSpec]:
    """Return the models that together compute control images of that kind; none where there are none."""
    family = next((spec.family for spec in SHIPPED_TOOLS if families.get(spec.family).computes == kind), None)
    if family is None:
        return []
    names = (family, *families.get(family).needs)
    return [next(spec for spec in SHIPPED_TOOLS if spec.family == name) for name in names]


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
                sentence("The IP-Adapter {slug} needs an image prompt: send it as {name}.", slug=use.slug, name=name),
                code=f"{adapters.image}_missing",
                field=name,
            )
    return find_extra_images(adapters, len(uses))


def ignored_references(plan: SettingsPlan) -> dict[str, str]:
    """Return the reference images that the model does not take, each with the reason."""
    if plan.model is None:
        return dict.fromkeys(
            REFERENCES.images, sentence("{engine} paints without reference images", engine=plan.engine.name)
        )
    family = families.get(plan.model.family)
    count = family.max_reference_images
    reason = (
        plural_sentence(
            "{label} models take {count} reference image at most",
            "{label} models take {count} reference images at most",
            count=count,
            label=family.label,
        )
        if count
        else sentence("{label} models take no reference images", label=family.label)
    )
    return dict.fromkeys(REFERENCES.images[count:], reason)


def ignored_region_masks(plan: SettingsPlan, sent: Collection[str]) -> dict[str, str]:
    """Return the masks of no region that has an effect, each with the reason. See `ignored_images`."""
    regions = plan.settings.regions
    if not regions:
        return dict.fromkeys(REGIONS.images, sentence("the request has no {setting}", setting=Region.SETTING))
    if Region.SETTING in plan.ignored:
        return dict.fromkeys(REGIONS.images, sentence("{engine} paints without regions", engine=plan.engine.name))
    reasons: dict[str, str] = {
        name: plural_sentence(
            "the request has {count} region, and it is that of number {number}",
            "the request has {count} regions, and it is that of number {number}",
            count=len(regions),
            number=number,
        )
        for number, name in enumerate(REGIONS.images, 1)
        if number > len(regions)
    }
    for number, (name, region) in enumerate(zip(REGIONS.images, regions, strict=False), 1):
        if not region.weight:
            reasons[name] = sentence("the weight of region {number} is 0", number=number)
        elif name not in sent:
            raise InvalidRequest(
                sentence("Region {number} needs a mask: send it as {name}.", number=number, name=name),
                code="region_mask_missing",
                field=name,
            )
    return reasons


def masks_outside(images: Mapping[str, CanonicalImage], mask: Mask) -> dict[str, str]:
    """Return the masks of regions among the images that mark nothing of what is repainted, each with the reason."""
    return {
        name: sentence("it marks nothing of what is repainted")
        for name in REGIONS.images
        if name in images and not images[name].pixels[:, :, 0][mask > 0].any()
    }
