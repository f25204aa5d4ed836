"""Delete generations with all of their pictures: the rows in one transaction, the files once it holds."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from inpainting.models import Generation, Mask, SourceImage
from inpainting.models.generation import ENDED


def delete(generation: Generation) -> bool:
    """Remove it with all of its pictures. False while it runs: then it is being cancelled, and can be deleted soon."""
    generation.cancel()
    return delete_ended(generation.pk) or not Generation.objects.filter(pk=generation.pk).exists()


def delete_ended(pk: UUID) -> bool:
    """Remove what has ended: its results, and its source image and mask where no other generation uses them.

    False where there is nothing of that kind: it has not ended, or somebody else has deleted it.
    """
    with transaction.atomic():
        generation = Generation.objects.select_for_update().filter(pk=pk, status__in=ENDED).first()
        if generation is None:
            return False
        generation.delete()
        SourceImage.objects.filter(pk=generation.source_id, generations=None).delete()
        Mask.objects.filter(pk=generation.mask_id, generations=None).delete()
    return True


def delete_everything_of(user: Any) -> int:
    """Remove all generations and pictures of somebody, waiting and running ones too. Returns how many generations.

    Whoever paints one of them finds at the next step that it is no longer there, and keeps nothing.
    """
    with transaction.atomic():
        # Held until the end, so that no worker commits a result in between.
        theirs = list(Generation.objects.select_for_update().filter(owner=user).values_list("pk", flat=True))
        Generation.objects.filter(owner=user).delete()
        SourceImage.objects.filter(owner=user, generations=None).delete()
        Mask.objects.filter(owner=user, generations=None).delete()
    return len(theirs)
