"""Answers about batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from django.urls import reverse
from pydantic import Field

from inpainting.api.fields import extended_by
from inpainting.api.native.schemas.base import Answer, ErrorDetails, Page
from inpainting.api.native.schemas.generations import Place
from inpainting.core.errors import InvalidRequest, PaintingError
from inpainting.core.sentences import sentence
from inpainting.generations.batches import LIVE, RetryResult, error_details, shown_details
from inpainting.generations.description import image_url, message_of
from inpainting.generations.history import GenerationRemoved
from inpainting.models import Batch, BatchItem, Status
from inpainting.models.batch import ITEM_STATES, REFUSED
from inpainting.translation import translated
from inpainting.worker.run_time_estimates import Positions, positions

NEEDS_NEW_IMAGE = InvalidRequest(
    sentence("This image was refused when it was sent; send another one in a new batch."), code="new_picture_needed"
)


class BatchItemDocument(Place):
    index: int = Field(ge=0, description="Its position in the request.")
    name: str = Field(description="File name; empty if the image was sent as a text.")
    status: str = Field(
        json_schema_extra={"enum": list(ITEM_STATES)},
        description="The status of its generation; refused: not accepted; deleted: so was its generation, or removed.",
    )
    generation: UUID | None
    url: str | None = Field(description="URL of the generation.")
    images: list[str] = Field(description="Links to its results.")
    error: ErrorDetails | None = Field(description="Why it was refused or removed, or has failed.")

    @classmethod
    def of(cls, item: BatchItem, waiting: Positions) -> Self:
        generation = item.generation
        shown = None if generation is None or generation.is_hidden else generation
        problem = problem_of(item)
        place = waiting.of(generation.pk) if generation is not None and item.state == Status.QUEUED else None
        return cls(
            index=item.index,
            name=item.name,
            status=item.state,
            generation=item.generation_id,
            url=reverse("generation-detail", args=[generation.pk]) if generation else None,
            images=[image_url(image) for image in shown.images.all()] if shown else [],
            error=None if problem is None else ErrorDetails(**problem),
            **Place.values(place),
        )


def problem_of(item: BatchItem) -> Mapping[str, Any] | None:
    refusal: Mapping[str, Any] | None = item.refusal
    if item.generation is not None and item.generation.is_removed:
        return sent_details(GenerationRemoved(item.generation))
    if refusal is not None:
        return shown_details(refusal)
    if item.generation is None or not item.generation.error_code:
        return None
    message = message_of(item.generation, item.generation.error_message)
    return {"message": message, "code": item.generation.error_code}


def sent_details(error: PaintingError) -> dict[str, Any]:
    return {**error_details(error), "message": translated(error.message)}


class BatchAcceptedDocument(Answer):
    status: Literal["processing"] = "processing"
    id: UUID
    url: str = Field(description="URL that returns its state.")
    items: list[BatchItemDocument]

    @classmethod
    def of(cls, batch: Batch, **others: Any) -> Self:
        return cls(id=batch.pk, url=url_of(batch), items=items_of(batch), **others)


class NotRetriedDocument(ErrorDetails):
    index: int = Field(ge=0)


class BatchRetriedDocument(BatchAcceptedDocument):
    retried: Sequence[int] = Field(description="Indexes of the items that wait again.")
    not_retried: list[NotRetriedDocument] = Field(description="Items without a result that cannot be retried, and why.")

    @classmethod
    def of_retry(cls, batch: Batch, outcome: RetryResult) -> Self:
        refused = {item.index: NEEDS_NEW_IMAGE for item in batch.items.all() if item.state == REFUSED}
        problems = sorted((refused | outcome.refused).items())
        not_retried = [NotRetriedDocument(index=index, **sent_details(error)) for index, error in problems]
        return cls.of(batch, retried=outcome.accepted, not_retried=not_retried)


@extended_by(dict.fromkeys(ITEM_STATES, (int, ...)))
class BatchCountsDocument(Answer):
    pass


class BatchDocument(Answer):
    id: UUID
    url: str
    status: Literal["processing", "done"] = Field(description="done: no item waits or runs.")
    created_at: datetime
    counts: BatchCountsDocument
    done: int = Field(description="Items that neither wait nor run.")
    total: int
    results: str | None = Field(description="Link to a ZIP of the results; null: there are none.")

    @classmethod
    def of(cls, batch: Batch, **others: Any) -> Self:
        """batch: with its counts, see `generations.batches.for_user`."""
        counts: dict[str, int] = {state: getattr(batch, f"{state}_count") for state in ITEM_STATES}
        live = sum(counts[state] for state in LIVE)
        return cls(
            id=batch.pk,
            url=url_of(batch),
            status="processing" if live else "done",
            created_at=batch.created_at,
            counts=BatchCountsDocument(**counts),
            done=sum(counts.values()) - live,
            total=sum(counts.values()),
            results=reverse("batch-results", args=[batch.pk]) if counts[Status.SUCCEEDED] else None,
            **others,
        )


class WholeBatchDocument(BatchDocument):
    items: list[BatchItemDocument]

    @classmethod
    def of(cls, batch: Batch, **others: Any) -> Self:
        return super().of(batch, items=items_of(batch), **others)


class BatchPageDocument(Page[BatchDocument]):
    pass


def url_of(batch: Batch) -> str:
    return reverse("batch-detail", args=[batch.pk])


def items_of(batch: Batch) -> list[BatchItemDocument]:
    """The items with their queue positions, which take a query where one waits."""
    items = batch.items.all()
    waiting = positions() if any(item.state == Status.QUEUED for item in items) else Positions()
    return [BatchItemDocument.of(item, waiting) for item in items]
