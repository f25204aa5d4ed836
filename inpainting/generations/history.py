"""Queries for generations through their owner, the only way for views to read them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from inpainting.core.errors import PaintingError
from inpainting.models import GeneratedImage, Generation, Verdict
from inpainting.models.generation_request import JOINED_IMAGES


class GenerationRemoved(PaintingError):
    """An administrator removed the generation; the message gives the reason."""

    default_code = "generation_removed"

    def __init__(self, generation: Generation) -> None:
        reason = f": {generation.review_note}" if generation.review_note else "."
        super().__init__(f"An administrator removed this generation{reason}")
        self.generation = generation


def for_user(user: Any) -> QuerySet[Generation]:
    """The user's generations, newest first, with related rows prefetched. Empty for anonymous users.

    Without those that an administrator removed.
    """
    return everything_of(user).exclude(verdict=Verdict.REMOVED)


def removed_of(user: Any) -> QuerySet[Generation]:
    """The generations of the user that an administrator removed, newest first."""
    return everything_of(user).filter(verdict=Verdict.REMOVED)


def everything_of(user: Any) -> QuerySet[Generation]:
    """As `for_user`, with the removed ones. Pass what is found to `refuse_removed`.

    Without those that the user has deleted, also while that can be undone.
    """
    if not user.is_authenticated:
        return Generation.objects.none()
    images = Prefetch("images", GeneratedImage.objects.order_by("index"))
    mine = Generation.objects.filter(owner=user, deleted_at=None)
    return mine.select_related(*JOINED_IMAGES).prefetch_related(images, "conditioning_images")


def refuse_removed(generation: Generation | None) -> None:
    """Raise GenerationRemoved for a generation that an administrator removed."""
    if generation is not None and generation.is_removed:
        raise GenerationRemoved(generation)


def unfinished(user: Any) -> QuerySet[Generation]:
    """The user's queued and running generations, oldest first."""
    if not user.is_authenticated:
        return Generation.objects.none()
    live = Generation.objects.filter(owner=user, finished_at=None, deleted_at=None)
    return live.order_by("created_at")


def find(user: Any, pk: UUID, *, service: str | None = None) -> Generation | None:
    """The user's generation; None if it does not exist or belongs to another user. Raises GenerationRemoved.

    service: only a generation that this service accepted.
    """
    found = everything_of(user).filter(pk=pk)
    generation = (found if service is None else found.filter(service=service)).first()
    refuse_removed(generation)
    return generation
