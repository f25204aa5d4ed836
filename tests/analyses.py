"""Analyses that wait for a worker."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.utils import timezone

from inpainting.core.geometry import Box, Size
from inpainting.models import Analysis
from inpainting.models.analysis import Task, selection_to_dict
from inpainting.segmenters.base import Selection


def queued(owner: Any, png: bytes) -> Analysis:
    """A queued analysis of a picture of at least 40 x 40 pixels."""
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
