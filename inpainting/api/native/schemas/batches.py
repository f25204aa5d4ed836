"""Answers about batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.urls import reverse
from rest_framework import serializers

from inpainting.api.native.schemas.base import Answer, Constant, Link, NumberOrText, Page, UtcDateTime
from inpainting.api.native.schemas.generations import POSITION_IS_MINIMUM, QueueFields
from inpainting.core.errors import InvalidRequest
from inpainting.generations.batches import LIVE, RetryResult, error_details
from inpainting.generations.description import image_url
from inpainting.generations.history import GenerationRemoved
from inpainting.models import Batch, BatchItem, Status
from inpainting.models.batch import ITEM_STATES, REFUSED
from inpainting.worker.run_time_estimates import Positions, QueuePosition, positions

NEEDS_NEW_IMAGE = InvalidRequest(
    "This image was refused when it was sent; send another one in a new batch.", code="new_picture_needed"
)


class ItemErrorDocument(Answer):
    message = serializers.CharField()
    code = serializers.CharField()
    field = serializers.CharField(required=False)
    limit = NumberOrText(required=False)
    actual = NumberOrText(required=False)


class BatchItemDocument(QueueFields, Answer):
    # Context: `positions`, the queue positions of waiting generations by their ids.
    index = serializers.IntegerField(min_value=0, help_text="Its position in the request.")
    name = serializers.CharField(help_text="File name; empty if the image was sent as a text.")
    status = serializers.ChoiceField(
        ITEM_STATES,
        source="state",
        help_text="The status of its generation; refused: not accepted; deleted: so was its generation, or removed.",
    )
    generation = serializers.UUIDField(source="generation_id", allow_null=True)
    url = serializers.CharField(allow_null=True, help_text="URL of the generation.")
    position = serializers.IntegerField(allow_null=True, min_value=1, help_text="Position in the queue; 1 starts next.")
    position_is_minimum = serializers.BooleanField(required=False, help_text=POSITION_IS_MINIMUM)
    eta = serializers.FloatField(allow_null=True, help_text="Estimated seconds until it has been painted.")
    images = serializers.ListField(child=serializers.CharField(), help_text="Links to its results.")
    error = ItemErrorDocument(allow_null=True, help_text="Why it was refused or removed, or has failed.")

    def get_url(self, item: BatchItem) -> str | None:
        return reverse("generation-detail", args=[item.generation.pk]) if item.generation else None

    def place_of(self, item: BatchItem) -> QueuePosition | None:
        waiting: Positions = self.context["positions"]
        if item.generation is None or item.state != Status.QUEUED:
            return None
        return waiting.of(item.generation.pk)

    def get_images(self, item: BatchItem) -> list[str]:
        if item.generation is None or item.generation.is_hidden:
            return []
        return [image_url(image) for image in item.generation.images.all()]

    def get_error(self, item: BatchItem) -> Mapping[str, Any] | None:
        refusal: Mapping[str, Any] | None = item.refusal
        if item.generation is not None and item.generation.is_removed:
            return error_details(GenerationRemoved(item.generation))
        if refusal is not None or item.generation is None or not item.generation.error_code:
            return refusal
        return {"message": item.generation.error_message, "code": item.generation.error_code}


class BatchAcceptedDocument(Answer):
    status = Constant("processing")
    id = serializers.UUIDField()
    url = Link("batch-detail", help_text="URL that returns its state.")
    items = BatchItemDocument(many=True, source="items.all")


class NotRetriedDocument(ItemErrorDocument):
    index = serializers.IntegerField(min_value=0)


class BatchRetriedDocument(BatchAcceptedDocument):
    # Context: also `outcome`, the RetryResult.
    retried = serializers.ListField(child=serializers.IntegerField(), help_text="Indexes of the items that wait again.")
    not_retried = NotRetriedDocument(many=True, help_text="Items without a result that cannot be retried, and why.")

    def get_retried(self, batch: Batch) -> Sequence[int]:
        outcome: RetryResult = self.context["outcome"]
        return outcome.accepted

    def get_not_retried(self, batch: Batch) -> list[dict[str, Any]]:
        outcome: RetryResult = self.context["outcome"]
        refused = {item.index: NEEDS_NEW_IMAGE for item in batch.items.all() if item.state == REFUSED}
        problems = sorted((refused | outcome.refused).items())
        return [{"index": index, **error_details(error)} for index, error in problems]


class BatchCountsDocument(Answer):
    def get_fields(self) -> dict[str, serializers.Field]:
        return {state: serializers.IntegerField(source=f"{state}_count") for state in ITEM_STATES}


class BatchDocument(Answer):
    # Rendered from a batch with its counts, see `generations.batches.for_user`.
    id = serializers.UUIDField()
    url = Link("batch-detail")
    status = serializers.ChoiceField(["processing", "done"], help_text="done: no item waits or runs.")
    created_at = UtcDateTime()
    counts = BatchCountsDocument(source="*")
    done = serializers.IntegerField(help_text="Items that neither wait nor run.")
    total = serializers.IntegerField()
    results = serializers.CharField(allow_null=True, help_text="Link to a ZIP of the results; null: there are none.")

    def get_status(self, batch: Batch) -> str:
        return "processing" if count_of(batch, LIVE) else "done"

    def get_done(self, batch: Batch) -> int:
        return count_of(batch, ITEM_STATES) - count_of(batch, LIVE)

    def get_total(self, batch: Batch) -> int:
        return count_of(batch, ITEM_STATES)

    def get_results(self, batch: Batch) -> str | None:
        return reverse("batch-results", args=[batch.pk]) if count_of(batch, [Status.SUCCEEDED]) else None


def count_of(batch: Batch, states: Sequence[str]) -> int:
    return sum(getattr(batch, f"{state}_count") for state in states)


class WholeBatchDocument(BatchDocument):
    items = BatchItemDocument(many=True, source="items.all")


class BatchPageDocument(Page):
    results = BatchDocument(many=True)


def positions_of(batch: Batch) -> Positions:
    """The queue positions, for the context of an answer; empty, without a query, where no item waits."""
    return positions() if any(item.state == Status.QUEUED for item in batch.items.all()) else Positions()
