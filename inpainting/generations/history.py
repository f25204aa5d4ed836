"""Queries for generations through their owner, the only way for views to read them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, QuerySet

from inpainting.core.errors import PaintingError
from inpainting.core.sentences import sentence
from inpainting.engines.base import Queue
from inpainting.models import GeneratedImage, Generation, OwnerTotals, Status, Verdict
from inpainting.models.generation_request import JOINED_IMAGES
from inpainting.models.queued_work import ENDED


class GenerationRemoved(PaintingError):
    """An administrator removed the generation; the message gives the reason."""

    default_code = "generation_removed"

    def __init__(self, generation: Generation) -> None:
        super().__init__(
            sentence("An administrator removed this generation: {reason}", reason=generation.review_note)
            if generation.review_note
            else sentence("An administrator removed this generation.")
        )
        self.generation = generation


def for_user(user: Any) -> QuerySet[Generation]:
    """The user's generations, newest first, with related rows prefetched. Empty for anonymous users.

    Without those that an administrator removed.
    """
    return everything_of(user).exclude(verdict=Verdict.REMOVED)


def count_of(user: Any) -> int:
    """Return the number of generations of `for_user`, without reading them."""
    return OwnerTotals.of([user.pk])[user.pk]["listed"]


def counts_of(user: Any) -> dict[str, int]:
    """Return the number of generations of `for_user` with each status, and of all as `total`.

    Those that have ended are not read.
    """
    totals = OwnerTotals.of([user.pk])[user.pk]
    live = unfinished(user).exclude(verdict=Verdict.REMOVED).order_by().values_list("status").annotate(Count("pk"))
    ended = {status: totals[f"listed_{status}"] for status in ENDED}
    return {**dict.fromkeys(Status.values, 0), **ended, **dict(live), "total": totals["listed"]}


def removed_of(user: Any) -> QuerySet[Generation]:
    """The generations of the user that an administrator removed, newest first."""
    return everything_of(user).filter(verdict=Verdict.REMOVED)


def everything_of(user: Any) -> QuerySet[Generation]:
    """As `for_user`, with the removed ones. Pass what is found to `refuse_removed`.

    Without those that the user has deleted, also while that can be undone.
    """
    if not user.is_authenticated:
        return Generation.objects.none()
    return with_images().filter(owner=user, deleted_at=None)


def of_all_users() -> QuerySet[Generation]:
    """As `for_user`, of all users: for `search`, which is told the owner."""
    return with_images().filter(deleted_at=None).exclude(verdict=Verdict.REMOVED)


def with_images() -> QuerySet[Generation]:
    images = Prefetch("images", GeneratedImage.objects.order_by("index"))
    return Generation.objects.select_related(*JOINED_IMAGES).prefetch_related(images, "conditioning_images")


def refuse_removed(generation: Generation | None) -> None:
    """Raise GenerationRemoved for a generation that an administrator removed."""
    if generation is not None and generation.is_removed:
        raise GenerationRemoved(generation)


def unfinished(user: Any) -> QuerySet[Generation]:
    """The user's queued and running generations, oldest first."""
    if not user.is_authenticated:
        return Generation.objects.none()
    # The queues, so that SQLite reads the index of those that have not ended, rather than the owner's.
    live = Generation.objects.filter(owner=user, queue__in=list(Queue), finished_at=None, deleted_at=None)
    return live.order_by("created_at")


def find(user: Any, pk: UUID, *, service: str | None = None) -> Generation | None:
    """The user's generation; None if it does not exist or belongs to another user. Raises GenerationRemoved.

    service: only a generation that this service accepted.
    """
    found = everything_of(user).filter(pk=pk)
    generation = (found if service is None else found.filter(service=service)).first()
    refuse_removed(generation)
    return generation
