"""The stack of steps of a photo: found, derived from the edits that led to a generation, stored and changed.

A photo that was only edited step after step has no row: its stack is derived. `stack_images` makes the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction

from inpainting.accounting.limits import check_steps, check_upload, lock_owner
from inpainting.core.codecs import replace_png_texts
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import Mask
from inpainting.core.sentences import Sentence, sentence
from inpainting.core.stack import check_laid
from inpainting.generations import history
from inpainting.generations.edit_tree import in_tree
from inpainting.models import GeneratedImage, Generation, SourceImage, Stack, StackStep, Status, StepMask
from inpainting.models.images import StoredImage, delete_uncommitted_files
from inpainting.models.queued_work import ENDED
from inpainting.storage import check_free_space

MAX_STEPS = 200
UNNAMED_FOR = timedelta(days=1)
"""How long the mask of a step that was painted back is kept when no step names it any more: undo needs it."""


@dataclass(frozen=True, slots=True)
class PhotoStep:
    """One result of a generation, inside its effective mask."""

    generation: Generation
    image: int  # which of its results, from 0
    is_hidden: bool = False
    painted_back: StepMask | None = None
    made_on: tuple[str, ...] = ()  # the keys of the steps that were seen beneath when it was made

    @property
    def result(self) -> GeneratedImage | None:
        """The result; None while it is not painted yet."""
        return next((image for image in self.generation.images.all() if image.index == self.image), None)

    @property
    def is_seen(self) -> bool:
        return self.result is not None and not self.is_hidden

    @property
    def key(self) -> str:
        """What it adds to the image: the same for the same pixels."""
        back = "" if self.painted_back is None else f"/{self.painted_back.pk}"
        return f"{self.generation.pk}/{self.image}{back}"

    @property
    def changes_size(self) -> bool:
        return self.generation.result_size != self.made_on_size

    @property
    def made_on_size(self) -> Size:
        """The size of the image that it was made on; of an outpainting as it was sent."""
        placement, source = self.generation.placement, self.generation.source
        if placement:
            return Size(placement["source_width"], placement["source_height"])
        return Size(source.width, source.height)


@dataclass(frozen=True, slots=True)
class PhotoStack:
    """The steps of a photo, the lowest first, at least one."""

    steps: tuple[PhotoStep, ...]
    row: Stack | None = None  # None: it is derived and not stored

    @property
    def photo(self) -> SourceImage:
        return self.steps[0].generation.source

    @property
    def seen(self) -> tuple[str, ...]:
        """The keys of the steps that are seen: equal where the flattened images are."""
        return seen_keys(self.steps)


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step as a client wants it."""

    generation: UUID
    image: int = 0
    is_hidden: bool = False
    painted_back: UUID | None = None
    made_on: tuple[str, ...] | None = None  # None: as before; of a new step, what is seen beneath it now


def seen_keys(steps: Iterable[PhotoStep]) -> tuple[str, ...]:
    return tuple(step.key for step in steps if step.is_seen)


# Reading


def find(user: Any, pk: UUID) -> PhotoStack | None:
    """The user's stack; None where there is none, or nothing is left of it."""
    row = Stack.objects.filter(owner=user, pk=pk).first()
    steps = () if row is None else steps_of(user, row.steps.select_related("painted_back"))
    return PhotoStack(steps, row) if steps else None


def steps_of(user: Any, rows: Iterable[StackStep]) -> tuple[PhotoStep, ...]:
    """The steps of a stack without those whose generation failed or is gone.

    What a deleted generation painted stays in the steps above: the lowest that was made on it is the new beginning, and
    the photo is what that one was made on.
    """
    rows = list(rows)
    generations = history.for_user(user).in_bulk([row.generation_id for row in rows])
    steps: list[PhotoStep] = []
    merged: set[str] = set()  # keys that are part of the photo now
    place, is_gap = 0, False
    for row in rows:
        generation = generations.get(row.generation_id)
        is_gap, place = is_gap or row.position != place or generation is None, row.position + 1
        if generation is None or (generation.status in ENDED and generation.status != Status.SUCCEEDED):
            continue
        step = PhotoStep(generation, row.image, row.is_hidden, row.painted_back, tuple(row.made_on))
        if is_gap and names_missing(user, step):
            steps, is_gap = [], False
            merged |= set(step.made_on)
        steps.append(replace(step, made_on=tuple(key for key in step.made_on if key not in merged)))
    return tuple(steps)


def names_missing(user: Any, step: PhotoStep) -> bool:
    """Whether the step was made on a generation that is gone."""
    named = {UUID(key.partition("/")[0]) for key in step.made_on}
    return history.for_user(user).filter(pk__in=named).count() < len(named)


def ending_in(user: Any, generation: Generation, image: int = 0) -> PhotoStack:
    """The stack with this generation on top: the stored one, or the one that follows from what it continues."""
    tree = {found.pk: found for found in history.for_user(user).filter(in_tree(generation.pk))}
    rows = StackStep.objects.filter(stack__owner=user, generation__in=tree).select_related("stack")
    stored: dict[UUID, list[StackStep]] = {}
    for row in rows.order_by("-stack__saved_at"):
        stored.setdefault(row.generation_id, []).append(row)
    above: list[tuple[Generation, int]] = []
    part: Generation | None = generation
    beneath: tuple[PhotoStep, ...] = ()
    while part is not None:
        found = stack_up_to(user, part, image, stored.get(part.pk, ()))
        if found is not None:
            beneath = found.steps
            if not above:
                return found
            break
        above.append((part, image))
        image, part = continued(part, tree)
    for part, chosen in reversed(above):
        beneath = (*beneath, PhotoStep(part, chosen, made_on=seen_keys(beneath)))
    return PhotoStack(beneath)


def stack_up_to(user: Any, generation: Generation, image: int, rows: Sequence[StackStep]) -> PhotoStack | None:
    """The newest stored stack with this result of a generation on top; else the lower part of the newest that has it.

    rows: the steps that are results of this generation.
    """
    parts = []
    for row in rows:
        if row.image != image:
            continue
        steps = steps_of(user, row.stack.steps.select_related("painted_back"))
        place = next((place for place, step in enumerate(steps) if step.generation.pk == generation.pk), None)
        if place is None:
            continue
        if place == len(steps) - 1:
            return PhotoStack(steps, row.stack)
        parts.append(PhotoStack(steps[: place + 1]))
    return parts[0] if parts else None


def continued(generation: Generation, tree: dict[UUID, Generation]) -> tuple[int, Generation | None]:
    """Which result of which generation this one continues; None where it begins with a photo of its own.

    One that runs another again has the same source and continues what that one continues.
    """
    parent = tree.get(generation.parent_id) if generation.parent_id else None
    while parent is not None and parent.source_id == generation.source_id:
        parent = tree.get(parent.parent_id) if parent.parent_id else None
    if parent is None or parent.status != Status.SUCCEEDED:
        return 0, None
    if parent.result_size != PhotoStep(generation, 0).made_on_size:
        return 0, None
    images = list(parent.images.all())
    return next((image.index for image in images if len(images) > 1 and is_source(image, generation)), 0), parent


def is_source(image: GeneratedImage, generation: Generation) -> bool:
    """Whether a generation was made on this result: the file without its texts is that of the source."""
    try:
        plain = replace_png_texts(image.read_bytes(), {})
    except FileNotFoundError:
        return False
    return hashlib.sha256(plain).hexdigest() == generation.source.sha256


def without(stack: PhotoStack, *, from_place: int) -> PhotoStack:
    """The same stack with the steps from this place on hidden."""
    steps = stack.steps
    return replace(stack, steps=(*steps[:from_place], *(replace(step, is_hidden=True) for step in steps[from_place:])))


def beginning(steps: Sequence[PhotoStep]) -> tuple[StoredImage, Sequence[PhotoStep]]:
    """The stored image that is laid lowest, and the steps to lay over it. steps: at least one.

    It is the result of the highest step that is seen whole and was made on exactly what is seen beneath it.
    """
    seen = [step for step in steps if step.is_seen]
    keys = seen_keys(seen)
    for place in reversed(range(len(seen))):
        step = seen[place]
        if step.painted_back is None and step.made_on == keys[:place] and step.result is not None:
            return step.result, seen[place + 1 :]
    return steps[0].generation.source, seen


# Changing


def store(user: Any, generation: Generation, image: int = 0) -> PhotoStack:
    """Store the stack with this generation on top, unless it is stored.

    Raises InvalidRequest for a generation that failed or was cancelled, and see `check`.
    """
    if generation.status in ENDED and generation.status != Status.SUCCEEDED:
        raise invalid(
            "generation", sentence("This generation has no result: it is {status}.", status=generation.status)
        )
    with transaction.atomic():
        lock_owner(user)
        found = ending_in(user, generation, image)
        if found.row is not None:
            return found
        check(found.steps)
        return PhotoStack(found.steps, save_steps(Stack(owner=user), found.steps))


def change(user: Any, pk: UUID, changes: Sequence[StepChange], *, revision: int) -> PhotoStack | None:
    """Replace the steps of the stack of that revision; None where there is none. Equal ones change nothing.

    Raises InvalidRequest: `stack_changed` for another revision; `step_not_found` for a generation or a mask that is not
    the user's; see `check`.
    """
    with transaction.atomic():
        lock_owner(user)
        found = find(user, pk)
        if found is None or found.row is None:
            return None
        steps = changed(user, found.steps, changes)
        if steps == found.steps:
            return found
        if found.row.revision != revision:
            message = sentence(
                "The steps were changed elsewhere: their revision is {revision}, not {revision_2}.",
                revision=found.row.revision,
                revision_2=revision,
            )
            raise InvalidRequest(
                message, code="stack_changed", field="revision", limit=found.row.revision, actual=revision
            )
        check(steps)
        return PhotoStack(steps, save_steps(found.row, steps))


def changed(user: Any, former: Sequence[PhotoStep], changes: Sequence[StepChange]) -> tuple[PhotoStep, ...]:
    """The steps as a client wants them, with what it leaves out as it was."""
    known = {step.generation.pk: step for step in former}
    generations = history.for_user(user).in_bulk([wanted.generation for wanted in changes])
    masks = StepMask.objects.filter(owner=user).in_bulk([wanted.painted_back for wanted in changes])
    steps: tuple[PhotoStep, ...] = ()
    for place, wanted in enumerate(changes):
        generation = generations.get(wanted.generation)
        if generation is None:
            raise not_found(f"steps[{place}].generation", sentence("You have no such generation."))
        if wanted.painted_back is not None and wanted.painted_back not in masks:
            raise not_found(f"steps[{place}].painted_back", sentence("You have no such mask."))
        made_on = wanted.made_on
        if made_on is None:
            before = known.get(generation.pk)
            made_on = seen_keys(steps) if before is None else before.made_on
        back = None if wanted.painted_back is None else masks[wanted.painted_back]
        steps = (*steps, PhotoStep(generation, wanted.image, wanted.is_hidden, back, tuple(made_on)))
    return steps


def not_found(field: str, message: Sentence) -> InvalidRequest:
    return InvalidRequest(message, code="step_not_found", field=field)


def check(steps: Sequence[PhotoStep]) -> None:
    """Raise InvalidRequest for steps that cannot lie over each other: `field_invalid`, `step_does_not_fit`,
    `step_changes_size` for one that is hidden or painted back although later steps have its size, and
    `too_many_megapixels`."""
    if len(steps) > MAX_STEPS:
        message = sentence("A photo has at most {most} steps, got {count}.", most=MAX_STEPS, count=len(steps))
        raise invalid("steps", message)
    if len({step.generation.pk for step in steps}) < len(steps):
        raise invalid("steps", sentence("A generation is a step once."))
    size = steps[0].made_on_size if steps else None
    hidden_at = None  # the lowest hidden step that changes the size
    for place, step in enumerate(steps):
        if step.result is None and step.generation.status == Status.SUCCEEDED:
            count = step.generation.images.count()
            message = sentence(
                "The generation has {count} results, from 0; got {number}.", count=count, number=step.image
            )
            raise invalid(f"steps[{place}].image", message)
        if step.made_on_size != size:
            message = sentence(
                "Step {number} was made on an image of {made_on_size}; what lies beneath it is {size}.",
                number=place + 1,
                made_on_size=step.made_on_size,
                size=size,
            )
            raise invalid(f"steps[{place}]", message, code="step_does_not_fit")
        size = step.generation.result_size
        if step.painted_back is not None:
            check_painted_back(step, place)
        if hidden_at is not None and not step.is_hidden:
            message = sentence(
                "Step {number} changes the size of the photo: hide the steps after it as well.", number=hidden_at + 1
            )
            raise invalid(f"steps[{place}].hidden", message, code="step_changes_size")
        if hidden_at is None and step.is_hidden and step.changes_size:
            hidden_at = place
    if steps:
        check_laid(step.generation.result_size for step in beginning(steps)[1])


def check_painted_back(step: PhotoStep, place: int) -> None:
    field = f"steps[{place}].painted_back"
    if step.changes_size:
        message = sentence(
            "Step {number} changes the size of the photo: it can be hidden, not painted back.", number=place + 1
        )
        raise invalid(field, message, code="step_changes_size")
    mask: Any = step.painted_back
    size = Size(mask.width, mask.height)
    if size != step.generation.result_size:
        message = sentence(
            "mask is {size}, the step is {result_size}", size=size, result_size=step.generation.result_size
        )
        raise invalid(field, message, code="mask_size_mismatch")


def invalid(field: str, message: Sentence, *, code: str = "field_invalid") -> InvalidRequest:
    return InvalidRequest(message, code=code, field=field)


def save_steps(row: Stack, steps: Sequence[PhotoStep]) -> Stack:
    """Replace the steps of a stack in the caller's transaction, which has locked the owner. Raises LimitReached."""
    former = 0 if row._state.adding else row.steps.count()
    if len(steps) > former:
        check_steps(row.owner, adding=len(steps) - former)
    row.revision += 1
    row.save()
    row.steps.all().delete()
    StackStep.objects.bulk_create(
        StackStep(
            stack=row,
            position=position,
            generation=step.generation,
            image=step.image,
            is_hidden=step.is_hidden,
            painted_back=step.painted_back,
            made_on=list(step.made_on),
        )
        for position, step in enumerate(steps)
    )
    return row


# Masks


def store_mask(user: Any, mask: Mask) -> StepMask:
    """Store where a step is painted back, for a step to name. Raises LimitReached, and OSError if a disk is full or
    nearly full."""
    check_free_space()
    stored = StepMask.from_pixels(user, mask)
    try:
        with transaction.atomic(durable=True):
            check_upload(stored)
            stored.save(force_insert=True)
    finally:
        delete_uncommitted_files([stored])
    return stored


def delete_unnamed_masks(now: datetime) -> None:
    """Delete the masks that no step has named for a day."""
    unnamed = StepMask.objects.filter(steps=None, created_at__lt=now - UNNAMED_FOR)
    for mask in unnamed:
        with transaction.atomic():
            lock_owner(get_user_model().reference(mask.owner_id))  # steps are changed with the same lock
            unnamed.filter(pk=mask.pk).delete()
