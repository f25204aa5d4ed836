"""Idempotency keys and what each of them created."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class IdempotencyKey(models.Model):
    """A key of one owner, the digest of its request, and the generation, batch, mask or analysis that it created."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the request")
    generation = models.ForeignKey("inpainting.Generation", on_delete=models.CASCADE, null=True, related_name="+")
    batch = models.ForeignKey("inpainting.Batch", on_delete=models.CASCADE, null=True, related_name="+")
    mask = models.ForeignKey("inpainting.UploadedImage", on_delete=models.CASCADE, null=True, related_name="+")
    analysis = models.ForeignKey("inpainting.Analysis", on_delete=models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["owner", "key"], name="one_generation_per_idempotency_key"),
            models.CheckConstraint(
                condition=models.Q(generation__isnull=False, batch=None, mask=None, analysis=None)
                | models.Q(generation=None, batch__isnull=False, mask=None, analysis=None)
                | models.Q(generation=None, batch=None, mask__isnull=False, analysis=None)
                | models.Q(generation=None, batch=None, mask=None, analysis__isnull=False),
                name="an_idempotency_key_made_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return self.key
