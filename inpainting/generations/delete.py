"""Delete generations with all of their images: the rows in one transaction, the files after its commit."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction

from accounts import deletion
from inpainting.generations import drafts
from inpainting.models import (
    Act,
    Analysis,
    Batch,
    Generation,
    LedgerEntry,
    Mask,
    ReferenceImage,
    SourceImage,
    Stack,
    StackShare,
    StepMask,
    UploadedImage,
)
from inpainting.models.queued_work import ENDED
from inpainting.worker import waiters


def delete(generation: Generation) -> bool:
    """Delete a generation with its images. A running one is cancelled and False is returned: call again soon."""
    generation.cancel()
    return delete_ended(generation.pk) or not Generation.objects.filter(pk=generation.pk).exists()


def delete_and_record(generation: Generation) -> None:
    """Delete a generation with its images, for `was_deleted`. A running one is cancelled, and its row stays."""
    LedgerEntry.objects.create(owner=generation.owner, act=Act.DELETION, generation_id=generation.pk)
    delete(generation)


def was_deleted(user: Any, pk: UUID) -> bool:
    """Whether the user deleted this generation with `delete_and_record` in the last day."""
    return LedgerEntry.objects.filter(owner=user, act=Act.DELETION, generation_id=pk).exists()


def delete_ended(pk: UUID) -> bool:
    """Delete an ended generation with its results, and its input images if no other generation uses them.

    Returns False if the generation has not ended or no longer exists.
    """
    with transaction.atomic():
        # Lock the owner first: of two concurrent deletions that share an image, the last one deletes the image.
        owners = get_user_model().objects.select_for_update(of=["self"], no_key=True).only("pk")
        list(owners.filter(generations=pk))
        generation = Generation.objects.select_for_update().filter(pk=pk, status__in=ENDED).first()
        if generation is None:
            return False
        references = [image.pk for image in generation.references.values()]
        stacks = list(generation.stack_steps.values_list("stack", flat=True))
        generation.stack_shares.all().delete()  # links to what it is a step of
        generation.delete()
        Stack.objects.filter(pk__in=stacks, steps=None).delete()
        SourceImage.objects.filter(pk=generation.source_id, generations=None).delete()
        Mask.objects.filter(pk=generation.mask_id, generations=None).delete()
        ReferenceImage.objects.unused().filter(pk__in=references).delete()
    return True


def delete_account(user: Any) -> None:
    """Delete a user with everything they own. Raises OnlyAdministrator.

    Webhooks that are due are not sent any more. Files are deleted after the commit.
    """
    with transaction.atomic():
        deletion.lock(user)
        delete_all_of_user(user)
        deletion.delete(user)


def delete_all_of_user(user: Any) -> int:
    """Delete all generations, stacks, batches and images of a user and empty their draft. Returns the number of
    generations, queued and running ones too.

    A worker notices at its next step that the generation is gone, and discards its work.
    """
    with transaction.atomic():
        # Locked until the end, so that no worker commits a result meanwhile; in the same order as `delete_ended`.
        list(get_user_model().objects.select_for_update(no_key=True).filter(pk=user.pk))
        pks = list(Generation.objects.select_for_update().filter(owner=user).values_list("pk", flat=True))
        analyses = list(Analysis.objects.select_for_update().filter(owner=user).values_list("pk", flat=True))
        Generation.objects.filter(owner=user).delete()
        Analysis.objects.filter(owner=user).delete()
        Batch.objects.filter(owner=user).delete()
        SourceImage.objects.filter(owner=user, generations=None).delete()
        Mask.objects.filter(owner=user, generations=None).delete()
        ReferenceImage.objects.unused().filter(owner=user).delete()
        UploadedImage.objects.filter(owner=user).delete()
        StackShare.objects.filter(owner=user).delete()
        Stack.objects.filter(owner=user).delete()
        StepMask.objects.filter(owner=user).delete()
        drafts.empty(user)
        for pk in [*pks, *analyses]:
            transaction.on_commit(partial(waiters.wake, pk), robust=True)
    return len(pks)
