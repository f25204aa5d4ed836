"""Share by a link what the steps of a photo show together, as it is at that moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from inpainting.accounting.limits import check_upload, lock_owner
from inpainting.core import masks
from inpainting.core.credentials import DigitalSourceType, Origin
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import Mask
from inpainting.core.sentences import sentence
from inpainting.core.setting import UPSCALE
from inpainting.generations import history
from inpainting.generations.stack_images import carried, effective_mask, flatten
from inpainting.generations.stacks import PhotoStack, PhotoStep
from inpainting.media.conversions import converting
from inpainting.models import GeneratedImage, Generation, StackShare
from inpainting.models.images import SOURCE_CREDENTIALS, delete_uncommitted_files
from inpainting.storage import check_free_space

Text = TypeVar("Text", bound=str)


def share(
    user: Any, stack: PhotoStack, *, days: int, name: str = "", shows_source: bool = False, has_preview: bool = False
) -> StackShare:
    """Share the image of a stored stack for that many days. Later changes of the steps do not change what is shared.

    What else the link shows is False unless its owner chose so. Raises InvalidRequest where no step is seen, and where
    a step was deleted meanwhile; LimitReached; as `flatten` and `converting` do; and OSError if a disk is full or
    nearly full.
    """
    seen = [step for step in stack.steps if step.is_seen]
    if not seen:
        raise InvalidRequest(sentence("No step is shown: there is nothing but the photo to share."), field="steps")
    check_free_space()
    generations = {step.generation.pk: step.generation for step in (stack.steps[0], *seen)}
    with converting():
        shared = StackShare.from_image(
            flatten(stack),
            owner=user,
            stack=stack.row,
            source=stack.photo,
            report={**report_of(stack, seen), "generations": len(generations)},
            expires_at=timezone.now() + timedelta(days=days),
            name=name,
            shows_source=shows_source,
            has_preview=has_preview,
        )
    try:
        with transaction.atomic(durable=True):
            lock_owner(user)
            if history.for_user(user).filter(pk__in=generations).count() < len(generations):
                raise InvalidRequest(sentence("You have no such generation."), code="step_not_found", field="steps")
            check_upload(shared)
            shared.save(force_insert=True)
            shared.generations.set(generations.values())
    finally:
        delete_uncommitted_files([shared])
    return shared


def find_of_stack(stack: PhotoStack) -> list[StackShare]:
    """The links to images of a stored stack that work, newest first."""
    return usable(StackShare.objects.filter(stack=stack.row))


def find_of_generation(generation: Generation) -> list[StackShare]:
    """The links that work to images in which a generation is a step, newest first."""
    return usable(generation.stack_shares.all())


def usable(shares: QuerySet[StackShare]) -> list[StackShare]:
    return [shared for shared in shares.order_by("-created_at") if shared.is_usable]


def report_of(stack: PhotoStack, seen: Sequence[PhotoStep]) -> dict[str, Any]:
    """What the steps that are seen have done, for the page and for Content Credentials."""
    results = [step.result for step in seen if step.result is not None]
    generations = [step.generation for step in seen]
    origin = Origin(
        verbs=tuple(unique(generation.verb for generation in generations)),
        changes_nothing_else=not any(image.outside_mask_changed_pixels for image in results),
        source_type=source_type(seen, results),
        coverage=coverage(stack.steps),
        engine=", ".join(unique(generation.engine for generation in generations)),
        model=", ".join(unique(generation.model for generation in generations)),
        keeps_manifests=stack.steps[0].generation.settings.get("keep_metadata") is not None,
    )
    report = asdict(origin)
    lowest = stack.steps[0].result
    if lowest is not None and SOURCE_CREDENTIALS in lowest.report:
        report[SOURCE_CREDENTIALS] = lowest.report[SOURCE_CREDENTIALS]
    return report


def source_type(seen: Sequence[PhotoStep], results: Iterable[GeneratedImage]) -> DigitalSourceType:
    """How the pixels that are seen came to be."""
    types = {image.source_type for image in results}
    if types == {DigitalSourceType.GENERATED} and not any(step.painted_back for step in seen):
        return DigitalSourceType.GENERATED
    if any(found.is_of_network for found in types):
        return DigitalSourceType.COMPOSITE
    return DigitalSourceType.CAPTURES if DigitalSourceType.CAPTURES in types else DigitalSourceType.HUMAN_EDITS


def coverage(steps: Sequence[PhotoStep]) -> float:
    """The share of the image that the steps that are seen have repainted, 0 to 1. Enlarging alone repaints nothing."""
    repainted: Mask | None = None
    above = [step for step in steps if step.is_seen or not step.changes_size]
    for place, step in enumerate(above):
        if step.is_seen and step.generation.engine != UPSCALE:
            is_enlarged = step.generation.enlarged_to is not None  # its mask is that of the image before
            mask = carried(visible_mask(step), above[place if is_enlarged else place + 1 :])
            repainted = mask if repainted is None else np.maximum(repainted, mask)
    return 0.0 if repainted is None else round(masks.coverage(repainted), 6)


def visible_mask(step: PhotoStep) -> Mask:
    """Where a step is seen: 0 outside its mask, and where it is wholly painted back."""
    mask, back = effective_mask(step.generation), step.painted_back
    if back is None:
        return mask
    visible = mask.copy()
    visible[back.read_pixels() == 255] = 0
    return visible


def unique(values: Iterable[Text]) -> list[Text]:
    """The values that are not empty, each once, in their order."""
    return list(dict.fromkeys(value for value in values if value))
