"""Queries for generations through their owner, the only way for views to read them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from inpainting.models import GeneratedImage, Generation, Status
from inpainting.models.generation_request import INPUT_IMAGES


def for_user(user: Any) -> QuerySet[Generation]:
    """The user's generations, newest first, with related rows prefetched. Empty for anonymous users."""
    if not user.is_authenticated:
        return Generation.objects.none()
    images = Prefetch("images", GeneratedImage.objects.order_by("index"))
    return Generation.objects.filter(owner=user).select_related(*INPUT_IMAGES).prefetch_related(images)


def unfinished(user: Any) -> QuerySet[Generation]:
    """The user's queued and running generations, oldest first."""
    if not user.is_authenticated:
        return Generation.objects.none()
    return Generation.objects.filter(owner=user, status__in=[Status.QUEUED, Status.RUNNING]).order_by("created_at")


def find(user: Any, pk: UUID) -> Generation | None:
    """The user's generation; None if it does not exist or belongs to another user."""
    return for_user(user).filter(pk=pk).first()
