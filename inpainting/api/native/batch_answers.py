"""A batch -> what the API says of it, and how the schema describes that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from rest_framework import serializers

from inpainting.api.fields import Img2ImgForm
from inpainting.api.native.documents import Json, NumberOrText, Upload
from inpainting.core.errors import InvalidRequest
from inpainting.generations.batches import LIVE, Retried, said_of
from inpainting.models import Batch, BatchItem, Generation, Status
from inpainting.models.batch import ITEM_STATES, REFUSED
from inpainting.worker.run_time_estimates import Place, places

NEEDS_NEW_PICTURE = InvalidRequest(
    "This picture was refused when it came; send another one in a new batch.", code="new_picture_needed"
)


def some(child: serializers.Field, help_text: str) -> serializers.ListField:
    return serializers.ListField(child=child, min_length=1, max_length=settings.BATCH_MAX_ITEMS, help_text=help_text)


class BatchUpload(Img2ImgForm):
    """Form fields and repeated parts; the settings hold for every picture, a random seed too, and so do
    control_image and ip_adapter_image."""

    images = some(serializers.FileField(), "One part for each picture, 64 MB in all; or each as text, see JSON.")
    masks = some(serializers.FileField(), "One for all pictures, or one for each in their order.")
    control_image = Upload().fields["control_image"]
    ip_adapter_image = Upload().fields["ip_adapter_image"]


class BatchJson(serializers.Serializer):
    """The same fields as in the form; numbers outside their range are clamped, with a warning."""

    images = some(serializers.CharField(), "Each base64, a data URL, an http(s) URL, or a link of this site.")
    masks = some(serializers.CharField(), "PNG, as images: one for all, or one for each in their order.")
    control_image = Json().fields["control_image"]
    ip_adapter_image = Json().fields["ip_adapter_image"]
    prompt = Json().fields["prompt"]


BATCH = {"multipart/form-data": BatchUpload, "application/json": BatchJson}


class ItemErrorDocument(serializers.Serializer):
    message = serializers.CharField()
    code = serializers.CharField()
    field = serializers.CharField(required=False)
    limit = NumberOrText(required=False)
    actual = NumberOrText(required=False)


class BatchItemDocument(serializers.Serializer):
    index = serializers.IntegerField(min_value=0, help_text="Its place in the call.")
    name = serializers.CharField(help_text="What its file was called; empty where it came as text.")
    status = serializers.ChoiceField(
        ITEM_STATES, help_text="That of its generation; refused: it never had one; deleted: it has none any more."
    )
    generation = serializers.UUIDField(allow_null=True)
    url = serializers.CharField(allow_null=True, help_text="Of the generation.")
    position = serializers.IntegerField(allow_null=True, min_value=1, help_text="In line; 1 starts next.")
    eta = serializers.FloatField(allow_null=True, help_text="Seconds until it is painted, as far as we can tell.")
    images = serializers.ListField(child=serializers.CharField(), help_text="Its results.")
    error = ItemErrorDocument(allow_null=True, help_text="Why it was refused, or has failed.")


class BatchAcceptedDocument(serializers.Serializer):
    status = serializers.ChoiceField(["processing"])
    id = serializers.UUIDField()
    url = serializers.CharField(help_text="Ask here how it goes.")
    items = BatchItemDocument(many=True)


class NotRetriedDocument(ItemErrorDocument):
    index = serializers.IntegerField(min_value=0)


class BatchRetriedDocument(BatchAcceptedDocument):
    retried = serializers.ListField(child=serializers.IntegerField(), help_text="Indexes of what waits again.")
    not_retried = NotRetriedDocument(many=True, help_text="What is not painted and cannot be retried, and why.")


class BatchCountsDocument(serializers.Serializer):
    queued = serializers.IntegerField()
    running = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    refused = serializers.IntegerField()
    deleted = serializers.IntegerField()


class BatchDocument(serializers.Serializer):
    id = serializers.UUIDField()
    url = serializers.CharField()
    status = serializers.ChoiceField(["processing", "done"], help_text="done: nothing waits or runs any more.")
    created_at = serializers.DateTimeField()
    counts = BatchCountsDocument()
    done = serializers.IntegerField(help_text="Items that neither wait nor run.")
    total = serializers.IntegerField()
    results = serializers.CharField(allow_null=True, help_text="The ZIP of what has succeeded; null: nothing has.")


class WholeBatchDocument(BatchDocument):
    items = BatchItemDocument(many=True)


class BatchPageDocument(serializers.Serializer):
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = BatchDocument(many=True)


def accepted(batch: Batch) -> dict[str, Any]:
    """batch: as `find` gives it."""
    return {"status": "processing", "id": str(batch.pk), "url": url_of(batch), "items": items_of(batch)}


def retried(batch: Batch, outcome: Retried) -> dict[str, Any]:
    """outcome: of the retry. Also what was refused from the start is said not to be retried."""
    refused = {item.index: NEEDS_NEW_PICTURE for item in batch.items.all() if item.state == REFUSED}
    problems = sorted((refused | outcome.refused).items())
    return {
        **accepted(batch),
        "retried": list(outcome.accepted),
        "not_retried": [{"index": index, **said_of(error)} for index, error in problems],
    }


def rendered(batch: Batch) -> dict[str, Any]:
    """batch: as `of` gives it, with its counts."""
    counts = {state: getattr(batch, f"{state}_count") for state in ITEM_STATES}
    total = sum(counts.values())
    live = sum(counts[state] for state in LIVE)
    return {
        "id": str(batch.pk),
        "url": url_of(batch),
        "status": "processing" if live else "done",
        "created_at": batch.created_at,
        "counts": counts,
        "done": total - live,
        "total": total,
        "results": reverse("batch-results", args=[batch.pk]) if counts["succeeded"] else None,
    }


def rendered_whole(batch: Batch) -> dict[str, Any]:
    return {**rendered(batch), "items": items_of(batch)}


def url_of(batch: Batch) -> str:
    return reverse("batch-detail", args=[batch.pk])


def items_of(batch: Batch) -> list[dict[str, Any]]:
    items = list(batch.items.all())
    line = places() if any(item.state == Status.QUEUED for item in items) else {}
    return [item_of(item, line) for item in items]


def item_of(item: BatchItem, line: Mapping[UUID, Place]) -> dict[str, Any]:
    """line: where everybody stands who waits."""
    generation = item.generation
    place = line.get(generation.pk) if generation else None
    return {
        "index": item.index,
        "name": item.name,
        "status": item.state,
        "generation": generation and str(generation.pk),
        "url": generation and reverse("generation-detail", args=[generation.pk]),
        "position": place and place.position,
        "eta": place and place.eta,
        "images": images_of(generation),
        "error": error_of(item),
    }


def images_of(generation: Generation | None) -> list[str]:
    if generation is None:
        return []
    return [reverse("generation-image", args=[generation.pk, image.index]) for image in generation.images.all()]


def error_of(item: BatchItem) -> dict[str, Any] | None:
    refusal: dict[str, Any] | None = item.refusal
    if refusal is not None or item.generation is None or not item.generation.error_code:
        return refusal
    return {"message": item.generation.error_message, "code": item.generation.error_code}
