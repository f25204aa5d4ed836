"""Accept analyses, which a worker runs: images in which an object is selected, or which are described."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from inpainting import webhooks
from inpainting.accounting.limits import Allowance, LimitReached
from inpainting.core.codecs import encode_png
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.database.fair_tags import cost_of
from inpainting.engines.base import Queue
from inpainting.generations.idempotency import Idempotency
from inpainting.log_context import request_id
from inpainting.models import Analysis
from inpainting.models.analysis import Task
from inpainting.models.generation_request import NATIVE
from inpainting.models.images import delete_uncommitted_files
from inpainting.storage import check_free_space
from inpainting.tasks import notify_workers


@dataclass(frozen=True, slots=True)
class AnalysedImage:
    """The bytes of an image as they were sent, their SHA-256 in hexadecimal, and the size of the image."""

    data: bytes
    sha256: str
    size: Size

    @classmethod
    def of(cls, image: CanonicalImage) -> AnalysedImage:
        """Return a decoded image as a PNG."""
        data = encode_png(image)
        return cls(data, hashlib.sha256(data).hexdigest(), image.size)


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """A request to find an object or to describe an image.

    segmenter, stores_mask, options, service: see the columns of `Analysis`. ends_with_response: the client waits for
    its end, and it is deleted then. Such a request does not count per minute, nor does one that needs no worker.
    """

    owner: Any
    task: Task
    options: Mapping[str, Any]
    _: KW_ONLY
    segmenter: str = ""
    stores_mask: bool = False
    webhook_url: str = ""
    service: str = NATIVE
    ends_with_response: bool = False


def submit_analysis(
    request: AnalysisRequest, image: AnalysedImage, *, idempotency: Idempotency | None = None
) -> Analysis:
    """Accept a request and return its queued analysis; a repeated Idempotency-Key returns the earlier one.

    Raises InvalidRequest for a webhook_url that is not allowed and for a key that was used with another request,
    LimitReached, and OSError if a disk is full or nearly full.
    """
    if request.webhook_url:
        webhooks.check_url(request.webhook_url, field="webhook_url")
    check_free_space()
    analysis = Analysis(
        owner=request.owner,
        task=request.task,
        options=dict(request.options),
        model=request.segmenter,
        stores_mask=request.stores_mask,
        webhook_url=request.webhook_url,
        service=request.service,
        cost=cost_of(image.size.area, images=1, steps=None),
        request_id=request_id.get(),
        expires_at=timezone.now() + timedelta(hours=settings.RESULT_LINK_HOURS),
    )
    committed = False
    try:
        analysis.write_sent(image.data, image.size, sha256=image.sha256)
        with transaction.atomic(durable=True):
            allowance = Allowance(request.owner)
            allowance.spend_analysis(analysis, per_minute=not request.ends_with_response)
            analysis.save_new(weight=allowance.weight)
            if idempotency is not None:
                idempotency.remember_analysis(analysis)
            transaction.on_commit(lambda: notify_workers(Queue.ANALYSIS), robust=True)
        committed = True
    except (IntegrityError, LimitReached):
        earlier = idempotency.earlier_analysis(request.owner) if idempotency else None
        if earlier is None:
            raise
        return earlier  # a concurrent request with the same key was first
    finally:
        if not committed:
            delete_uncommitted_files([analysis])
    return analysis


def find_analysis(user: Any, pk: UUID) -> Analysis | None:
    """An analysis of the user that has not expired; None where there is none."""
    return Analysis.objects.select_related("mask").filter(owner=user, pk=pk, expires_at__gt=timezone.now()).first()


def delete_analysis(analysis: Analysis) -> bool:
    """Delete an analysis with its masks; one that is stored stays. A running one is cancelled, and False is returned:
    call again soon."""
    analysis.cancel()
    if analysis.cancel_requested and not analysis.has_ended:
        return False
    analysis.delete()
    return True
