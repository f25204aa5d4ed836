"""Analyses that wait for a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models.signals import post_save
from django.utils import timezone

from inpainting.core.geometry import Box, Size
from inpainting.models import Analysis
from inpainting.models.analysis import Task, selection_to_dict
from inpainting.segmenters.base import Selection


@contextmanager
def accepted() -> Iterator[list[UUID]]:
    """Collects the ids of the analyses that are accepted meanwhile, also of those that end with their response."""
    ids: list[UUID] = []

    def note(instance: Analysis, created: bool, **_: Any) -> None:
        ids.extend([instance.pk] if created else [])

    post_save.connect(note, sender=Analysis)
    try:
        yield ids
    finally:
        post_save.disconnect(note, sender=Analysis)


def queued(owner: Any, png: bytes) -> Analysis:
    """A queued analysis of an image of at least 40 x 40 pixels."""
    analysis = Analysis(
        owner=owner,
        task=Task.SEGMENT,
        options={**selection_to_dict(Selection(box=Box(4, 4, 36, 36))), "format": "png"},
        model="grabcut",
        cost=1,
        expires_at=timezone.now() + timedelta(days=1),
    )
    analysis.write_sent(png, Size(40, 40), sha256=hashlib.sha256(png).hexdigest())
    analysis.save_new()
    return analysis
