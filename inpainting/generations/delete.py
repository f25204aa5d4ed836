"""Delete generations with all of their pictures: the rows in one transaction, the files once it holds."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction

from inpainting.models import Batch, Generation, Mask, ReferencePicture, SourceImage, completion_waiters
from inpainting.models.generation import ENDED


def delete(generation: Generation) -> bool:
    """Remove it with all of its pictures. False while it runs: then it is being cancelled, and can be deleted soon."""
    generation.cancel()
    return delete_ended(generation.pk) or not Generation.objects.filter(pk=generation.pk).exists()


def delete_ended(pk: UUID) -> bool:
    """Remove what has ended: its results, and what it was given where no other generation uses it.

    False where there is nothing of that kind: it has not ended, or somebody else has deleted it.
    """
    with transaction.atomic():
        # The owner first: of two that share a picture, the one deleted last must see that it is the last.
        list(get_user_model().objects.select_for_update(of=["self"], no_key=True).filter(generations=pk))
        generation = Generation.objects.select_for_update().filter(pk=pk, status__in=ENDED).first()
        if generation is None:
            return False
        generation.delete()
        SourceImage.objects.filter(pk=generation.source_id, generations=None).delete()
        Mask.objects.filter(pk=generation.mask_id, generations=None).delete()
        references = [pk for pk in (generation.control_image_id, generation.ip_adapter_image_id) if pk is not None]
        ReferencePicture.objects.filter(pk__in=references, controlled=None, adapted=None).delete()
    return True


def delete_everything_of(user: Any) -> int:
    """Delete all generations, batches and images of a user, queued and running ones too. Returns their number.

    A worker notices at its next step that the generation is gone, and discards its work.
    """
    with transaction.atomic():
        # Locked until the end, so that no worker commits a result meanwhile; in the same order as `delete_ended`.
        list(get_user_model().objects.select_for_update(no_key=True).filter(pk=user.pk))
        theirs = list(Generation.objects.select_for_update().filter(owner=user).values_list("pk", flat=True))
        Generation.objects.filter(owner=user).delete()
        Batch.objects.filter(owner=user).delete()
        SourceImage.objects.filter(owner=user, generations=None).delete()
        Mask.objects.filter(owner=user, generations=None).delete()
        ReferencePicture.objects.filter(owner=user, controlled=None, adapted=None).delete()
        for pk in theirs:
            transaction.on_commit(partial(completion_waiters.wake, pk), robust=True)
    return len(theirs)
