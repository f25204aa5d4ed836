"""Batches: many images that are accepted, cancelled, retried and deleted together, each painted as a generation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, Prefetch, Q, QuerySet

from inpainting import webhooks
from inpainting.accounting.limits import Allowance, LimitReached
from inpainting.catalog.lookup import Catalog
from inpainting.core.adapter_uses import INSERT
from inpainting.core.errors import InvalidRequest, PaintingError
from inpainting.core.request import InpaintRequest
from inpainting.core.sentences import parts_of, restored, sentence
from inpainting.engines.conditioning_images import ignored_images
from inpainting.engines.inserting import plan_insert
from inpainting.engines.plan import plan_images
from inpainting.generations.delete import delete_ended
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import (
    Submission,
    deleting_uncommitted_files,
    prepare_generation,
    random_seed,
    save_and_notify,
)
from inpainting.models import Batch, BatchItem, GeneratedImage, Generation, Status, Verdict
from inpainting.models.batch import DELETED, REFUSED
from inpainting.models.generation_request import JOINED_IMAGES, SharedImages
from inpainting.planning import planner
from inpainting.translation import translated

LIVE = (Status.QUEUED, Status.RUNNING)
RETRIED = (Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True, slots=True, eq=False)
class BatchInput:
    """One image of a batch: its file name, and its request or the error that was raised when it was read."""

    name: str
    request: InpaintRequest | InvalidRequest
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryResult:
    """The result of `retry`: indexes of the items that are queued again, and the errors of the refused ones."""

    accepted: tuple[int, ...]
    refused: dict[int, InvalidRequest]


def for_user(user: Any) -> QuerySet[Batch]:
    """The user's batches, newest first, each with a count of its items by state: `queued_count`, …"""
    is_hidden = Q(items__generation__verdict=Verdict.REMOVED) | Q(items__generation__deleted_at__isnull=False)
    statuses = {
        f"{status}_count": Count("items", filter=Q(items__generation__status=status) & ~is_hidden) for status in Status
    }
    refused = Count("items", filter=Q(items__refusal__isnull=False))
    deleted = Count("items", filter=Q(items__refusal__isnull=True, items__generation=None) | is_hidden)
    counts = {**statuses, f"{REFUSED}_count": refused, f"{DELETED}_count": deleted}
    return Batch.objects.filter(owner=user).annotate(**counts).order_by("-created_at", "-pk")


def find(user: Any, pk: UUID) -> Batch | None:
    """The user's batch with its items and their results; None if it does not exist or belongs to another user."""
    images = Prefetch("generation__images", GeneratedImage.objects.order_by("index"))
    items = BatchItem.objects.select_related("generation__source", "generation__mask").prefetch_related(images)
    return for_user(user).prefetch_related(Prefetch("items", items)).filter(pk=pk).first()


def submit_batch(
    inputs: Iterable[BatchInput],
    *,
    owner: Any,
    engine: str = "auto",
    webhook_url: str = "",
    idempotency: Idempotency | None = None,
    catalog: Catalog | None = None,
) -> Batch:
    """Accept a batch and return it; a repeated Idempotency-Key returns the earlier one.

    Each image is accepted or refused by itself; after the first one that exceeds a limit of the owner, all are
    refused. If every image is refused, nothing is stored, the key stays free, and the first refusal is raised.
    Raises InvalidRequest also for an unknown engine, a webhook_url that may not be called and a key that came with
    another request.
    """
    if webhook_url:
        webhooks.check_url(webhook_url, field="webhook_url")
    # Equal settings are planned once, with one seed, and equal reference images are stored once.
    plan_settings = cache(partial(planner(catalog).plan_settings, engine=engine, seed=random_seed()))
    shared = SharedImages()

    def prepare(batch_input: BatchInput) -> Generation:
        if isinstance(batch_input.request, InvalidRequest):
            raise batch_input.request
        request = batch_input.request
        inserts = INSERT.image in request.conditioning_images
        plan = plan_images(request, plan_settings(request.settings, inserts=inserts, upscaler=request.upscaler))
        submission = Submission(
            owner, engine=engine, source_name=batch_input.name, warnings=batch_input.warnings, webhook_url=webhook_url
        )
        return prepare_generation(plan, submission, shared=shared)

    refusals: dict[int, InvalidRequest] = {}
    items: list[BatchItem] = []
    try:
        with transaction.atomic():
            Allowance(owner).check()  # before an image is read
        with deleting_uncommitted_files() as prepared:
            for given in inputs:
                item = BatchItem(index=len(items), name=given.name)
                items.append(item)
                try:
                    item.generation = prepare(given)
                    prepared.append(item.generation)
                except InvalidRequest as error:
                    refusals[item.index] = remove_traceback(error)
                del given  # free its images before the next are read
            if not items:
                raise InvalidRequest(sentence("A batch has at least one image."), code="field_missing", field="images")
            waiting = {item.index: item.generation for item in items if item.generation is not None}
            with transaction.atomic(durable=True):
                batch = Batch.objects.create(owner=owner)
                refusals |= save_until_limit(waiting, Allowance(owner))
                if len(refusals) == len(items):
                    raise refusals[0]
                for item in items:
                    save_item(item, batch, refusals.get(item.index))
                if idempotency is not None:
                    idempotency.remember_batch(batch)
    except (IntegrityError, InvalidRequest):
        earlier = idempotency.earlier_batch(owner) if idempotency else None
        if earlier is None:
            raise
        return earlier  # a concurrent request with the same key was first
    return batch


def remove_traceback(error: InvalidRequest) -> InvalidRequest:
    """The error without its traceback, whose frames hold the image for as long as the error is kept."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def save_until_limit(waiting: dict[int, Generation], allowance: Allowance) -> dict[int, InvalidRequest]:
    """Save generations of a batch in order, by index, until one exceeds a limit.

    Returns that error for it and all after it.
    """
    over: dict[int, InvalidRequest] = {}
    reached: LimitReached | None = None
    for index, generation in waiting.items():
        try:
            if reached is None:
                save_and_notify(generation, allowance, in_batch=True)
        except LimitReached as error:
            reached = error
        if reached is not None:
            over[index] = reached
    return over


def save_item(item: BatchItem, batch: Batch, refusal: InvalidRequest | None) -> None:
    item.batch = batch
    if refusal is not None:
        item.generation, item.refusal = None, {**error_details(refusal), "sentences": parts_of([refusal.message])}
    item.save(force_insert=True)


def error_details(error: PaintingError) -> dict[str, Any]:
    """An error as a dict to store: message, code, and the details that it has."""
    details = {"field": error.field, "limit": error.limit, "actual": error.actual}
    known = {name: value for name, value in details.items() if value is not None}
    return {"message": error.message, "code": error.code, **known}


def shown_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """A stored error as a dict to send, with its message in the language of the response."""
    shown = {name: value for name, value in details.items() if name != "sentences"}
    return {**shown, "message": translated(restored(details["message"], details.get("sentences")))}


def cancel(batch: Batch) -> bool:
    """Cancel every queued and running generation. Returns False if there is none."""
    live = Generation.objects.filter(batch_item__batch=batch, status__in=LIVE)
    return sum(generation.cancel() for generation in live) > 0


def retry(batch: Batch) -> RetryResult:
    """Run the failed and cancelled items again with the same settings: each becomes a new generation, a child of the
    former one, that shares its images.

    If every item is refused, nothing is stored, and the first refusal is raised. The result is empty if there is
    nothing to retry, or a concurrent call has retried everything.
    """
    read = ("generation__owner", *(f"generation__{name}" for name in JOINED_IMAGES))
    ended = (
        batch.items.select_related(*read)
        .prefetch_related("generation__conditioning_images")
        .filter(generation__status__in=RETRIED, generation__deleted_at=None)
        .exclude(generation__verdict=Verdict.REMOVED)
    )
    items = {item.index: item for item in ended}
    refusals: dict[int, InvalidRequest] = {}
    again: dict[int, Generation] = {}
    for index, item in items.items():
        former: Any = item.generation
        try:
            again[index] = copy_for_rerun(former)
        except InvalidRequest as error:
            refusals[index] = error
    with transaction.atomic(durable=True):
        # Serialise retries and deletions of a batch. SQLite's transactions are exclusive anyway.
        list(Batch.objects.select_for_update().filter(pk=batch.pk))
        allowance = Allowance(batch.owner)  # locks the owner before any generation, in the same order as deletion
        waiting = {index: again[index] for index in still_ended(items) if index in again}
        refusals |= save_until_limit(waiting, allowance)
        done = [index for index in waiting if index not in refusals]
        for index in done:
            items[index].replace_generation(waiting[index])
        if refusals and not done:
            raise refusals[min(refusals)]
    return RetryResult(tuple(done), refusals)


def copy_for_rerun(former: Generation) -> Generation:
    """A child of a generation, planned again, without reading its images; its row is not saved yet.

    Raises InvalidRequest if it can no longer be accepted: for settings that `Planner.plan_settings` refuses, a missing
    conditioning image, a missing file (`image_gone`) and a webhook_url that is no longer allowed.
    """
    if former.webhook_url:
        webhooks.check_url(former.webhook_url, field="webhook_url")
    upscaler = former.upscaler if former.enlargement else ""
    plan = planner().plan_settings(former.paint_settings, former.engine, upscaler=upscaler)
    plan = plan_insert(plan, former.references)
    ignored_images(plan, former.references)
    for image in former.inputs.values():
        if not image.file.storage.exists(str(image.file.name)):
            raise former.image_gone()
    again = former.copy_for_rerun()
    again.settings, again.ignored = plan.settings.to_dict(), sorted(plan.ignored)
    return again


def still_ended(items: Mapping[int, BatchItem]) -> list[int]:
    """The indexes of the items that no concurrent call has changed; locks their generations."""
    read = {item.generation.pk: index for index, item in items.items() if item.generation is not None}
    formers = Generation.objects.select_for_update(of=["self"], no_key=True).filter(pk__in=read).order_by("pk")
    return sorted(read[pk] for pk in formers.filter(batch_item__isnull=False).values_list("pk", flat=True))


def delete_batch(batch: Batch) -> bool:
    """Delete a batch with all of its generations, retried ones too, but for those that an administrator removed: these
    stay until they expire. False while one of them runs: then it is being cancelled, nothing is deleted yet, and the
    caller should try again soon."""
    cancel(batch)
    with transaction.atomic():
        Batch.objects.select_for_update().filter(pk=batch.pk).first()
        present = Generation.objects.filter(batch_item__batch=batch)
        if present.filter(status__in=LIVE).exists():
            return False
        every = add_former(list(present.values_list("pk", flat=True)))
        for pk in Generation.objects.filter(pk__in=every).exclude(verdict=Verdict.REMOVED).values_list("pk", flat=True):
            delete_ended(pk)
        batch.delete()
    return True


def add_former(pks: Sequence[UUID]) -> list[UUID]:
    """These generations and those that they were retried from."""
    every: list[UUID] = []
    while pks:
        every += pks
        pks = list(Generation.objects.filter(children__in=pks).values_list("pk", flat=True))
    return every
