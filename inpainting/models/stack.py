"""The steps of a photo: generations whose results lie over each other, each inside its mask, on top of the photo."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.signals import post_delete

from inpainting.models.generation import Generation
from inpainting.models.images import StoredMask, delete_files_of

# Keys to earlier tables are not constrained: a version without these deletes users and generations without their rows.


class StepMask(StoredMask):
    """Where a step is painted back: 255 shows what lies beneath it, 0 the step."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="step_masks", db_constraint=False
    )


class Stack(models.Model):
    """The steps of one photo of one owner, which `steps` has in their order."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="stacks", db_constraint=False
    )
    revision = models.PositiveBigIntegerField(default=0, db_default=0, help_text="one more with every change")
    created_at = models.DateTimeField(auto_now_add=True)
    saved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"stack {self.id}"


class StackStep(models.Model):
    """One result of a generation in a stack. It is seen once the generation has succeeded."""

    stack = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField(help_text="from 0, the lowest; a gap: the generation was deleted")
    generation = models.ForeignKey(
        Generation, on_delete=models.CASCADE, related_name="stack_steps", db_constraint=False
    )
    image = models.PositiveSmallIntegerField(help_text="which of its results, from 0")
    is_hidden = models.BooleanField(default=False)
    painted_back = models.ForeignKey(
        StepMask, on_delete=models.SET_NULL, null=True, related_name="steps", help_text="empty: nowhere"
    )
    made_on = models.JSONField(default=list, help_text="keys of the steps that were seen beneath when it was made")

    class Meta:
        ordering: ClassVar[list[str]] = ["position"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["stack", "position"], name="one_step_per_position"),
            models.UniqueConstraint(fields=["stack", "generation"], name="one_step_per_generation"),
        ]

    def __str__(self) -> str:
        return f"step {self.position} of {self.stack_id}"


post_delete.connect(delete_files_of, sender=StepMask)
