"""An image in which a worker finds an object, or which it describes, and the masks that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar

import numpy as np
from django.conf import settings
from django.core.files.base import ContentFile
from django.db import DatabaseError, models, transaction
from django.db.models.functions import Now
from django.db.models.signals import post_delete
from django.utils.translation import gettext_lazy

from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.sentences import mark, sentence
from inpainting.database import fair_tags
from inpainting.engines.base import Queue
from inpainting.models.generation_request import NATIVE
from inpainting.models.images import StoredImage, UploadedImage, delete_files_of
from inpainting.models.queued_work import ENDED, START_ORDER, QueuedWork, Status
from inpainting.models.undeleted_file import delete_file
from inpainting.models.webhook_delivery import MAX_URL_CHARACTERS
from inpainting.realtime import events
from inpainting.segmenters.base import Candidate, Detection, Point, Selection


class Task(models.TextChoices):
    SEGMENT = "segment", gettext_lazy("find an object")
    CAPTION = "caption", gettext_lazy("describe the image")


class Analysis(QueuedWork, StoredImage):  # type: ignore[misc]  # both have created_at
    """One request to a segmenter or captioner. `file`: the image as it was sent, deleted when the analysis ends.

    `model`, of QueuedWork, is the name of the segmenter; of a caption it is empty until the worker has chosen one.
    """

    NAME = "analysis"
    CRASHED_SERVER = mark("The server crashed {crashes} times while analysing this image.")
    FAILED_UNEXPECTEDLY = sentence("The analysis failed unexpectedly. Try again; the server's log has the details.")

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="analyses")
    task = models.CharField(max_length=10, choices=Task.choices, editable=False)
    options = models.JSONField(default=dict, editable=False, help_text="the selection, or the style of the caption")
    stores_mask = models.BooleanField(default=False, editable=False, help_text="whether the best mask is stored")
    mask = models.ForeignKey(
        UploadedImage, on_delete=models.SET_NULL, null=True, editable=False, related_name="+",
        help_text="the best mask, where it was stored",
    )  # fmt: skip
    caption = models.TextField(blank=True, editable=False)
    is_refused = models.BooleanField(
        default=False, editable=False, help_text=gettext_lazy("the request was wrong, not the server")
    )
    error_field = models.CharField(max_length=60, blank=True, editable=False)
    cost = models.PositiveBigIntegerField(editable=False, help_text="its share of the owner's turn: pixels")
    webhook_url = models.CharField(max_length=MAX_URL_CHARACTERS, blank=True, editable=False)
    service = models.CharField(max_length=20, default=NATIVE, editable=False)
    expires_at = models.DateTimeField(db_index=True, editable=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]
        verbose_name_plural = "analyses"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["queue", "status", "run_alone", *START_ORDER, "finished_at"],
                condition=models.Q(finished_at=None),
                name="analysis_queue_order",
            ),
            models.Index(
                fields=["owner", "queue", "start_tag"],
                condition=models.Q(finished_at=None),
                name="analysis_flow_order",
            ),
            models.Index(
                fields=["queue", "status", "model", "created_at", "finished_at"],
                condition=models.Q(finished_at=None),
                name="analysis_of_model",
            ),
            models.Index(fields=["status", "worker"], name="analysis_of_worker"),
            models.Index(fields=["-created_at", "-id"], name="analysis_newest"),
        ]

    def __str__(self) -> str:
        return f"analysis {self.pk}"

    def write_sent(self, data: bytes, size: Size, *, sha256: str) -> None:
        """Put the bytes of the image, as they were sent, into storage; the caller saves the row."""
        self.sha256, self.byte_count = sha256, len(data)
        self.width, self.height = size.width, size.height
        self.file.save("image.bin", ContentFile(data), save=False)

    # Mutators

    def save_new(self, *, weight: int = 1) -> None:
        """Save the row with its place in the queue.

        weight: of the owner.
        """
        with transaction.atomic(savepoint=False):
            self.queue = Queue.ANALYSIS
            slot = fair_tags.take_slot(self, weight=weight, in_batch=False)
            self.start_tag, self.finish_tag = slot.start, slot.end
            self.save(force_insert=True)

    def succeed(
        self, found: Sequence[AnalysisMask] = (), *, stored: UploadedImage | None = None, **result: Any
    ) -> bool:
        """Save the masks, all or none. False if it was cancelled meanwhile or another worker holds it.

        stored: the best mask, as an image of the owner.
        result: values of other columns.
        """
        held = self._held & models.Q(cancel_requested=False)
        with transaction.atomic():
            if stored is not None:
                stored.save(force_insert=True)
            ended = {"status": Status.SUCCEEDED, "finished_at": Now()}
            if not self._change(held, events.succeeded(), mask=stored, **ended, **result):
                transaction.set_rollback(True)
                return False
            for mask in found:
                mask.save(force_insert=True)
        return True

    def refuse(self, error: InvalidRequest) -> bool:
        """End it with an error of the request, which only the worker could notice."""
        return self._change(
            self._held,
            events.failed(code=error.code, message=error.message),
            status=Status.FAILED,
            finished_at=Now(),
            error_code=error.code,
            error_message=error.message,
            error_field=error.field or "",
            is_refused=True,
        )

    @property
    def _outcome(self) -> str:
        """A refused request is no failure of the server, which the alerts count."""
        return "refused" if self.is_refused else super()._outcome

    def _change(self, condition: models.Q, event: events.GenerationEvent | None, **changes: Any) -> bool:
        """Delete the image as it was sent with the end, after which it is no longer needed."""
        file = self.file
        if changes.get("status") not in ENDED or not file.name:
            return super()._change(condition, event, **changes)
        name, byte_count = file.name, self.byte_count
        try:
            with transaction.atomic():
                if not super()._change(condition, event, **changes, file="", byte_count=0):
                    return False
                transaction.on_commit(partial(delete_file, file), robust=True)
        except DatabaseError:
            self.file, self.byte_count = name, byte_count  # the image stays, for the next attempt to end it
            raise
        return True

    def _publish(self, event: events.GenerationEvent) -> None:
        """Websockets send the events of generations alone."""

    # Properties

    @property
    def selection(self) -> Selection:
        return selection_from(self.options)


class AnalysisMask(StoredImage):
    """One of the masks that were found, the best one with index 0; `score` is None where the segmenter gives none."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="masks")
    index = models.PositiveSmallIntegerField()
    score = models.FloatField(null=True, editable=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["index"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["analysis", "index"], name="one_mask_per_index")
        ]


def mask_values(candidate: Candidate, segmenter: str) -> dict[str, Any]:
    """Return `found` of an UploadedImage with this mask, which is not empty."""
    box = masks.bounds(candidate.mask)
    return {
        "segmenter": segmenter,
        "box": None if box is None else box.to_list(),
        "area": int(np.count_nonzero(candidate.mask)),
        "score": candidate.score,
    }


def selection_to_dict(selection: Selection) -> dict[str, Any]:
    return asdict(selection)


def selection_from(values: Mapping[str, Any]) -> Selection:
    """Return the selection of `selection_to_dict`, also after JSON."""
    box = values["box"]
    return Selection(
        **{name: values[name] for name in ("words", "category", "tolerance")},
        points=tuple(Point(**point) for point in values["points"]),
        box=None if box is None else Box(**box),
        outline=tuple((x, y) for x, y in values["outline"]),
        detection=Detection(**values["detection"]),
        soft_edges=values.get("soft_edges", False),  # absent where the row was saved by an earlier version
    )


post_delete.connect(delete_files_of, sender=Analysis)
post_delete.connect(delete_files_of, sender=AnalysisMask)
