"""A generation: one request to paint with its inputs, settings, state and results; a row of the history."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models.functions import Now

from inpainting.core.credentials import Verb
from inpainting.core.folding import fold
from inpainting.core.sentences import mark, parts_of, sentence
from inpainting.database import fair_tags
from inpainting.engines import registry
from inpainting.engines.base import Plan
from inpainting.engines.inserting import has_placed_insert
from inpainting.models.conditioning_image import ConditioningImage
from inpainting.models.generation_request import GenerationRequest, plan_columns
from inpainting.models.images import GeneratedImage
from inpainting.models.queued_work import START_ORDER, QueuedWork, Status
from inpainting.models.review import Reviewed
from inpainting.realtime import events


def random_number() -> int:
    """Return a random integer that JavaScript represents exactly (Number.MAX_SAFE_INTEGER)."""
    return secrets.randbelow(2**53 - 1) + 1


def model_of(engine: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the model that an engine uses with these settings; empty for engines without models."""
    ignored = registry.declaration(engine).ignored_settings
    return "" if "model" in ignored else settings.get("model") or ""


class Generation(Reviewed, QueuedWork, GenerationRequest):
    """A request to paint, its state and its results. Only the methods under "Mutators", here and in `QueuedWork`,
    change the state."""

    NAME = "generation"
    CRASHED_SERVER = mark("The server crashed {crashes} times while painting this image.")
    FAILED_UNEXPECTEDLY = sentence("Painting failed unexpectedly. Try again; the server's log has the details.")

    number = models.PositiveBigIntegerField(
        default=random_number, unique=True, null=True, editable=False,
        help_text="random; its id in the APIs whose ids are integers",
    )  # fmt: skip
    expires_at = models.DateTimeField(
        null=True, blank=True, db_index=True, editable=False, help_text="deleted after that; empty: see retention"
    )
    is_favourite = models.BooleanField(default=False, editable=False)
    deleted_at = models.DateTimeField(
        null=True, editable=False, help_text="deleted by its owner, who can undo it for a moment; hidden since then"
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner", "-created_at", "-id"], name="generation_of_owner"),
            models.Index(fields=["status", "created_at"]),
            models.Index(fields=["engine", "status", "-created_at"], name="generation_of_engine"),
            models.Index(fields=["status"], condition=models.Q(run_alone=True), name="generation_runs_alone"),
            # In the order in which they start, with all that a position and an ETA read.
            models.Index(
                fields=["queue", "status", "run_alone", *START_ORDER, "likely_seconds", "finished_at"],
                condition=models.Q(finished_at=None),
                name="generation_queue_order",
            ),
            # The same by model, for workers that have some of the models.
            models.Index(
                fields=["queue", "status", "run_alone", "model", *START_ORDER],
                condition=models.Q(finished_at=None),
                name="generation_model_order",
            ),
            models.Index(
                fields=["owner", "queue", "start_tag"],
                condition=models.Q(finished_at=None),
                name="generation_flow_order",
            ),
            models.Index(
                fields=["queue", "status", "model", "created_at", "finished_at"],
                condition=models.Q(finished_at=None),
                name="generation_of_model",
            ),
            models.Index(
                fields=["deleted_at"], condition=models.Q(deleted_at__isnull=False), name="generation_deleted"
            ),
            models.Index(
                fields=["root", "owner", "created_at", "id"],
                condition=models.Q(root__isnull=False),
                name="generation_of_tree",
            ),
            models.Index(fields=["-created_at", "-id"], name="generation_newest"),
            models.Index(
                fields=["owner", "created_at"],
                condition=models.Q(folded_prompt__isnull=True),
                name="generation_not_folded",
            ),
            models.Index(fields=["verdict", "-created_at", "-id"], name="generation_by_verdict"),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.id}"

    @property
    def verb(self) -> Verb:
        """What was done to the photo."""
        if self.enlarged_to is not None:
            return "Enlarged"
        if self.placement:
            return "Extended"
        if has_placed_insert(self.settings, self.ignored):
            return "Inserted"
        has_prompt = self.prompt or self.settings.get("regions")
        return "Painted" if has_prompt and "prompt" not in self.ignored else "Removed"

    # Mutators

    def save_new(self, *, weight: int = 1, in_batch: bool = False) -> None:
        """Save the rows of a generation made by `from_request` or `copy_for_rerun`, with its place in the queue.

        weight: of the owner.
        in_batch: whether it is an image of a batch, which gives way to single generations.
        """
        with transaction.atomic(savepoint=False):
            self.queue = registry.declaration(self.engine).queue
            self.model = model_of(self.engine, self.settings)
            self.sentences = self.sentences_with([*self.warnings, self.engine_reason])
            self.fold()
            self.root = None if self.parent is None else self.parent.root or self.parent.pk
            slot = fair_tags.take_slot(self, weight=weight, in_batch=in_batch)
            self.start_tag, self.finish_tag = slot.start, slot.end
            for image in self.inputs.values():
                if image._state.adding:  # otherwise it is shared with the parent and already saved
                    image.save(force_insert=True)
            self.save(force_insert=True)
            if self.references:
                ConditioningImage.objects.bulk_create(ConditioningImage.of(self, self.references))
            self._publish(events.queued())

    def fold(self) -> None:
        """Set the columns that searches read."""
        self.folded_prompt, self.folded_name = fold(self.settings.get("prompt") or ""), fold(self.source.name)

    def step_down(self, plan: Plan) -> bool:
        """Record the plan of another engine. False: stop, it was cancelled or another worker holds it."""
        queue = plan.engine.queue
        return self._change(
            self._held & models.Q(cancel_requested=False),
            events.running(),
            queue=queue,
            start_tag=fair_tags.present_tag(queue),  # where it waits if it is requeued
            finish_tag=fair_tags.present_tag(queue),
            likely_seconds=None,
            **plan_columns(plan),
            model=model_of(plan.engine.name, plan.settings.to_dict()),
            step=0,
            steps=0,
        )

    def succeed(self, images: Sequence[GeneratedImage]) -> bool:
        """Save the results, all or none. False if it was cancelled meanwhile or another worker holds it."""
        with transaction.atomic():
            if not self._change(
                self._held & models.Q(cancel_requested=False),
                events.succeeded(),
                status=Status.SUCCEEDED,
                finished_at=Now(),
                sentences=self.sentences_with(note for image in images for note in image.report.get("notes", ())),
            ):
                return False
            for image in images:
                image.save(force_insert=True)
        return True

    def columns_of_error(self, message: str) -> dict[str, Any]:
        return {"sentences": self.sentences_with([message])}

    def sentences_with(self, texts: Iterable[str]) -> dict[str, Any] | None:
        """Return the value of `sentences` with those of these texts; None without any."""
        return {**(self.sentences or {}), **parts_of(texts)} or None

    # Properties

    @property
    def _has_computed(self) -> bool:
        """Whether its engine has taken a step: before, it imports libraries and waits for its model."""
        return not self.model or self.step > 0

    @property
    def is_hidden(self) -> bool:
        """Whether its owner cannot open it: an administrator removed it, or its owner deleted it a moment ago."""
        return self.is_removed or self.deleted_at is not None
